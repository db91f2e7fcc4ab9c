import { randomBytes } from 'node:crypto'
import { expect } from 'chai'
import pg from 'pg'
import type { Log } from '../../../src/app/ports/process.ts'
import { rewrappingUserKeys } from '../../../src/infra/encryption/rewrap-user-keys.ts'
import {
  type KeyWrap,
  newDataKey,
  secretKeyWrap,
} from '../../../src/infra/encryption/text-cipher.ts'
import { type Database, openDatabase } from '../../../src/infra/postgres/connection/database.ts'
import { silent } from '../../support/log.ts'
import { type TestDatabase, testDatabase } from '../../support/postgres.ts'

describe('Rewrapping data keys', () => {
  const before = secretKeyWrap('the previous secret')
  const now = secretKeyWrap('the present secret', 'the previous secret')
  let database: TestDatabase
  let db: Database
  let sql: pg.Client

  beforeEach(async () => {
    said.length = 0
    database = await testDatabase()
    db = openDatabase({ ...database.config, role: 'tasktrail_worker', log: silent })
    sql = new pg.Client(database.url)
    await sql.connect()
  })
  afterEach(async () => {
    await Promise.all([db.close(), sql.end()])
    await database.drop()
  })

  const add = (user_id: number, wrapped: Buffer, by: string) =>
    sql.query('insert into user_keys (user_id, wrapped_key, wrapped_by) values ($1, $2, $3)', [
      user_id,
      wrapped,
      by,
    ])
  const addKeys = async (...users: number[]) => {
    for (const user of users) await add(user, await before.wrap(newDataKey(), user), before.id)
  }
  const said: string[] = []
  const line = (level: string) => (facts: object, message: string) =>
    void said.push(`${level}: ${message} ${JSON.stringify(facts)}`)
  const log: Log = { info: line('info'), warn: line('warn'), error: line('error') }
  /** Rounds until it is done, each with the wrap as it is then. */
  const round = (wrap: KeyWrap) => {
    const next = rewrappingUserKeys(db, wrap, log)
    return () => next(new AbortController().signal)
  }
  const wrappedBy = async () =>
    (await sql.query('select wrapped_by from user_keys order by user_id')).rows.map(
      (row) => row.wrapped_by,
    )

  it('goes on until none is left, and says once what it could not do', async () => {
    await addKeys(1, 2, 3)
    let away = true
    const next = round({
      ...now,
      wrap: async (key, user) => {
        if (away && user === 2) throw new Error('the key service is away')
        return now.wrap(key, user)
      },
    })
    expect([await next(), await next()]).to.deep.equal(['again', 'again'])
    expect(await wrappedBy()).to.deep.equal([now.id, before.id, now.id])
    expect(said).to.deep.equal([
      `info: rewrapped data keys {"keys":2,"wrapped_by":"${now.id}"}`,
      'error: cannot rewrap data keys {"keys":1,"err":"the key service is away"}',
    ])
    away = false
    expect(await next()).to.equal('done')
    expect(await wrappedBy()).to.deep.equal([now.id, now.id, now.id])
  })

  it('tells a key that is unknown from one that is damaged', async () => {
    const lost = secretKeyWrap('a lost secret')
    await add(1, await lost.wrap(newDataKey(), 1), lost.id)
    await add(2, randomBytes(60), before.id)
    expect(await round(now)()).to.equal('again')
    expect(said.map((text) => JSON.parse(/{.*/.exec(text)?.[0] ?? ''))).to.deep.equal([
      { keys: 1, err: `None of the given TEXT_KEYs is the one named ${lost.id}.` },
      { keys: 1, err: `The bytes are not what the TEXT_KEY named ${before.id} wrapped.` },
    ])
  })

  it('tries again when the database is away', async () => {
    await addKeys(1)
    await sql.query('alter table user_keys rename to elsewhere')
    const next = round(now)
    expect(await next()).to.equal('again')
    await sql.query('alter table elsewhere rename to user_keys')
    expect(await next()).to.equal('done')
    expect(await wrappedBy()).to.deep.equal([now.id])
  })
})
