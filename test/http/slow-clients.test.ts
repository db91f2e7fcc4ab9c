import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { expect } from 'chai'
import { type Service, service, strictRouter } from '../../src/http/server.ts'
import { silent } from '../support/log.ts'
import { until } from '../support/processes.ts'

const MIB = 1024 * 1024

describe('Clients that take nothing', () => {
  const ANSWER = 16 * MIB
  let server: Service
  let port: number
  let clients: Socket[]

  beforeEach(async () => {
    clients = []
    const router = strictRouter()
    const answer = (
      ctx: { body?: unknown; type?: string; state: { user_id?: number } },
      user: string,
    ) => {
      ctx.state.user_id = Number(user)
      ctx.type = 'text/plain'
      ctx.body = 'x'.repeat(ANSWER)
    }
    router.get('/large', (ctx) => answer(ctx, ctx.get('x-user')))
    router.post('/large', (ctx) => answer(ctx, ctx.get('x-user')))
    router.get('/small', (ctx) => {
      ctx.body = { small: true }
    })
    const unsent = { all: 56 * MIB, each: 24 * MIB, slowest: ANSWER, grace: 2_000 }
    server = service(router, {
      log: silent,
      newId: () => 'id',
      maxEventLoopDelay: 0,
      spared: [],
      unsent,
    })
    port = (await server.listen(0, '127.0.0.1')).port
  })
  afterEach(async () => {
    for (const client of clients) client.destroy()
    await server.close(0)
  })

  /** The head of the answer, of which no more is read. */
  const ask = async (user: number, method = 'GET', path = '/large'): Promise<string> => {
    const client = connect(port, '127.0.0.1').on('error', () => {})
    clients.push(client)
    client.write(
      `${method} ${path} HTTP/1.1\r\nHost: x\r\nX-User: ${user}\r\nContent-Length: 0\r\n\r\n`,
    )
    const [begin] = await once(client, 'data')
    client.pause()
    return String(begin).slice(0, 2_000)
  }
  const statusOf = (head: string) => Number(/^HTTP\/1.1 (\d+)/.exec(head)?.[1])

  it('have so many bytes waiting for each user, and so many in all; new ones are told to wait', async () => {
    expect(statusOf(await ask(1))).to.equal(200)
    const own = await ask(1)
    expect(own)
      .to.match(/^HTTP\/1.1 429 /)
      .and.match(/retry-after: 5/i)
      .and.include('too_many_requests')
    for (const user of [2, 3]) expect(statusOf(await ask(user))).to.equal(200)
    const all = await ask(4)
    expect(all)
      .to.match(/^HTTP\/1.1 503 /)
      .and.match(/retry-after: 5/i)
      .and.include('"overloaded"')
    // What is small goes out, and so does the answer to a write, which is done.
    expect(statusOf(await ask(5, 'GET', '/small'))).to.equal(200)
    expect(statusOf(await ask(6, 'POST'))).to.equal(200)
  })

  it('are cut off after a time that grows with what they were sent, and make room', async () => {
    const closed = ask(1).then(() => once(clients[0] as Socket, 'close'))
    for (const user of [2, 3]) expect(statusOf(await ask(user))).to.equal(200)
    expect(statusOf(await ask(4))).to.equal(503)
    clients[0]?.resume()
    clients[0]?.pause()
    await until(async () => statusOf(await ask(4)) === 200, 'room', 10_000)
    clients[0]?.resume()
    await closed
  })

  it('do not stand in the way of those who do', async () => {
    for (const user of [1, 2, 3]) await ask(user)
    for (const client of clients) client.resume()
    await until(async () => statusOf(await ask(4)) === 200, 'room', 1_900)
  })
})
