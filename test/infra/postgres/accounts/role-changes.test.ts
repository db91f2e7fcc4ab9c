import { expect } from 'chai'
import pg from 'pg'
import { AppError } from '../../../../src/app/errors.ts'
import { type Roles, roles, withFirstAdmin } from '../../../../src/app/roles.ts'
import type { Role } from '../../../../src/domain/user.ts'
import { postgresUsers } from '../../../../src/infra/postgres/accounts/users.ts'
import { type Database, openDatabase } from '../../../../src/infra/postgres/connection/database.ts'
import { migrations } from '../../../../src/infra/postgres/connection/migrations.ts'
import { requireRoles } from '../../../../src/infra/postgres/transparency-log/role-verification.ts'
import { eraseUser } from '../../../support/erase.ts'
import { silent } from '../../../support/log.ts'
import { queryOf } from '../../../support/open-log.ts'
import { type TestDatabase, testDatabase } from '../../../support/postgres.ts'
import { projectAudit } from '../../../support/project-audit.ts'
import { giveRole } from '../../../support/roles.ts'

const context = () => ({
  request_id: 'request-1',
  ip: '192.0.2.7',
  user_agent: 'mocha',
  now: new Date(),
})

describe('Roles in the log', () => {
  let database: TestDatabase
  let sql: pg.Client
  let db: Database
  let users: ReturnType<typeof postgresUsers>
  let use: Roles
  let names = 0

  beforeEach(async () => {
    database = await testDatabase()
    sql = new pg.Client(database.url)
    await sql.connect()
    db = openDatabase({ ...database.config, role: 'tasktrail_auth', log: silent })
    users = postgresUsers(db)
    use = roles(users)
  })
  afterEach(async () => {
    await db.close()
    await sql.end()
    await database.drop()
  })

  const newUser = (username = `user-${names++}`) =>
    users.add({ username, email: `${username}@example.com`, password_hash: 'hash' }, context())
  const withRole = async (role: Role) => {
    const user = await newUser()
    await giveRole(sql, user.id, role)
    return user
  }
  const rows = async (text: string, values: unknown[] = []) => (await sql.query(text, values)).rows
  const roleOf = async (id: number): Promise<Role> =>
    (await rows('select role from users where id = $1', [id]))[0]?.role
  const eventsOf = (id: number) =>
    rows('select type, version, actor_id, data from events where stream_id = $1 order by version', [
      `user-${id}`,
    ])
  const code = (work: Promise<unknown>): Promise<string> =>
    work.then(
      () => 'done',
      (error) => (error instanceof AppError ? error.code : error.message),
    )
  const caller = (id: number, role: Role) => {
    const session_id = '0190163d-8694-739b-aea5-966c26f8ad91'
    const proven = { auth_time: Math.floor(Date.now() / 1000), amr: ['pwd' as const] }
    return { user_id: id, username: '', email: '', role, session_id, iat: 0, exp: 0, ...proven }
  }

  it('change with an event and a security event that say who did it', async () => {
    const [ann, admin] = [await newUser(), await withRole('admin')]
    const changed = await use.change(caller(admin.id, 'admin'), ann.id, 'auditor', context())
    expect(changed).to.include({ id: ann.id, role: 'auditor' })
    await use.grant(ann.username, 'user', context())
    expect(await eventsOf(ann.id)).to.deep.equal([
      {
        type: 'UserRoleChanged',
        version: '1',
        actor_id: String(admin.id),
        data: { from: 'user', to: 'auditor' },
      },
      {
        type: 'UserRoleChanged',
        version: '2',
        actor_id: '0',
        data: { from: 'auditor', to: 'user' },
      },
    ])
    const recorded = await rows(
      `select username, ip, details from security_events where type = 'role_changed' and user_id = $1 order by id`,
      [ann.id],
    )
    expect(recorded).to.deep.equal([
      {
        username: ann.username,
        ip: '192.0.2.7',
        details: { from: 'user', to: 'auditor', by: admin.id },
      },
      { username: ann.username, ip: '192.0.2.7', details: { from: 'auditor', to: 'user', by: 0 } },
    ])
    expect(await roleOf(ann.id)).to.equal('user')
  })

  it('that somebody has already are not given again', async () => {
    const ann = await withRole('auditor')
    expect(await use.grant(ann.username, 'auditor', context())).to.include({ role: 'auditor' })
    expect(await eventsOf(ann.id)).to.have.length(1)
  })

  it('are changed by admins alone, also by one who was it a moment ago', async () => {
    const [ann, bob] = [await newUser(), await withRole('auditor')]
    await withRole('admin')
    expect(await code(use.change(caller(bob.id, 'auditor'), ann.id, 'admin', context()))).to.equal(
      'admins_only',
    )
    expect(await code(use.change(caller(bob.id, 'admin'), ann.id, 'admin', context()))).to.equal(
      'admins_only',
    )
    expect(await code(use.change(caller(bob.id, 'admin'), 1_000, 'admin', context()))).to.equal(
      'user_not_found',
    )
    expect(await eventsOf(ann.id)).to.deep.equal([])
  })

  it('leave an admin, however many take the role from each other at once', async () => {
    const admins: Awaited<ReturnType<typeof withRole>>[] = []
    for (let n = 0; n < 4; n++) admins.push(await withRole('admin'))
    const ring = admins.map(({ id }, at) => ({ by: id, of: admins[(at + 1) % 4]?.id ?? 0 }))
    const outcomes = await Promise.all(
      ring.map(({ by, of }) => code(use.change(caller(by, 'admin'), of, 'user', context()))),
    )
    const left = await rows(`select id from users where role = 'admin'`)
    expect(left.length).to.be.at.least(1)
    expect(outcomes.filter((outcome) => outcome === 'done')).to.have.length(4 - left.length)
    const last = left[0].id
    for (const { id } of left.slice(1))
      await use.change(caller(last, 'admin'), Number(id), 'user', context())
    expect(await code(use.change(caller(last, 'admin'), last, 'user', context()))).to.equal(
      'last_admin',
    )
    const { username } = admins.find(({ id }) => String(id) === last) as { username: string }
    expect(await code(use.grant(username, 'auditor', context()))).to.equal('last_admin')
    expect(await roleOf(last)).to.equal('admin')
  })

  it('stand in the row only as the log has them, even for the superuser', async () => {
    const [ann, bob] = [await newUser(), await withRole('auditor')]
    // Its id is held by these.
    await rows('delete from mails where user_id = $1', [bob.id])
    const insert = `insert into users (username, email, password_hash, role, created_at, updated_at)
      values ('eve', 'eve@example.com', '', 'admin', now(), now())`
    for (const statement of [
      `update users set role = 'admin' where id = ${ann.id}`,
      `update users set role = 'user' where id = ${bob.id}`,
      `update users set id = default where id = ${bob.id}`,
      insert,
      `set session_replication_role = replica; ${insert}`,
      `set session_replication_role = replica; update users set role = 'admin' where id = ${ann.id}`,
    ]) {
      expect(await code(sql.query(`begin; ${statement}`)), statement).to.match(
        /^the log does not give user \d+ the role/,
      )
      await sql.query('rollback; reset session_replication_role')
    }
    expect(await code(db.query({ name: 'x', text: insert }, []))).to.match(
      /^the log does not give user/,
    )
    expect(await rows('select id from users where username = $1', ['eve'])).to.deep.equal([])
  })

  it('end with the account: its erasure is the next event, and the role does not come back', async () => {
    const ann = await withRole('auditor')
    await sql.query(
      `insert into photos (photo_id, task_id, user_id, name, content_type, size, sha256, upload_ends_at)
      values (gen_random_uuid(), 1, $1, '{}', 'image/png', 1, sha256(''), now() - interval '1 day')`,
      [ann.id],
    )
    await eraseUser(sql, ann.id)
    await sql.query(`select photos_erased($1, gen_random_uuid(), 1, '{"request_id":"r"}')`, [
      ann.id,
    ])
    expect((await eventsOf(ann.id)).map(({ type, version }) => `${version} ${type}`)).to.deep.equal(
      ['1 UserRoleChanged', '2 UserErased', '3 UserPhotosErased'],
    )
    const again = `insert into users (id, username, email, password_hash, role, created_at, updated_at)
      overriding system value values (${ann.id}, 'ann', 'ann@example.com', '', 'auditor', now(), now())`
    expect(await code(sql.query(again))).to.match(/^the log does not give user/)
  })

  it('that the log does not give are found, whoever has it and whoever lacks it', async () => {
    const [ann, bob] = [await newUser(), await withRole('auditor')]
    await projectAudit(database)
    const query = queryOf(sql)
    await requireRoles(query)
    const forged = async (id: number, role: Role) => {
      await sql.query('begin; alter table users disable trigger all')
      await sql.query('update users set role = $2 where id = $1', [id, role])
      const found = await code(requireRoles(query))
      await sql.query('rollback')
      return found
    }
    expect(await forged(ann.id, 'admin')).to.equal(
      `users ${ann.id} has the role admin; the log gives user.`,
    )
    expect(await forged(bob.id, 'user')).to.equal(
      `users ${bob.id} has the role user; the log gives auditor.`,
    )
    expect(await forged(bob.id, 'admin')).to.equal(
      `users ${bob.id} has the role admin; the log gives auditor.`,
    )
  })

  it('that users had before there were events of them get one each from the migration', async () => {
    const [ann, bob] = [await newUser(), await newUser()]
    const eve = await withRole('admin')
    await Promise.all([db.close(), sql.end()])
    const schema = migrations(database.config)
    while ((await schema.status()).completed.some((name) => name.includes('roles_in_log')))
      await schema.rollback(true)
    const before = new pg.Client(database.url)
    await before.connect()
    await before.query(`update users set role = 'auditor' where id = $1`, [bob.id])
    await before.end()
    await schema.latest().finally(schema.close)
    sql = new pg.Client(database.url)
    await sql.connect()
    db = openDatabase({ ...database.config, role: 'tasktrail_auth', log: silent })
    expect(await eventsOf(ann.id)).to.deep.equal([])
    expect(await eventsOf(bob.id)).to.deep.equal([
      {
        type: 'UserRoleChanged',
        version: '1',
        actor_id: '0',
        data: { from: 'user', to: 'auditor' },
      },
    ])
    expect(await eventsOf(eve.id)).to.have.length(1)
  })

  describe('The first admin', () => {
    it('is who registers under the name, in any letter case, as long as there is none', async () => {
      users = withFirstAdmin(users, 'ADA', silent) as typeof users
      expect(await newUser('bob')).to.include({ role: 'user' })
      const ada = await newUser('ada')
      expect(ada).to.include({ role: 'admin' })
      expect(await eventsOf(ada.id)).to.have.length(1)
    })

    it('is nobody if there is an admin, whoever registers', async () => {
      await withRole('admin')
      users = withFirstAdmin(users, 'ada', silent) as typeof users
      expect(await newUser('ada')).to.include({ role: 'user' })
    })

    it('is one, however many services start at once', async () => {
      await newUser('ada')
      const outcomes = await Promise.all([1, 2, 3].map(() => use.grantFirst('ada', context())))
      expect(outcomes.toSorted()).to.deep.equal([false, false, true])
      expect(await use.grantFirst('nobody', context())).to.equal(false)
    })
  })
})
