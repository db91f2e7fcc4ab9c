import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import type pg from 'pg'
import { newDataKey, secretKeyWrap } from '../../../src/infra/encryption/text-cipher.ts'
import { type Database, openDatabase } from '../../../src/infra/postgres/connection/database.ts'
import {
  fingerprint,
  keyedDatabase,
  type RequiredKey,
  requireKey,
  WrongKey,
} from '../../../src/infra/postgres/keys/required-key.ts'
import {
  keepTextKey,
  logKey,
  passwordPepper,
  textKey,
} from '../../../src/infra/postgres/keys/stored-keys.ts'
import { connect } from '../../support/audit-fold.ts'
import { silent } from '../../support/log.ts'
import { LOG_KEY, openLog } from '../../support/open-log.ts'
import { type TestDatabase, testDatabase } from '../../support/postgres.ts'

const [FIRST, SECOND, THIRD] = [randomUUID(), randomUUID(), randomUUID()] as const

describe('The keys that the data needs', () => {
  let database: TestDatabase
  let sql: pg.Client
  let dbs: Record<'auth' | 'task' | 'worker', Database>

  beforeEach(async () => {
    database = await testDatabase()
    sql = await connect(database.url)
    const open = (name: string) =>
      openDatabase({ ...database.config, role: `tasktrail_${name}`, log: silent })
    dbs = { auth: open('auth'), task: open('task'), worker: open('worker') }
  })
  afterEach(async () => {
    await Promise.all([...Object.values(dbs).map(({ close }) => close()), sql.end()])
    await database.drop()
  })

  const outcome = (key: RequiredKey, db = key.name === 'PASSWORD_PEPPER' ? dbs.auth : dbs.worker) =>
    requireKey(db.query, key).then(
      () => 'right',
      (error: unknown) => {
        expect(error).to.be.instanceOf(WrongKey)
        return 'wrong'
      },
    )
  const kept = async () => {
    const { rows } = await sql.query('select name, fingerprint from key_fingerprints order by name')
    return Object.fromEntries(rows.map(({ name, fingerprint }) => [name, fingerprint]))
  }
  const addUser = () =>
    sql.query(`insert into users (username, email, password_hash, created_at, updated_at)
      values ('ada', 'a@example.com', 'x', now(), now())`)
  const addKey = async (by: string, user_id = 1) => {
    const wrap = secretKeyWrap(by)
    await sql.query(
      'insert into user_keys (user_id, wrapped_key, wrapped_by) values ($1, $2, $3)',
      [user_id, await wrap.wrap(newDataKey(), user_id), wrap.id],
    )
  }

  for (const key of [passwordPepper, textKey, logKey] as const) {
    const { name } = key(FIRST)
    it(`leaves the fingerprint of the first ${name}, and refuses another from then on`, async () => {
      expect(await outcome(key(FIRST))).to.equal('right')
      expect(await kept()).to.deep.equal({ [name]: fingerprint(name, FIRST) })
      expect(await outcome(key(FIRST))).to.equal('right')
      expect(await outcome(key(SECOND))).to.equal('wrong')
      expect(await kept()).to.deep.equal({ [name]: fingerprint(name, FIRST) })
    })
  }

  it('are told by fingerprints that say nothing of them, and differ by name', () => {
    expect(fingerprint('TEXT_KEY', FIRST)).to.match(/^[0-9a-f]{16}$/)
    expect(fingerprint('TEXT_KEY', FIRST)).not.to.equal(fingerprint('LOG_KEY', FIRST))
    expect(fingerprint('TEXT_KEY', FIRST)).not.to.equal(fingerprint('TEXT_KEY', SECOND))
  })

  it('are named in one sentence that says where they go', async () => {
    await outcome(passwordPepper(FIRST))
    const why = (place?: string) =>
      requireKey(dbs.auth.query, passwordPepper(SECOND), place).catch((e: Error) => e.message)
    expect(await why()).to.equal(
      'PASSWORD_PEPPER is not the key that the passwords in this database were hashed with: restore ' +
        'that one in the environment variable PASSWORD_PEPPER (npm start keeps it in secrets.json of ' +
        'DATA_DIR).',
    )
    expect(await why('/data/secrets.json')).to.match(/restore that one in \/data\/secrets\.json\.$/)
  })

  it('are decided by one of many that come at the same time', async () => {
    const keys = Array.from({ length: 8 }, () => randomUUID())
    const outcomes = await Promise.all(keys.map((key) => outcome(textKey(key), dbs.task)))
    expect(outcomes.filter((one) => one === 'right')).to.have.lengthOf(1)
    const winner = keys[outcomes.indexOf('right')] ?? ''
    expect(await kept()).to.deep.equal({ TEXT_KEY: fingerprint('TEXT_KEY', winner) })
  })

  describe('of a database without fingerprints', () => {
    it('are taken where a data key is wrapped by one of them', async () => {
      await addKey(FIRST)
      expect(await outcome(textKey(SECOND))).to.equal('wrong')
      expect(await kept()).to.deep.equal({})
      expect(await outcome(textKey(SECOND, FIRST))).to.equal('right')
      expect(await kept()).to.deep.equal({ TEXT_KEY: fingerprint('TEXT_KEY', FIRST) })
    })

    it('are taken where all that they protected is destroyed', async () => {
      await sql.query('insert into user_keys (user_id, destroyed_at) values (1, now())')
      expect(await outcome(textKey(FIRST))).to.equal('right')
    })

    it('are refused where nothing can prove them', async () => {
      await addUser()
      expect(await outcome(passwordPepper(FIRST))).to.equal('wrong')
    })

    it('are taken where they signed the last checkpoint', async () => {
      const log = await openLog()
      await log.write(1)
      await log.log()
      const another = await requireKey(log.query, logKey(FIRST)).catch((error: unknown) => error)
      expect(another).to.be.instanceOf(WrongKey)
      await requireKey(log.query, logKey(LOG_KEY))
      await log.stop()
    })
  })

  it('are taken unseen once they were forgotten', async () => {
    await addUser()
    await sql.query("insert into key_fingerprints (name) values ('PASSWORD_PEPPER')")
    expect(await outcome(passwordPepper(SECOND))).to.equal('right')
    expect(await outcome(passwordPepper(FIRST))).to.equal('wrong')
  })

  it('can be rotated: each step knows the key of the step before', async () => {
    await addKey(FIRST)
    for (const key of [textKey(FIRST), textKey(FIRST, SECOND), textKey(SECOND, FIRST)]) {
      expect(await outcome(key)).to.equal('right')
    }
    // As long as the old one wraps anything.
    await keepTextKey(dbs.worker.query, SECOND)
    expect(await kept()).to.deep.equal({ TEXT_KEY: fingerprint('TEXT_KEY', FIRST) })
    expect(await outcome(textKey(SECOND, THIRD))).to.equal('wrong')
    await sql.query('delete from user_keys')
    await addKey(SECOND)
    await keepTextKey(dbs.worker.query, SECOND)
    expect(await kept()).to.deep.equal({ TEXT_KEY: fingerprint('TEXT_KEY', SECOND) })
    expect(await outcome(textKey(SECOND, THIRD))).to.equal('right')
    expect(await outcome(textKey(FIRST, SECOND))).to.equal('right')
    expect(await outcome(textKey(FIRST))).to.equal('wrong')
  })

  it('are asked for before anything else is', async () => {
    await outcome(passwordPepper(FIRST))
    const { query } = keyedDatabase(dbs.auth, [passwordPepper(SECOND)])
    const add = {
      name: 'add',
      text: `insert into login_attempts values ('a', 'b', 1, now(), null)`,
    }
    const error = await query(add, []).catch((error: unknown) => error)
    expect(error).to.include({ code: 'database_unavailable' })
    expect((error as Error).cause).to.be.instanceOf(WrongKey)
    expect((await sql.query('select from login_attempts')).rowCount).to.equal(0)
  })

  it('cannot be changed by who may only ask for them', async () => {
    await outcome(passwordPepper(FIRST))
    const change = { name: 'change', text: `update key_fingerprints set fingerprint = null` }
    for (const db of [dbs.auth, dbs.task]) {
      const error = await db.query(change, []).catch((error: Error) => error.message)
      expect(error).to.match(/^permission denied/)
    }
  })
})
