import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import pg from 'pg'
import { secretSealSigner } from '../../src/infra/postgres/audit/seal-signer.ts'
import { postgresSealer } from '../../src/infra/postgres/audit/sealer.ts'
import { openDatabase } from '../../src/infra/postgres/connection/database.ts'
import { verifyExport } from '../../src/verifier/export.ts'
import { readKey } from '../../src/verifier/formats.ts'
import { silent } from '../support/log.ts'
import { projectAudit } from '../support/project-audit.ts'
import { type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>

const NDJSON = { Accept: 'application/x-ndjson' }
const CSV = { Accept: 'text/csv' }

describe('An export of the audit trail', () => {
  const signer = secretSealSigner('a key for seals of at least 32 characters')
  let system: System
  let ann: User
  let bob: User
  let auditor: User
  let sql: pg.Client
  let directory: string
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'tasktrail-export-'))
    system = await startSystem()
    sql = new pg.Client(system.database.url)
    await sql.connect()
    ann = await system.newUser()
    bob = await system.newUser()
    auditor = await system.newUser()
    await sql.query(`update users set role = 'auditor' where id = $1`, [auditor.id])
    // Three seals: the second has nothing of Ann's.
    await work(ann, 3)
    await work(bob, 2)
    await seal()
    await work(bob, 1)
    await seal()
    await work(ann, 8)
    await seal()
    await work(ann, 1)
    await projectAudit(system.database)
  })
  after(async () => {
    await sql.end()
    await system.stop()
    await rm(directory, { recursive: true })
  })

  async function work({ token }: User, tasks: number): Promise<void> {
    for (let n = 0; n < tasks; n++) {
      const body = { title: `=${n}`, description: 'a, "b"\r\nc' }
      const { id } = (await system.call('POST', '/tasks', { token, body })).body.task
      await system.call('PUT', `/tasks/${id}`, { token, body: { title: 'Two', priority: 'high' } })
      if (n % 2 === 0) await system.call('DELETE', `/tasks/${id}`, { token })
    }
  }
  async function seal(): Promise<void> {
    const db = openDatabase({ ...system.database.config, role: 'tasktrail_worker', log: silent })
    await postgresSealer(signer, () => new Date()).seal(db.query)
    await db.close()
  }
  const copy = (user: User, headers: Record<string, string>, query = '') =>
    system.call('GET', `/audit/events${query}`, { token: user.token, headers })
  const linesOf = async (user: User, query = '') => {
    const { status, body } = await copy(user, NDJSON, query)
    expect(status, body).to.equal(200)
    const lines = body.trimEnd().split('\n')
    return lines.map((line: string) => JSON.parse(line))
  }
  const verified = async (user: User, query = '') => {
    const file = join(directory, 'export.ndjson')
    await writeFile(file, (await copy(user, NDJSON, query)).body)
    return verifyExport(file, [readKey(signer.publicKey)])
  }
  const count = async (text: string): Promise<number> =>
    Number((await sql.query(`select count(*) from ${text}`)).rows[0].count)

  it('holds every event as it is shown, oldest first, and proves itself offline', async () => {
    const report = await verified(auditor)
    expect(report).to.deep.include({
      events: await count('events'),
      seals: 3,
      whole: true,
      gaps: 0,
    })
    const shown = await system.call('GET', '/audit/events?order=asc&limit=200', {
      token: auditor.token,
    })
    const events = (await linesOf(auditor)).slice(0, -1)
    for (const [index, { stored, text_keys, ...event }] of events.entries()) {
      expect(event).to.deep.equal(shown.body.events[index])
    }
  })

  it('ends with a trailer that tells how many events and streams there are', async () => {
    const before = Date.now()
    for (const user of [ann, auditor]) {
      const lines = await linesOf(user)
      const { trailer } = lines.at(-1)
      const events = lines.slice(0, -1)
      expect(trailer.count).to.equal(events.length)
      const heads = new Map<string, unknown[]>()
      for (const { version, hash, stored } of events) {
        heads.set(stored.stream_id, [stored.stream_id, version, hash])
      }
      expect(trailer.heads).to.deep.equal([...heads.keys()].sort().map((id) => heads.get(id)))
      expect(trailer.position).to.equal(await count('events'))
      expect(trailer.exported_by).to.equal(user.id)
      expect(Date.parse(trailer.exported_at)).to.be.within(before, Date.now())
    }
  })

  it('of a user has no other’s events, streams or seals', async () => {
    const { trailer } = (await linesOf(ann)).at(-1)
    expect(trailer.seals.map(({ number }: { number: number }) => number)).to.deep.equal([1, 3])
    const { rows } = await sql.query('select id from tasks where user_id = $1', [bob.id])
    const text = JSON.stringify(await linesOf(ann))
    for (const { id } of rows) expect(text).to.not.include(`"task-${id}"`)
    expect(await verified(ann)).to.deep.include({ whole: false, seals: 2, gaps: 0 })
    expect(await linesOf(ann, `?task_id=${rows[0].id}`)).to.have.length(1)
  })

  it('takes the conditions of the query', async () => {
    const lines = await linesOf(auditor, `?type=TaskDeleted&actor_id=${ann.id}&order=asc`)
    expect(lines.length).to.be.above(2)
    for (const { type } of lines.slice(0, -1)) expect(type).to.equal('TaskDeleted')
    expect(lines.at(-1).trailer.query).to.deep.equal({ type: ['TaskDeleted'], actor_id: ann.id })
    await verified(auditor, `?type=TaskDeleted`)
  })

  it('as CSV has a row for each changed field, and a trailer too', async () => {
    const { body, headers } = await copy(ann, CSV)
    expect(headers.get('content-type')).to.equal('text/csv; charset=utf-8')
    expect(headers.get('content-disposition')).to.match(
      /^attachment; filename="tasktrail-audit-\d{8}T\d{6}Z\.csv"$/,
    )
    const rows = body.split('\r\n')
    expect(rows[0]).to.match(/^position,task_id,version,type,actor_id,occurred_at,recorded_at,/)
    expect(rows[1]).to.match(/^1,\d+,1,TaskCreated,.*,title,,'=0,,$/)
    expect(body).to.include(',description,,"a, ""b""\r\nc",,\r\n')
    const { trailer } = (await linesOf(ann)).at(-1)
    const last = trailer.seals.at(-1)
    const cells = [trailer.count, trailer.heads.length, 2, last.number, last.hash]
    expect(rows.at(-2)).to.match(RegExp(`^# trailer,${cells.join(',')},`))
    expect(rows.at(-1)).to.equal('')
  })

  it('names the streams that are parked, to those who may see them, and is not taken for broken', async () => {
    const { rows } = await sql.query('select min(id)::int as id from tasks where user_id = $1', [
      ann.id,
    ])
    const stream_id = `task-${rows[0].id}`
    await sql.query(
      `insert into parked_streams (projection, stream_id, position, version, error)
         select 'audit', stream_id, position, version, 'x' from events
         where stream_id = $1 and version = 2`,
      [stream_id],
    )
    // The same of a stream that has gone no further, and of one that has no form that we know.
    await sql.query(`insert into parked_streams values
      ('audit', 'task-1000000', 1, 1, 'x'), ('audit', 'task-x', 1, 1, 'x')`)
    await sql.query('create table kept as select * from audit_events')
    await sql.query('delete from audit_events where task_id = $1 and version > 1', [rows[0].id])
    try {
      for (const [user, query, incomplete] of [
        [auditor, '', '1'],
        [ann, '', '1'],
        [ann, `?task_id=${rows[0].id}`, '1'],
        [ann, `?task_id=${rows[0].id + 1}`, null],
        // Before it was parked nothing can be missing.
        [auditor, '?to=2020-01-01T00:00:00.000Z', null],
        [bob, '', null],
      ] as const) {
        const parked = incomplete === null ? [] : [[stream_id, 2]]
        expect((await linesOf(user, query)).at(-1).trailer.parked).to.deep.equal(parked)
        for (const headers of [NDJSON, CSV, {}]) {
          const answer = await copy(user, headers, query)
          expect(answer.headers.get('audit-incomplete')).to.equal(incomplete)
        }
        await verified(user, query)
      }
      const table = (await copy(ann, CSV)).body
      expect(table).to.match(RegExp(`\r\n# parked,${stream_id},2,+\r\n# trailer,.*Z,1,+\r\n$`))
    } finally {
      await sql.query('truncate parked_streams, audit_events')
      await sql.query('insert into audit_events select * from kept; drop table kept')
    }
    expect((await linesOf(ann)).at(-1).trailer.parked).to.deep.equal([])
  })

  it('is a file with a name, and a HEAD creates no record', async () => {
    const { headers } = await copy(ann, NDJSON)
    expect(headers.get('content-disposition')).to.match(/\.ndjson"$/)
    expect(headers.get('audit-position')).to.equal(String(await count('events')))
    const before = await count('audit_accesses')
    const { status } = await system.call('HEAD', '/audit/events', {
      token: ann.token,
      headers: NDJSON,
    })
    expect([status, await count('audit_accesses')]).to.deep.equal([200, before])
  })

  it('has no pages and one order', async () => {
    const { status, body } = await copy(ann, CSV, '?limit=5&cursor=x&order=desc')
    expect(status).to.equal(400)
    const fields = body.details.map(({ field }: { field: string }) => field)
    expect(fields).to.have.members(['limit', 'cursor', 'order'])
    expect(body.details[0].message).to.match(/^limit is not allowed for an export/)
  })

  it('is recorded before its first byte, and does not begin if it cannot be', async () => {
    await copy(auditor, NDJSON, '?type=TaskDeleted')
    const { rows } = await sql.query('select * from audit_accesses order by id desc limit 1')
    expect(rows[0]).to.deep.include({
      kind: 'exported',
      user_id: String(auditor.id),
      role: 'auditor',
      query: { type: ['TaskDeleted'], format: 'ndjson' },
    })
    await sql.query('begin; lock table audit_accesses in exclusive mode')
    const refused = await copy(auditor, NDJSON)
    await sql.query('rollback')
    expect([refused.status, refused.body.code]).to.deep.equal([503, 'database_unavailable'])
  })

  it('breaks off when the database does, and is never short with a trailer', async () => {
    // The signatures are read last.
    await sql.query(`revoke select on seals from tasktrail_task;
      grant select (number, position) on seals to tasktrail_task`)
    for (const headers of [NDJSON, CSV]) {
      const answer = await fetch(`${system.urls.task}/audit/events`, {
        headers: { ...headers, authorization: `Bearer ${auditor.token}` },
      })
      expect(answer.status).to.equal(200)
      expect(await answer.text().catch((error: Error) => error)).to.be.instanceOf(Error)
    }
    await sql.query(`revoke select (number, position) on seals from tasktrail_task;
      grant select on seals to tasktrail_task`)
    expect((await copy(ann, NDJSON)).status).to.equal(200)
  })

  it('shows what is not in the log as not stored', async () => {
    await sql.query('alter table events disable trigger events_are_append_only')
    const { rows } = await sql.query(
      `delete from events where position = (select max(position) from events) returning position`,
    )
    await sql.query('alter table events enable always trigger events_are_append_only')
    const missing = (await linesOf(auditor)).filter(
      ({ stored }: { stored: unknown }) => stored === null,
    )
    expect(missing.map(({ position }: { position: number }) => String(position))).to.deep.equal([
      rows[0].position,
    ])
  })
})

describe('The limit of exports', () => {
  it('is ten a second for each user, besides that of all requests', async () => {
    const system = await startSystem({ RATE_LIMIT_PER_SECOND: '1000' })
    try {
      const { token } = await system.newUser()
      const calls = Array.from({ length: 40 }, () =>
        system.call('GET', '/audit/events', { token, headers: { Accept: 'text/csv' } }),
      )
      // On a slow machine some are refused because another export of the user is under way.
      const refused = (await Promise.all(calls)).find(
        ({ body }) => body.code === 'too_many_requests',
      )
      expect(refused?.status).to.equal(429)
      expect(refused?.headers.get('ratelimit-policy')).to.equal('"costly";q=10;w=1')
    } finally {
      await system.stop()
    }
  })
})
