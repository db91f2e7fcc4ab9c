import { expect } from 'chai'
import { verifyLog } from '../../../../src/infra/postgres/audit/audit-verification.ts'
import { Broken } from '../../../../src/verifier/failures.ts'
import { eraseUser } from '../../../support/erase.ts'
import { projectAudit } from '../../../support/project-audit.ts'
import { openLog, type SealedLog, sealKey } from '../../../support/sealed-log.ts'

describe('The verification of the database', () => {
  let log: SealedLog
  beforeEach(async () => {
    log = await openLog()
  })
  afterEach(() => log.stop())

  const found = async () =>
    verifyLog(log.query, [sealKey]).then(
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
})
