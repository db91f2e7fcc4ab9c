import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { expect } from 'chai'
import { refuseBroken } from '../../src/http/refuse-broken.ts'
import { until } from '../support/processes.ts'

const HALF_A_BODY = 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf'

describe('A client that is refused and keeps its half of the connection open', () => {
  let server: Server
  let reading: Promise<string>
  let clients: Socket[]

  beforeEach(async () => {
    clients = []
    const limits = { headersTimeout: 100, requestTimeout: 100, connectionsCheckingInterval: 20 }
    server = createServer(limits, (req: IncomingMessage) => {
      reading = text(req).catch((error: NodeJS.ErrnoException) => `${error.code}`)
    })
    server.on(
      'clientError',
      refuseBroken(() => 'the-id'),
    )
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
  })
  afterEach(() => {
    for (const client of clients) client.destroy()
    server.close()
  })

  const answerTo = (bytes: string): Promise<string> => {
    const { port } = server.address() as AddressInfo
    const client = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    clients.push(client)
    client.write(bytes)
    return text(client)
  }
  const connections = () =>
    new Promise<number>((resolve) => server.getConnections((_error, count) => resolve(count)))

  for (const [what, bytes] of [
    ['half a header', 'GET / HTTP/1.1\r\nHo'],
    ['half a body', HALF_A_BODY],
  ] as const) {
    it(`after ${what} has its 408, and holds nothing any more`, async () => {
      expect(await answerTo(bytes)).to.match(/^HTTP\/1.1 408 /)
      await until(async () => (await connections()) === 0, 'the end of the connection', 5_000)
    })
  }

  it('does not keep anybody waiting for its body', async () => {
    await answerTo(HALF_A_BODY)
    expect(await reading).to.equal('ECONNRESET')
  })

  it('reads its answer to the end, whatever else it had sent', async () => {
    const answer = await answerTo(`hello\r\n\r\n${'x'.repeat(1_000_000)}`)
    expect(answer).to.match(/"request_id":"the-id"\}$/)
  })
})
