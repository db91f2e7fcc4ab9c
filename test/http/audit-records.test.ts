import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import pg from 'pg'
import { verifyRecordsExport } from '../../src/verifier/records-export.ts'
import { notProvenOfRecords } from '../../src/verifier/report.ts'
import { type OpenLog, openLog, signer } from '../support/open-log.ts'
import { testDatabase } from '../support/postgres.ts'
import { giveRole } from '../support/roles.ts'
import { type System, startSystem } from '../support/system.ts'

// biome-ignore lint/suspicious/noExplicitAny: the contract check has just proven its shape
type Found = any
type User = Awaited<ReturnType<System['newUser']>>

const NDJSON = { Accept: 'application/x-ndjson' }
const CSV = { Accept: 'text/csv' }
const TRUST = { keys: [signer.key], witnesses: [], quorum: 0 }

describe('What is on record of accounts and of looks', () => {
  let system: System
  let log: OpenLog
  let sql: pg.Client
  let directory: string
  let [ann, admin, auditor]: User[] = []
  let files = 0

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'tasktrail-records-'))
    const database = await testDatabase()
    system = await startSystem({}, undefined, database)
    log = await openLog(database)
    sql = new pg.Client(database.url)
    await sql.connect()
    ;[ann, admin, auditor] = [
      await system.newUser(),
      await system.newUser(),
      await system.newUser(),
    ]
    await giveRole(sql, admin.id, 'admin')
    await giveRole(sql, auditor.id, 'auditor')
    await log.log()
    for (const ip of ['203.0.113.1', '203.0.113.2', '203.0.113.2']) {
      const headers = { 'x-forwarded-for': ip, 'x-request-id': 'a-guess' }
      const body = { username: ann.username, password: '=a wrong one' }
      await system.call('POST', '/auth/login', { body, headers })
      await log.log()
    }
    const path = `/auth/users/${ann.id}/role`
    await system.call('PUT', path, { token: admin.token, body: { role: 'auditor' } })
    await system.call('PUT', path, { token: admin.token, body: { role: 'user' } })
    await log.log()
  })
  after(async () => {
    await sql.end()
    await system.stop()
    await log.stop()
    await rm(directory, { recursive: true })
  })

  const get = (path: string, user: User | undefined = auditor, headers = {}) =>
    system.call('GET', `/audit/${path}`, { token: user?.token, headers })
  const events = async (query: string): Promise<Found[]> => {
    const { status, body } = await get(`security-events${query}`)
    expect(status, JSON.stringify(body)).to.equal(200)
    return body.security_events
  }
  const accesses = async (query: string): Promise<Found[]> =>
    (await get(`accesses${query}`)).body.accesses
  const verified = async (text: string) => {
    const file = join(directory, `export-${files++}.ndjson`)
    await writeFile(file, text)
    const report = await verifyRecordsExport(file, TRUST)
    return { ...report, open: notProvenOfRecords(report) }
  }
  /** The answer, while the log goes on being written. */
  const logging = async <T>(answer: Promise<T>): Promise<T> => {
    let isDone = false
    const done = answer.finally(() => {
      isDone = true
    })
    while (!isDone) {
      await log.log()
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    return done
  }

  it('tells auditors who signed in, who failed to, and who was given a role by whom', async () => {
    const [taken, given] = await events(`?type=role_changed&user_id=${ann?.id}`)
    expect(given).to.deep.include({
      user_id: ann?.id,
      username: ann?.username,
      details: { from: 'user', to: 'auditor', by: admin?.id },
    })
    expect(taken.details).to.deep.equal({ from: 'auditor', to: 'user', by: admin?.id })
    const failed = await events(`?type=login_failed&order=asc`)
    expect(failed.map(({ ip, request_id }) => [ip, request_id])).to.deep.equal([
      ['203.0.113.1', 'a-guess'],
      ['203.0.113.2', 'a-guess'],
      ['203.0.113.2', 'a-guess'],
    ])
  })

  it('is found by each condition, and by several together, newest first unless told', async () => {
    const all = await events('?limit=200&order=asc')
    const ids = async (query: string) => (await events(`${query}&limit=200`)).map(({ id }) => id)
    const wanted = (is: (event: Found) => boolean) =>
      all
        .filter(is)
        .map(({ id }) => id)
        .toReversed()
    const { id } = ann as User
    const time = all[5].recorded_at
    for (const [query, is] of [
      [`user_id=${id}`, (e) => e.user_id === id],
      ['type=registered,login_failed', (e) => /^(registered|login_failed)$/.test(e.type)],
      ['type=nothing_of_the_kind', () => false],
      ['ip=203.0.113.2', (e) => e.ip === '203.0.113.2'],
      ['request_id=a-guess', (e) => e.request_id === 'a-guess'],
      [`from=${time}`, (e) => e.recorded_at >= time],
      [`to=${time}`, (e) => e.recorded_at < time],
      [`from=${time}&to=${time}`, () => false],
      ['request_id=a-guess&ip=203.0.113.1', (e) => e.ip === '203.0.113.1'],
      [`user_id=${id}&type=registered,role_changed`, (e) => e.user_id === id && /^r/.test(e.type)],
      ['ip=203.0.113.2&type=login_succeeded', () => false],
    ] as const satisfies [string, (event: Found) => boolean][]) {
      expect(await ids(`?${query}`), query).to.deep.equal(wanted(is))
    }
  })

  it('comes page by page in both orders, and a cursor of another list is refused', async () => {
    const all = (await events('?limit=200&order=asc')).map(({ id }) => id)
    for (const order of ['asc', 'desc']) {
      const pages: number[] = []
      for (let cursor = ''; ; ) {
        const { body } = await get(`security-events?limit=4&order=${order}${cursor}`)
        pages.push(...body.security_events.map(({ id }: Found) => id))
        if (body.next_cursor === null) break
        cursor = `&cursor=${body.next_cursor}`
      }
      expect(pages).to.deep.equal(order === 'asc' ? all : all.toReversed())
    }
    const { body } = await get('security-events?limit=1')
    expect((await get(`accesses?cursor=${body.next_cursor}`)).status).to.equal(400)
  })

  it('is for auditors and admins alone, and their looks are on record', async () => {
    for (const path of ['security-events', 'accesses']) {
      const { status, body } = await get(path, ann)
      expect([status, body.code]).to.deep.equal([403, 'auditors_only'])
      expect((await get(path, ann, NDJSON)).status).to.equal(403)
      expect((await get(path, admin)).status).to.equal(200)
    }
    await get('security-events?ip=203.0.113.9')
    const [look] = await accesses(`?user_id=${auditor?.id}&kind=looked&limit=1&order=desc`)
    const before = (await accesses(`?user_id=${auditor?.id}&limit=5`)).map(({ query }) => query)
    expect(look.role).to.equal('auditor')
    expect(before).to.deep.include({
      records: 'security-events',
      ip: '203.0.113.9',
      order: 'desc',
      limit: 50,
    })
  })

  it('shows nothing if the look cannot be recorded', async () => {
    await sql.query(`
      create function refuse_all() returns trigger language plpgsql as
        $$ begin raise exception 'no more'; end $$;
      create trigger refused before insert on audit_accesses execute function refuse_all()`)
    const answers = [
      await get('security-events?ip=203.0.113.77'),
      await get('security-events', auditor, NDJSON),
      await get('security-events/1/proof'),
    ]
    await sql.query('drop trigger refused on audit_accesses; drop function refuse_all')
    for (const { status, body } of answers) {
      expect(status).to.equal(500)
      expect(JSON.stringify(body)).not.to.include(ann?.username)
    }
  })

  it('is exported as it is hashed, and proves itself offline: all of it, or the part that was asked for', async () => {
    for (const path of ['security-events', 'accesses']) {
      const { status, body, headers } = await logging(get(path, auditor, NDJSON))
      expect(status).to.equal(200)
      expect(headers.get('content-disposition')).to.match(
        new RegExp(`^attachment; filename="tasktrail-${path}-\\d{8}T\\d{6}Z\\.ndjson"$`),
      )
      const { open, whole, logged, trailer } = await verified(body)
      expect({ open, whole, logged }).to.deep.equal({
        open: [],
        whole: true,
        logged: trailer.count,
      })
      expect(trailer.count).to.be.above(5)
    }
    const part = await logging(
      get(`security-events?user_id=${ann?.id}&type=login_failed`, auditor, NDJSON),
    )
    const { open, whole, logged, trailer } = await verified(part.body)
    expect({ open, whole, logged }).to.deep.equal({ open: [], whole: false, logged: 3 })
    expect(trailer.query).to.deep.equal({ user_id: ann?.id, type: ['login_failed'] })
    const [export_] = await accesses('?kind=exported&limit=1')
    expect(export_.query).to.deep.equal({
      records: 'security-events',
      user_id: ann?.id,
      type: ['login_failed'],
      format: 'ndjson',
    })
  })

  it('is broken when a row was changed by whoever can', async () => {
    await sql.query('alter table security_events disable trigger all')
    const change = (username: string) =>
      sql.query('update security_events set username = $2 where id = $1', [5, username])
    const { rows } = await sql.query('select username from security_events where id = 5')
    await change('somebody-else')
    const { body } = await logging(get('security-events', auditor, NDJSON))
    await change(rows[0].username)
    await sql.query('alter table security_events enable trigger all')
    const why = await verified(body).then(
      () => 'proven',
      (error: Error) => error.message,
    )
    expect(why).to.match(/^security_events 5 is changed since it was logged \(leaf \d+\)\.$/)
  })

  it('is a table for spreadsheets too, in which no text is a formula', async () => {
    const { body, headers } = await logging(get('security-events?type=login_failed', auditor, CSV))
    expect(headers.get('content-type')).to.equal('text/csv; charset=utf-8')
    const rows = body.split('\r\n')
    expect(rows[0].replace('\ufeff', '')).to.equal(
      'id,type,user_id,username,session_id,ip,user_agent,request_id,details,occurred_at,recorded_at',
    )
    expect(rows[1]).to.match(/^\d+,login_failed,\d+,u[0-9a-f]+,,203\.0\.113\.1,.*a-guess,\{\},2/)
    expect(rows.at(-2)).to.match(/^# trailer,3,\d+,'?[^,]+,\d+,/)
  })

  describe('The proof of one', () => {
    it('is a file that the verifier takes, for the user whose it is and for auditors', async () => {
      const [own] = await events(`?user_id=${ann?.id}&type=login_failed&limit=1`)
      for (const user of [ann, auditor]) {
        const { status, body, headers } = await logging(
          get(`security-events/${own.id}/proof`, user),
        )
        expect(status).to.equal(200)
        expect(headers.get('content-disposition')).to.equal(
          `attachment; filename="tasktrail-security-events-${own.id}.ndjson"`,
        )
        const { open, logged, id } = await verified(body)
        expect({ open, logged, id }).to.deep.equal({ open: [], logged: 1, id: own.id })
      }
      const [look] = await accesses(`?user_id=${auditor?.id}&limit=1`)
      expect((await logging(get(`accesses/${look.id}/proof`))).status).to.equal(200)
    })

    it('is not found of another’s, or of what is not there', async () => {
      const [other] = await events(`?user_id=${admin?.id}&limit=1`)
      for (const id of [other.id, 1_000_000]) {
        const { status, body } = await get(`security-events/${id}/proof`, ann)
        expect([status, body.code]).to.deep.equal([404, 'record_not_found'])
      }
      const [look] = await accesses('?limit=1')
      expect((await get(`accesses/${look.id}/proof`, ann)).status).to.equal(404)
    })

    it('has to be asked for again while no checkpoint covers it', async () => {
      await system.newUser()
      const [last] = await events('?limit=1')
      const { status, body } = await get(`security-events/${last.id}/proof`)
      expect([status, body.code]).to.deep.equal([503, 'proof_not_ready'])
    })
  })
})
