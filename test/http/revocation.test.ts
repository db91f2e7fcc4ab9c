import { once } from 'node:events'
import { get, type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { expect } from 'chai'
import pg from 'pg'
import { until } from '../support/processes.ts'
import { projectAudit } from '../support/project-audit.ts'
import { giveRole } from '../support/roles.ts'
import { type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>

describe('After a logout', () => {
  let system: System
  let sql: pg.Client
  before(async () => {
    system = await startSystem()
    sql = new pg.Client(system.database.url)
    await sql.connect()
  })
  after(async () => {
    await sql.end()
    await system.stop()
  })

  const logOut = ({ token }: User) => system.call('POST', '/auth/logout', { token })
  const validated = (request_id: string) =>
    until(
      () =>
        system
          .logged()
          .split('\n')
          .some((line) => line.includes(request_id) && line.includes('/auth/validate')),
      'the token to be validated',
    )

  it('nothing is written by a request whose body is still on its way', async () => {
    const user = await system.newUser()
    const body = JSON.stringify({ title: 'Too late' })
    const sent = request(`${system.urls.task}/tasks`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${user.token}`,
        'content-type': 'application/json',
        'content-length': body.length,
        'x-request-id': 'slow-body',
      },
    })
    sent.write(body.slice(0, 5))
    await validated('slow-body')
    expect((await logOut(user)).status).to.equal(204)
    sent.end(body.slice(5))
    const [answer]: IncomingMessage[] = (await once(sent, 'response')) as IncomingMessage[]
    expect(answer?.statusCode).to.equal(401)
    expect(JSON.parse(await text(answer as IncomingMessage)).code).to.equal('session_ended')
    const { rowCount } = await sql.query('select from tasks where user_id = $1', [user.id])
    expect(rowCount).to.equal(0)
  })

  describe('or another role', () => {
    let owner: User
    before(async () => {
      owner = await system.newUser()
      // More than all buffers on the way take.
      const description = '😀'.repeat(10_000)
      for (let n = 0; n < 300; n++) {
        const body = { title: `Task ${n}`, description }
        await system.call('POST', '/tasks', { token: owner.token, body })
        if (n % 30 === 29) await projectAudit(system.database)
      }
    })

    for (const [what, over] of [
      ['a logout', logOut],
      ['a demotion', ({ id }: User) => giveRole(sql, id, 'user')],
    ] as const) {
      it(`an export goes no further, after ${what}`, async () => {
        const auditor = await system.newUser()
        await giveRole(sql, auditor.id, 'auditor')
        const headers = {
          authorization: `Bearer ${auditor.token}`,
          accept: 'application/x-ndjson',
        }
        const sent = get(`${system.urls.task}/audit/events`, { headers })
        const [answer] = (await once(sent, 'response')) as [IncomingMessage]
        expect(answer.statusCode).to.equal(200)
        await once(answer, 'readable')
        await over(auditor)
        let bytes = 0
        answer.on('data', (chunk: Buffer) => {
          bytes += chunk.length
        })
        const [error] = await once(answer, 'error')
        expect([error.code, answer.complete]).to.deep.equal(['ECONNRESET', false])
        expect(bytes).to.be.below(15_000_000)
      })
    }
  })
})
