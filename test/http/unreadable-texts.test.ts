import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import pg from 'pg'
import { verifyExport } from '../../src/verifier/export.ts'
import { notProven } from '../../src/verifier/report.ts'
import { projectAudit } from '../support/project-audit.ts'
import { giveRole } from '../support/roles.ts'
import { type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>
type Shown = { task_id: number; type: string; unreadable?: true; changes: Record<string, unknown> }

const nothing = { from: null, to: null }
const once = { 'idempotency-key': 'once' }

describe('A damaged text or key', () => {
  let system: System
  let sql: pg.Client
  let auditor: User
  let ann: User
  let bob: User
  /** Ann's: whole, and with a damaged text; Bob's, whose key is damaged. */
  let [whole, damaged, keyless] = [0, 0, 0]
  before(async () => {
    system = await startSystem()
    sql = new pg.Client(system.database.url)
    await sql.connect()
    auditor = await system.newUser()
    ann = await system.newUser()
    bob = await system.newUser()
    await giveRole(sql, auditor.id, 'auditor')
    whole = await newTask(ann)
    damaged = await newTask(ann)
    keyless = await newTask(bob)
    await call(ann, 'PUT', `/tasks/${damaged}`, { title: 'Two' }, once)
    await projectAudit(system.database)
    await sql.query('alter table events disable trigger all')
    await sql.query(
      `update events set data = jsonb_set(data, '{title,cipher}', '"damaged"')
       where stream_id = 'task-${damaged}' and version = 2`,
    )
    await sql.query(
      `update audit_events set changes = jsonb_set(changes, '{title,to,cipher}', '"damaged"')
       where task_id = ${damaged} and version = 2`,
    )
    await sql.query(`update user_keys set wrapped_key = '\\x00' where user_id = $1`, [bob.id])
  })
  after(async () => {
    await sql.end()
    await system.stop()
  })

  const call = (user: User, method: string, path: string, body?: unknown, headers = {}) =>
    system.call(method, path, { token: user.token, body, headers })
  const newTask = async (user: User): Promise<number> =>
    (await call(user, 'POST', '/tasks', { title: 'One', description: 'words' })).body.task.id

  const expectShown = (events: readonly Shown[]) => {
    expect(events[0]?.type).to.equal('UserRoleChanged')
    const shown = events.slice(1).map(({ task_id, type, unreadable = false, changes }) => {
      return { task_id, type, unreadable, title: changes.title, description: changes.description }
    })
    const texts = { title: { from: null, to: 'One' }, description: { from: null, to: 'words' } }
    const none = { title: nothing, description: nothing }
    const renamed = { title: { from: 'One', to: null }, description: undefined }
    expect(shown).to.deep.equal([
      { task_id: whole, type: 'TaskCreated', unreadable: false, ...texts },
      { task_id: damaged, type: 'TaskCreated', unreadable: false, ...texts },
      { task_id: keyless, type: 'TaskCreated', unreadable: true, ...none },
      { task_id: damaged, type: 'TaskRenamed', unreadable: true, ...renamed },
    ])
  }
  const linesOf = (body: string) =>
    body
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))

  it('leaves a page of the audit whole but for itself, and is logged once', async () => {
    for (let n = 0; n < 2; n++) {
      const { status, body } = await call(auditor, 'GET', '/audit/events?order=asc')
      expect(status).to.equal(200)
      expectShown(body.events)
    }
    const said = system.logged().match(/a text in the audit trail cannot be read/g)
    expect(said).to.have.length(3)
  })

  it('leaves an export whole but for itself', async () => {
    const Accept = 'application/x-ndjson'
    const ndjson = await call(auditor, 'GET', '/audit/events', undefined, { Accept })
    const lines = linesOf(ndjson.body)
    expectShown(lines.slice(0, -1))
    expect(lines.at(-1)).to.have.nested.property('trailer.count', 5)
    expect(lines.map(({ text_keys = {} }) => Object.keys(text_keys))).to.deep.equal([
      [],
      ['title', 'description'],
      ['title', 'description'],
      [],
      [],
      [],
    ])
    const csv = await call(auditor, 'GET', '/audit/events', undefined, { Accept: 'text/csv' })
    const rows: string[] = csv.body.split('\r\n').filter((row: string) => /,true$/.test(row))
    expect(rows.map((row) => row.split(',')[3])).to.have.members([
      ...Array.from({ length: 5 }, () => 'TaskCreated'),
      'TaskRenamed',
    ])
  })

  it('is not proven by an export, which says so; everything else is', async () => {
    // The log itself is whole here, and the key alone is damaged.
    const directory = await mkdtemp(join(tmpdir(), 'tasktrail-unreadable-'))
    try {
      const Accept = 'application/x-ndjson'
      const path = `/audit/events?task_id=${keyless}`
      const { body } = await call(auditor, 'GET', path, undefined, { Accept })
      const file = join(directory, 'export.ndjson')
      await writeFile(file, body)
      const report = await verifyExport(file, { keys: [], witnesses: [], quorum: 0 })
      expect(report).to.include({ events: 1, erased: 0 })
      expect(notProven(report)).to.include(
        `task-${keyless} version 1 (position ${report.position}): it is marked as unreadable: a text or its key is damaged.`,
      )
    } finally {
      await rm(directory, { recursive: true })
    }
  })

  it('leaves a task’s history and a user’s changes whole but for itself', async () => {
    const { events } = (await call(auditor, 'GET', `/tasks/${damaged}/history`)).body
    const flags = events.map(({ unreadable }: Shown) => unreadable)
    expect(flags).to.deep.equal([undefined, true])
    expect(events[1].changes.title).to.deep.equal({ from: 'One', to: null })
    const changes = await call(ann, 'GET', '/tasks/changes')
    expect(changes.body.events.map(({ unreadable }: Shown) => unreadable)).to.deep.equal([
      undefined,
      undefined,
      true,
    ])
    expect(changes.body.events[2].changes.title).to.deep.equal({ from: 'One', to: null })
    const [created] = (await call(bob, 'GET', '/tasks/changes')).body.events
    expect(created).to.deep.include({ unreadable: true })
  })

  it('is never written over or answered as if it were nothing: 503', async () => {
    const before = (await sql.query('select count(*) from events')).rows
    const attempts: [User, string, string, object?][] = [
      [ann, 'GET', `/tasks/${damaged}?version=2`],
      [ann, 'GET', `/tasks?as_of=${new Date().toISOString()}`],
      [bob, 'PUT', `/tasks/${keyless}`, { title: 'Two' }],
    ]
    for (const [user, method, path, body] of attempts) {
      const answer = await call(user, method, path, body)
      expect([answer.status, answer.body.code], path).to.deep.equal([503, 'texts_unavailable'])
    }
    const replay = await call(ann, 'PUT', `/tasks/${damaged}`, { title: 'Two' }, once)
    expect([replay.status, replay.body.code]).to.deep.equal([503, 'texts_unavailable'])
    expect((await call(ann, 'GET', `/tasks/${whole}`)).status).to.equal(200)
    const damage = `update tasks set title = jsonb_set(title, '{cipher}', '"damaged"') where id = $1`
    await sql.query(damage, [whole])
    for (const [method, path] of [
      ['GET', `/tasks/${whole}`],
      ['PUT', `/tasks/${whole}`],
      ['GET', '/tasks'],
    ] as const) {
      const body = method === 'PUT' ? { title: 'Three' } : undefined
      const answer = await call(ann, method, path, body)
      expect([answer.status, answer.body.code], path).to.deep.equal([503, 'texts_unavailable'])
    }
    expect((await call(bob, 'PUT', `/tasks/${whole}`, { title: 'Three' })).status).to.equal(403)
    expect((await sql.query('select count(*) from events')).rows).to.deep.equal(before)
  })

  it('is not set by an undo or redo, which may leave it behind: 503', async () => {
    const version = async () => (await call(ann, 'GET', `/tasks/${damaged}`)).headers.get('etag')
    const undone = await call(ann, 'POST', `/tasks/${damaged}/undo`, {})
    expect(undone.body.task).to.include({ title: 'One', version: 3 })
    const redone = await call(ann, 'POST', `/tasks/${damaged}/redo`)
    expect([redone.status, redone.body.code]).to.deep.equal([503, 'texts_unavailable'])
    expect(await version()).to.equal('"3"')
  })
})
