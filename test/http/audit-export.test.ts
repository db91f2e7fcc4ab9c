import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import pg from 'pg'
import { parseCheckpoint } from '../../src/transparency-log/checkpoint.ts'
import { readNote, verifiedBy } from '../../src/transparency-log/signed-note.ts'
import { growingTree, leafHash, nodesBetween } from '../../src/transparency-log/tree.ts'
import { eventEntry, recordsEntry } from '../../src/verifier/entries.ts'
import { verifyExport } from '../../src/verifier/export.ts'
import { type OpenLog, ORIGIN, openLog, signer } from '../support/open-log.ts'
import { testDatabase } from '../support/postgres.ts'
import { projectAudit } from '../support/project-audit.ts'
import { giveRole } from '../support/roles.ts'
import { type System, startSystem } from '../support/system.ts'

// biome-ignore lint/suspicious/noExplicitAny: the contract check has just proven its shape
type Line = any
type User = Awaited<ReturnType<System['newUser']>>

const NDJSON = { Accept: 'application/x-ndjson' }
const CSV = { Accept: 'text/csv' }

describe('An export of the audit trail', () => {
  let system: System
  let log: OpenLog
  let ann: User
  let bob: User
  let auditor: User
  let sql: pg.Client
  let directory: string
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'tasktrail-export-'))
    const database = await testDatabase()
    system = await startSystem({}, undefined, database)
    log = await openLog(database)
    sql = new pg.Client(system.database.url)
    await sql.connect()
    ann = await system.newUser()
    bob = await system.newUser()
    auditor = await system.newUser()
    await giveRole(sql, auditor.id, 'auditor')
    await log.log()
    await work(ann, 3)
    await work(bob, 2)
    await log.log()
    await work(bob, 1)
    await log.log()
    await work(ann, 8)
    await work(bob, 1)
    await log.log()
    await projectAudit(system.database)
  })
  after(async () => {
    await sql.end()
    await system.stop()
    await log.stop()
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
    return verifyExport(file, { keys: [signer.key], witnesses: [], quorum: 0 })
  }
  /** Whoever reads it from top to bottom gets the root that its checkpoint signs. */
  const proves = (lines: readonly Line[]) => {
    const tree = growingTree()
    const { trailer } = lines.at(-1) as Line
    const skip = (to: number, hashes: readonly string[]) => {
      const nodes = nodesBetween(tree.size, to)
      expect(hashes).to.have.length(nodes.length)
      for (const [at, { level }] of nodes.entries()) {
        tree.addNode(level, Buffer.from(hashes[at] ?? '', 'base64'))
      }
    }
    for (const { leaf, before, records, stored, position, version, hash } of lines.slice(0, -1)) {
      const { stream_id } = stored ?? {}
      skip(leaf, before)
      const entry = records
        ? recordsEntry(records)
        : eventEntry({ hash, position, stream_id, version })
      tree.addLeaf(leafHash(entry))
    }
    const { checkpoint, after } = trailer.log
    expect(verifiedBy(checkpoint, [signer.key])).to.have.length(1)
    const { size, root, origin } = parseCheckpoint(readNote(checkpoint)?.text ?? '') ?? {}
    expect(origin).to.equal(ORIGIN)
    skip(size ?? 0, after)
    expect(tree.root()).to.deep.equal(root)
    return size
  }
  const count = async (text: string): Promise<number> =>
    Number((await sql.query(`select count(*) from ${text}`)).rows[0].count)

  it('holds every event as it is shown, oldest first, and proves itself offline', async () => {
    const report = await verified(auditor)
    const events = await count('events')
    expect(report).to.deep.include({ events, logged: events, unlogged: null, whole: true })
    expect(report.log?.origin).to.equal(ORIGIN)
    const shown = await system.call('GET', '/audit/events?order=asc&limit=200', {
      token: auditor.token,
    })
    const lines = (await linesOf(auditor)).slice(0, -1).filter(({ stored }: Line) => stored)
    expect(lines).to.have.length(events)
    for (const [index, { leaf, before, stored, text_keys, ...event }] of lines.entries()) {
      expect(event).to.deep.equal(shown.body.events[index])
    }
  })

  it('shows who was given a role as the log has it, and in no other way', async () => {
    const { body } = await copy(auditor, NDJSON)
    const file = join(directory, 'roles.ndjson')
    for (const [from, to] of [
      [
        '"changes":{"role":{"from":"user","to":"auditor"}}',
        '"changes":{"role":{"from":"user","to":"admin"}}',
      ],
      [
        '"changes":{"role":{"from":"user","to":"auditor"}}',
        '"changes":{"role":{"from":"admin","to":"auditor"}}',
      ],
      ['"changes":{"role":{"from":"user","to":"auditor"}}', '"changes":{}'],
      ['"actor":{"user_id":0}', '"actor":{"user_id":1}'],
      ['"data":{"from":"user","to":"auditor"}', '"data":{"from":"user","to":"admin"}'],
      ['"data":{"from":"user","to":"auditor"}', '"data":{"from":"user","to":"auditor","more":1}'],
    ] as const) {
      // The database keeps its own order of names.
      const written = body.includes(from)
        ? from
        : from.replace(/("from":"user"),("to":"auditor")/, '$2,$1')
      expect(body).to.include(written)
      await writeFile(file, body.replace(written, to))
      const why = await verifyExport(file, { keys: [signer.key], witnesses: [], quorum: 0 }).then(
        () => 'proven',
        (error: Error) => error.message,
      )
      expect(why, to).to.match(/^user-\d+ version 1 \(position 1\) is changed/)
    }
  })

  it('ends with a trailer that tells how many events there are', async () => {
    const before = Date.now()
    for (const user of [ann, auditor]) {
      const lines = await linesOf(user)
      const { trailer } = lines.at(-1)
      const events = lines.slice(0, -1).filter(({ stored }: Line) => stored)
      expect(trailer.count).to.equal(events.length)
      expect(trailer.position).to.equal(await count('events'))
      expect(trailer.exported_by).to.equal(user.id)
      expect(Date.parse(trailer.exported_at)).to.be.within(before, Date.now())
    }
  })

  it('of everything has every leaf, those too that are no events', async () => {
    const lines = await linesOf(auditor)
    const leaves = lines.slice(0, -1).map(({ leaf }: Line) => leaf)
    expect(leaves).to.deep.equal(leaves.map((_: number, at: number) => at))
    expect(proves(lines)).to.equal(leaves.length)
    const records = lines.filter(({ records }: Line) => records)
    const { rows } = await sql.query('select leaf::int from log_records order by leaf')
    expect(rows.length).to.be.above(0)
    expect(records.map(({ leaf }: Line) => leaf)).to.deep.equal(rows.map(({ leaf }) => leaf))
    expect(lines.at(-1).trailer.log.after).to.deep.equal([])
  })

  it('of a user has no other’s events or streams, and hashes in their place', async () => {
    const { rows } = await sql.query('select id from tasks where user_id = $1', [bob.id])
    const lines = await linesOf(ann)
    const text = JSON.stringify(lines)
    for (const { id } of rows) expect(text).to.not.include(`"task-${id}"`)
    expect(text).to.not.include('"records"')
    proves(lines)
    expect(lines.some(({ before }: Line) => before?.length > 0)).to.equal(true)
    expect(lines.at(-1).trailer.log.after).to.not.deep.equal([])
    expect(await verified(ann)).to.deep.include({ whole: false, unlogged: null })
    expect(proves(await linesOf(ann, `?task_id=${rows[0].id}`))).to.be.above(0)
  })

  it('of any part proves itself by the same checkpoint', async () => {
    const { rows } = await sql.query('select min(id)::int as id from tasks')
    for (const [user, query] of [
      [auditor, '?type=TaskDeleted'],
      [auditor, `?task_id=${rows[0].id}`],
      [auditor, `?actor_id=${bob.id}`],
      [ann, '?type=TaskCreated,TaskRenamed'],
      [bob, ''],
      [auditor, '?to=2020-01-01T00:00:00.000Z'],
    ] as const) {
      proves(await linesOf(user, query))
      await verified(user, query)
    }
  })

  it('names no leaf of what its checkpoint does not cover, and waits for that only for a while', async () => {
    await work(ann, 1)
    await projectAudit(system.database)
    const began = performance.now()
    const lines = await linesOf(ann)
    expect(performance.now() - began).to.be.within(1_900, 5_000)
    const uncovered = lines.filter(({ leaf }: Line) => leaf === null)
    expect(uncovered).to.have.length.above(2)
    expect(uncovered).to.deep.equal(lines.slice(-1 - uncovered.length, -1))
    for (const { before } of uncovered) expect(before).to.deep.equal([])
    proves(lines.filter(({ leaf }: Line) => leaf !== null))
    expect((await verified(ann)).unlogged).to.include({ position: uncovered[0].position })
    const report = linesOf(ann)
    await log.log()
    expect((await report).filter(({ leaf }: Line) => leaf === null)).to.deep.equal([])
    proves(await report)
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
    expect(rows[1]).to.match(/^2,\d+,1,TaskCreated,.*,title,,'=0,,$/)
    expect(body).to.include(',description,,"a, ""b""\r\nc",,\r\n')
    const { trailer } = (await linesOf(ann)).at(-1)
    const [, size, root] = trailer.log.checkpoint.split('\n')
    const cells = [trailer.count, size, root, trailer.position]
    // An apostrophe may precede the root, which may begin with a plus.
    const shown = rows.at(-2)?.replaceAll(/["']/g, '')
    expect(shown?.startsWith(`# trailer,${cells.join(',')},2`), shown).to.equal(true)
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
    // What is stored of the events is read last.
    await sql.query(`revoke select on events from tasktrail_task;
      grant select (position, stream_id, version, event_id, type, schema_version, actor_id, metadata,
        occurred_at, recorded_at, prev_hash, hash) on events to tasktrail_task`)
    for (const headers of [NDJSON, CSV]) {
      const answer = fetch(`${system.urls.task}/audit/events`, {
        headers: { ...headers, authorization: `Bearer ${auditor.token}` },
      }).then((answer) => answer.text())
      expect(await answer.catch((error: Error) => error)).to.be.instanceOf(Error)
    }
    await sql.query('grant select on events to tasktrail_task')
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
