import { expect } from 'chai'
import { strFromU8, unzipSync } from 'fflate'
import pg from 'pg'
import { type PhotoStorage, startPhotoStorage } from '../support/photo-storage.ts'
import { givenPhoto, jpeg } from '../support/photos.ts'
import { projectAudit } from '../support/project-audit.ts'
import { type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>

/** Tables with a user in them that are not read for the account's part, and why. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  tasks: 'in tasks.ndjson',
  events: 'in events.ndjson',
  audit_events: 'the same events',
  audit_facts: 'counts of the same events',
  photos: 'in photos.ndjson',
  user_keys: 'a key, wrapped',
  commands: 'which of their events answered which key of theirs, for a day',
  keyed_answers: 'how many of those',
  refresh_tokens: 'hashes',
}

const OF_USERS = `
  select distinct c.table_name as name from information_schema.columns c
    join information_schema.tables t using (table_schema, table_name)
  where c.table_schema = 'public' and t.table_type = 'BASE TABLE'
    and c.column_name in ('user_id', 'actor_id', 'owner_id', 'account', 'username')`

describe('The export of a person', function () {
  this.timeout(60_000)
  let photos: PhotoStorage
  let system: System
  let sql: pg.Client
  let ann: User

  before(async () => {
    photos = await startPhotoStorage()
    system = await startSystem({ ...photos.env })
    sql = new pg.Client(system.database.url)
    await sql.connect()
    ann = await system.newUser()
  })
  after(async () => {
    await sql?.end()
    await system?.stop()
    await photos?.stop()
  })

  const url = () => `${system.urls.task}/auth/me/export`
  const asked = (token: string, method = 'GET') =>
    fetch(url(), { method, headers: { authorization: `Bearer ${token}` } })
  const archiveOf = async (token: string): Promise<Record<string, Uint8Array>> => {
    const answer = await asked(token)
    expect(answer.status).to.equal(200)
    return unzipSync(new Uint8Array(await answer.arrayBuffer()))
  }
  const linesOf = (archive: Record<string, Uint8Array>, name: string) =>
    strFromU8(archive[name] ?? new Uint8Array())
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line))

  it("has the account, the tasks, their events and photos, and nobody else's", async () => {
    const bob = await system.newUser()
    const task = { title: 'Paint the kitchen', description: 'Yellow' }
    const made = await system.call('POST', '/tasks', { token: ann.token, body: task })
    await system.call('POST', '/tasks', { token: bob.token, body: { title: 'None of hers' } })
    const bytes = await jpeg()
    const photo = await givenPhoto(system.call, ann, made.body.task.id, bytes, 'Before.jpg')
    await system.call('POST', '/auth/login', {
      body: { username: ann.username, password: 'a wrong password' },
    })
    await projectAudit(system.database)

    const archive = await archiveOf(ann.token)
    const file = `photos/${made.body.task.id}/${photo}.jpg`
    expect(Object.keys(archive)).to.have.members([
      'README.txt',
      'account.ndjson',
      'tasks.ndjson',
      'events.ndjson',
      'photos.ndjson',
      file,
    ])
    expect(Buffer.from(archive[file] ?? '').equals(bytes)).to.equal(true)
    const [listed, ...otherTasks] = linesOf(archive, 'tasks.ndjson')
    expect(listed).to.include(task)
    expect(otherTasks).to.have.length(0)
    const events = linesOf(archive, 'events.ndjson')
    expect(events.map(({ type }) => type)).to.deep.equal(['TaskCreated', 'PhotoAdded', undefined])
    expect(events.at(-1).trailer.query).to.deep.equal({ user_id: ann.id })
    expect(linesOf(archive, 'photos.ndjson')[0]).to.include({ id: photo, name: 'Before.jpg', file })
    const account = linesOf(archive, 'account.ndjson')
    const kinds = Map.groupBy(account, ({ record }) => record)
    expect(kinds.get('profile')?.[0]).to.include({ id: ann.id, username: ann.username })
    expect(kinds.get('session')).to.have.length(1)
    expect(kinds.get('login_attempt')).to.have.length(1)
    const happened = kinds.get('security_event')?.map(({ type }) => type)
    expect(happened).to.deep.equal(['registered', 'login_succeeded', 'login_failed'])
    expect(JSON.stringify(account)).to.not.include(bob.username)
    // A word of its own: what is kept may have a kind, too.
    expect(kinds.get('mail')?.[0]).to.include({
      kind: 'registered',
      address: `${ann.username}@example.com`,
    })
    expect(kinds.get('audit_access')?.[0]).to.include({ kind: 'exported' })
  })

  it('has pages of what there is much of, all of them', async () => {
    const user = await system.newUser()
    await sql.query(
      `insert into security_events (type, user_id, username, details, occurred_at)
       select 'login_failed', $1, $2, jsonb_build_object('n', n), now() from generate_series(1, 250) n`,
      [user.id, user.username],
    )
    const account = linesOf(await archiveOf(user.token), 'account.ndjson')
    const numbers = account.flatMap(({ details }) => details?.n ?? [])
    expect(numbers).to.deep.equal(Array.from({ length: 250 }, (_, n) => n + 1))
  })

  it('has each of them once, whatever their keys are, such as networks with a slash', async () => {
    const user = await system.newUser()
    await sql.query(
      `insert into login_attempts (account, ip, tries, last_try_at)
       select $1, '2001:db8:' || to_hex(n) || '::/64', 1, now() from generate_series(1, 100) n`,
      [user.username],
    )
    const account = linesOf(await archiveOf(user.token), 'account.ndjson')
    const tries = account.filter(({ record }) => record === 'login_attempt').map(({ ip }) => ip)
    expect([tries.length, new Set(tries).size]).to.deep.equal([100, 100])
  })

  it('has no password, secret or token, and no hash of one', async () => {
    const user = await system.newUser()
    await system.call('POST', '/auth/factors/totp', { token: user.token, body: {} })
    const { rows } = await sql.query(
      `select u.password_hash as password, encode(r.hash, 'hex') as refresh
       from users u join sessions s on s.user_id = u.id join refresh_tokens r on r.session_id = s.id
       where u.id = $1`,
      [user.id],
    )
    const account = strFromU8((await archiveOf(user.token))['account.ndjson'] as Uint8Array)
    for (const secret of [rows[0].password, rows[0].refresh, user.password, user.token]) {
      expect(account).to.not.include(secret)
    }
    expect(account).to.not.match(/secret|password_hash|public_key/)
  })

  it('leaves out no table that has a user in it', async () => {
    const { rows } = await sql.query(OF_USERS)
    const source = await sql.query(`select prosrc from pg_proc where proname = 'account_records'`)
    const isRead = (name: string) =>
      new RegExp(`\\b(from|join) ${name}\\b`).test(source.rows[0].prosrc)
    const forgotten = rows
      .map(({ name }) => name)
      .filter((name) => !(name in ELSEWHERE || isRead(name)))
    expect(forgotten).to.deep.equal([])
  })

  it('is for whoever it is of, and on record', async () => {
    expect((await asked('nonsense')).status).to.equal(401)
    const { rows } = await sql.query(
      `select kind, query from audit_accesses where user_id = $1 and kind = 'exported'`,
      [ann.id],
    )
    expect(rows[0]).to.deep.equal({ kind: 'exported', query: { format: 'zip', user_id: ann.id } })
    const head = await asked(ann.token, 'HEAD')
    expect(head.headers.get('content-type')).to.equal('application/zip')
    expect(head.headers.get('content-disposition')).to.match(
      /^attachment; filename="tasktrail-.*\.zip"$/,
    )
  })

  it('has no end, and breaks off, when the session ends midway', async () => {
    const user = await system.newUser()
    await sql.query(
      `insert into security_events (type, user_id, username, details, occurred_at)
       select 'login_failed', $1, $2, '{}', now() from generate_series(1, 20000) n`,
      [user.id, user.username],
    )
    const answer = await asked(user.token)
    const reader = (answer.body as ReadableStream<Uint8Array>).getReader()
    await reader.read()
    await system.call('POST', '/auth/logout', { token: user.token })
    const rest = async () => {
      while (!(await reader.read()).done);
    }
    expect(
      await rest().then(
        () => 'complete',
        () => 'broken off',
      ),
    ).to.equal('broken off')
  })

  it('needs auth-service: without it there is no archive that looks whole', async () => {
    const headers = { authorization: `Bearer ${ann.token}` }
    const { status } = await fetch(`${system.urls.auth}/internal/account-records`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body: '{"after":null}',
    })
    expect(status).to.equal(403)
  })
})
