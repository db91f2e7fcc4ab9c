import { expect } from 'chai'
import type { SignedTree } from '../../../../src/infra/postgres/transparency-log/tree-verification.ts'
import {
  type VerifyOptions,
  verifyLog,
} from '../../../../src/infra/postgres/transparency-log/verification.ts'
import { Broken } from '../../../../src/verifier/failures.ts'
import { eraseUser } from '../../../support/erase.ts'
import { type OpenLog, openLog, signer } from '../../../support/open-log.ts'
import { projectAudit } from '../../../support/project-audit.ts'

const OPTIONS = { trust: { keys: [signer.key], witnesses: [], quorum: 0 } }

describe('The verification of the database', () => {
  let log: OpenLog
  beforeEach(async () => {
    log = await openLog()
  })
  afterEach(() => log.stop())

  const found = async () =>
    verifyLog(log.query, OPTIONS).then(
      () => null,
      (error: unknown) => {
        if (error instanceof Broken) return error
        throw error
      },
    )

  describe('of what the audit shows', () => {
    beforeEach(async () => {
      for (const id of [1, 2, 1]) await log.write(id)
      await eraseUser(log.root, 7)
      await projectAudit(log.database)
      await log.write(2)
    })

    it('finds nothing where it is as in the log, as far as it has come', async () => {
      expect(await found()).to.equal(null)
    })

    const COPY = `insert into audit_events select 0 + position, null, 9, version, type, actor_id, occurred_at,
      recorded_at, request_id, changes, undoes, hash from audit_events where position = 4`
    for (const [what, statement, place] of [
      [
        'an erasure that is missing',
        'delete from audit_events where position = 4',
        { stream_id: 'user-7', version: 1, position: 4 },
      ],
      [
        'an erasure that is of another user',
        'update audit_events set user_id = 8 where position = 4',
        { stream_id: 'user-7', version: 1, position: 4 },
      ],
      [
        'an erasure that says more',
        `update audit_events set changes = '{"title":{}}' where position = 4`,
        { stream_id: 'user-7', version: 1, position: 4 },
      ],
      [
        'an erasure of which the log knows nothing',
        COPY.replace('0 + position', '-3'),
        { stream_id: 'user-9', version: 1, position: -3 },
      ],
      [
        'the same beyond the log',
        COPY.replace('0 + position', '1000000'),
        { stream_id: 'user-9', version: 1, position: 1_000_000 },
      ],
      [
        'an event by somebody else',
        'update audit_events set actor_id = 9 where position = 3',
        { stream_id: 'task-1', version: 2, position: 3 },
      ],
      [
        'an event in another request',
        `update audit_events set request_id = 'x' where position = 2`,
        { stream_id: 'task-2', version: 1, position: 2 },
      ],
    ] as const) {
      it(`names ${what}`, async () => {
        await log.root.query(statement)
        const error = await found()
        expect(error?.place).to.deep.equal(place)
        expect(error?.message).to.match(/the audit trail/)
      })
    }

    it('leaves out what is parked', async () => {
      await log.root.query(`
        delete from audit_events where position = 3;
        insert into parked_streams (projection, stream_id, position, version, error)
          values ('audit', 'task-1', 3, 2, 'bad')`)
      expect(await found()).to.equal(null)
    })
  })

  describe('since a checkpoint that was kept', () => {
    let kept: SignedTree
    const keptNow = async (): Promise<SignedTree> => {
      const { rows } = await log.root.query('select size, root from log_checkpoint')
      return rows[0]
    }
    const since = (options: Partial<VerifyOptions> = { since: kept }) =>
      verifyLog(log.query, { ...OPTIONS, ...options })
    const broken = async (options?: Partial<VerifyOptions>) => {
      const error = await since(options).catch((error: unknown) => error)
      expect(error).to.be.instanceOf(Broken)
      return (error as Broken).message
    }
    beforeEach(async () => {
      for (let n = 0; n < 300; n++) await log.write(1 + (n % 5))
      await log.log()
      kept = await keptNow()
      await log.root.query('create table aside as table log_checkpoint')
      for (let n = 0; n < 5; n++) await log.write(1 + n)
      await log.log()
      await log.write(7)
      await log.root.query(`
        alter table events disable trigger all; alter table log_checkpoint disable trigger all;
        alter table log_tiles disable trigger all; alter table log_bundles disable trigger all`)
    })

    it('reads only what has been added', async () => {
      expect(await since()).to.include({ size: 305, before: 300, events: 6, unlogged: 1 })
      expect(await since({})).to.include({ size: 305, before: 0, events: 306, unlogged: 1 })
      await log.root.query('update events set actor_id = 9 where position = 7')
      expect(await since()).to.include({ size: 305, events: 6 })
      expect(await broken({})).to.match(/\(position 7\) is changed/)
    })

    it('finds what was changed since, by its chain too', async () => {
      await log.root.query('update events set actor_id = 9 where position = 302')
      expect(await broken()).to.match(/\(position 302\) is changed/)
      await log.root.query(`update events set actor_id = 1 where position = 302;
        update events set prev_hash = sha256(prev_hash) where position = 303`)
      expect(await broken()).to.match(/\(position 303\) is changed/)
      await log.root.query('delete from events where position = 305')
      expect(await broken()).to.match(/\(position 303\)/)
    })

    it('finds that the log was put back, cut off, or begun anew', async () => {
      const later = await keptNow()
      await log.root.query('delete from log_checkpoint; insert into log_checkpoint table aside')
      expect(await broken({ kept: [later] })).to.match(/^The log has 300 leaves, but had 305/)
    })

    it('finds that the log was written anew, by whoever holds its key', async () => {
      const copy = await openLog()
      try {
        for (let n = 0; n < 310; n++) await copy.write(1 + (n % 5))
        await copy.log()
        for (const options of [{ since: kept }, { kept: [kept] }]) {
          const error = await verifyLog(copy.query, { ...OPTIONS, ...options }).catch(
            (error) => error,
          )
          expect(error).to.be.instanceOf(Broken)
          expect(error.message).to.match(/^The log does not extend/)
        }
        expect(await verifyLog(copy.query, OPTIONS)).to.include({ size: 310 })
      } finally {
        await copy.stop()
      }
    })
  })

  describe('of who looked and what happened to accounts', () => {
    const days = (ago: number) => `now() - interval '${ago} days'`
    const looks = (count: number, ago: number) =>
      log.root.query(
        `insert into audit_accesses (kind, user_id, role, request_id, query, accessed_at, recorded_at)
           select 'looked', n, 'auditor', 'r', '{"type": ["TaskCreated"]}', now(), ${days(ago)}
           from generate_series(1, $1::int) n`,
        [count],
      )
    beforeEach(async () => {
      await looks(2, 40)
      await looks(2, 31)
      await log.root.query(`
        insert into security_events (type, user_id, username, details, occurred_at, recorded_at)
          select 'login_failed', n, 'ann', '{"n": 1}', now(), ${days(20)} from generate_series(1, 3) n`)
      await log.log()
      await looks(2, 1)
      await log.write(1)
      await log.log()
      await looks(1, 0)
      await log.root.query(`
        alter table audit_accesses disable trigger all;
        alter table security_events disable trigger all;
        alter table audit_accesses alter id set generated by default;
        alter table security_events alter id set generated by default`)
    })

    it('finds nothing where nothing was changed, and counts what is logged', async () => {
      const { records } = await verifyLog(log.query, OPTIONS)
      expect(records).to.deep.equal({
        audit_accesses: { logged: 6, unlogged: 1, removed: 0 },
        security_events: { logged: 3, unlogged: 0, removed: 0 },
      })
    })

    const accesses = (id: number) => ({ table: 'audit_accesses', id })
    const events = (id: number) => ({ table: 'security_events', id })
    for (const [what, statement, place] of [
      ['that all are gone', 'truncate audit_accesses', accesses(5)],
      ['that all are gone of the other table', 'delete from security_events', events(1)],
      ['that the end is cut off', 'delete from audit_accesses where id >= 6', accesses(6)],
      ['that one in the middle is gone', 'delete from audit_accesses where id = 2', accesses(2)],
      ['that too many are gone', 'delete from audit_accesses where id <= 5', accesses(5)],
      [
        'that the first is gone where none may go',
        'delete from security_events where id = 1',
        events(1),
      ],
      ['who looked', 'update audit_accesses set user_id = 9 where id = 3', accesses(3)],
      ['what was asked', `update audit_accesses set query = '{}' where id = 4`, accesses(4)],
      [
        'when, by a microsecond',
        `update audit_accesses set recorded_at = recorded_at + interval '1 us' where id = 5`,
        accesses(5),
      ],
      ['whom it was', `update security_events set username = null where id = 2`, events(2)],
      ['how', `update security_events set details = '{"n": 1.0}' where id = 2`, events(2)],
      [
        'from where, though nothing stood there',
        `update security_events set ip = '::1' where id = 3`,
        events(3),
      ],
      ['its number', 'update security_events set id = -1 where id = 2', events(-1)],
      [
        'that two are exchanged',
        `update security_events set id = 4 - id + 10 where id in (1, 3);
         update security_events set id = id - 10 where id > 10`,
        events(1),
      ],
      [
        'one that was put in',
        `insert into audit_accesses select -5, kind, user_id, role, session_id, ip, request_id, query,
           accessed_at, recorded_at from audit_accesses where id = 1`,
        accesses(-5),
      ],
      [
        'the marks that were changed to match',
        `alter table log_records disable trigger all; delete from audit_accesses;
         update log_records set marks = ''`,
        { leaf: 0 },
      ],
      [
        'how far a leaf goes',
        `alter table log_records disable trigger all; update log_records set access_id = 0 where leaf = 2`,
        { leaf: 2 },
      ],
    ] as const) {
      it(`finds ${what}`, async () => {
        await log.root.query(statement)
        const error = await found()
        expect(error?.place, error?.message).to.deep.equal(place)
      })
    }

    it('takes what was removed when it had expired for removed, and no more', async () => {
      await log.root.query("select remove_expired_records('audit_accesses', 35, 1000)")
      expect((await verifyLog(log.query, OPTIONS)).records.audit_accesses).to.deep.equal({
        logged: 4,
        unlogged: 1,
        removed: 2,
      })
      await log.root.query("select remove_expired_records('audit_accesses', 0, 1000)")
      expect((await verifyLog(log.query, OPTIONS)).records.audit_accesses).to.deep.equal({
        logged: 2,
        unlogged: 1,
        removed: 4,
      })
      await looks(1, 0)
      await log.log()
      expect((await verifyLog(log.query, OPTIONS)).records.audit_accesses.logged).to.equal(4)
    })

    it('stays right when a table has a column more', async () => {
      await log.root.query('alter table security_events add column country text')
      expect(await found()).to.equal(null)
    })
  })
})
