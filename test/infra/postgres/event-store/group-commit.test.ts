import { expect } from 'chai'
import fc from 'fast-check'
import pg from 'pg'
import { AppError } from '../../../../src/app/errors.ts'
import type { Append, AppendResult } from '../../../../src/app/ports/event-store.ts'
import type { TaskEvent } from '../../../../src/domain/task/events.ts'
import { type TaskView, taskStreamId } from '../../../../src/domain/task/view.ts'
import { type Database, openDatabase } from '../../../../src/infra/postgres/connection/database.ts'
import { postgresEventStore } from '../../../../src/infra/postgres/event-store/event-store.ts'
import { append, created, key, NEW, ownedBy, renamed } from '../../../support/appends.ts'
import { silent } from '../../../support/log.ts'
import { type TestDatabase, testDatabase } from '../../../support/postgres.ts'

type Facts = Append<TaskEvent, TaskView>

const ERASED = 2
const RICH = 3
const QUOTAS = { tasks: 10, bytes: 1_000_000_000, keyed_answers: 1_000 }

describe('Appends that come together', () => {
  let test: TestDatabase
  let db: Database
  let sql: pg.Client
  let store: ReturnType<typeof postgresEventStore<TaskEvent, TaskView>>

  before(async () => {
    test = await testDatabase()
    db = openDatabase({ ...test.config, role: 'tasktrail_task', log: silent })
    sql = new pg.Client(test.url)
    await sql.connect()
    store = postgresEventStore<TaskEvent, TaskView>(db, QUOTAS)
    await sql.query(`insert into user_keys (user_id, destroyed_at) values (${ERASED}, now())`)
    await sql.query(`insert into user_usage (user_id, tasks, bytes) values (${RICH}, 10, 0)`)
  })
  after(async () => {
    await db.close()
    await sql.end()
    await test.drop()
  })

  let lastId = 0
  const newId = () => ++lastId
  const fresh = () => append(newId(), [created()])
  const outcome = (facts: Facts) =>
    store.append(facts).then(
      ({ outcome }: AppendResult): unknown => outcome,
      (error) =>
        error instanceof AppError || error instanceof pg.DatabaseError ? error.code : error,
    )
  const together = (all: readonly Facts[]) => Promise.all(all.map(outcome))
  /** Which of them stand in the log, as their streams' heads, with their rows. */
  const written = async (all: readonly Facts[]) => {
    const { rows } = await sql.query<{ stream_id: string; version: number }>(
      `select s.stream_id, s.version::int from streams s
        join tasks t on s.stream_id = 'task-' || t.id and t.version = s.version
        join events e on e.stream_id = s.stream_id and e.version = s.version and e.hash = s.head_hash
      where s.stream_id = any ($1)`,
      [all.map(({ stream_id }) => stream_id)],
    )
    const versions = new Map(rows.map(({ stream_id, version }) => [stream_id, version]))
    return all.map(({ stream_id, expected, events }) => {
      return versions.get(stream_id) === expected.version + events.length
    })
  }

  it('are few transactions, and each is written whole', async () => {
    const all = Array.from({ length: 40 }, fresh)
    expect(new Set(await together(all))).to.deep.equal(new Set(['appended']))
    expect(await written(all)).not.to.include(false)
    const { rows } = await sql.query(
      'select distinct xmin::text from events where stream_id = any ($1)',
      [all.map(({ stream_id }) => stream_id)],
    )
    // One for the first; one or two for those who came meanwhile.
    expect(rows.length).to.be.within(1, 3)
  })

  // What each is answered, whatever stands before and after it.
  const KINDS: Record<string, { readonly outcome: string; readonly make: () => Promise<Facts> }> = {
    good: { outcome: 'appended', make: async () => fresh() },
    keyed: {
      outcome: 'appended',
      make: async () => ({ ...fresh(), command: key(`new-${lastId}`, 'one') }),
    },
    late: {
      outcome: 'conflict',
      make: async () => ({ ...fresh(), expected: { version: 7, head_hash: 'ab'.repeat(32) } }),
    },
    'of an erased user': {
      outcome: 'session_ended',
      make: async () => ownedBy(ERASED, fresh()),
    },
    'beyond a quota': { outcome: 'quota_exceeded', make: async () => ownedBy(RICH, fresh()) },
    repeated: {
      outcome: 'replayed',
      make: async () => {
        const facts = { ...fresh(), command: key(`again-${lastId}`, 'one') }
        await store.append(facts)
        return { ...append(newId(), [created()]), command: facts.command }
      },
    },
    'with another’s key': {
      outcome: 'idempotency_key_reused',
      make: async () => {
        const command = key(`taken-${newId()}`, 'one')
        await store.append({ ...fresh(), command })
        return { ...fresh(), command: { ...command, fingerprint: Buffer.alloc(32) } }
      },
    },
    poisoned: {
      outcome: '23514',
      make: async () => {
        const facts = { ...fresh(), command: key(`poison-${lastId}`, 'one') }
        return { ...facts, row: { ...facts.row, status: 'unheard of' as never } }
      },
    },
    'that cannot be stored': {
      outcome: '22P05',
      make: async () => append(newId(), [created({ title: 'nul \0' })]),
    },
  }

  it('have each its own result, and one that fails touches no other', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom(...Object.keys(KINDS)), { minLength: 2, maxLength: 12 }),
        async (kinds) => {
          const all: Facts[] = []
          for (const kind of kinds) all.push((await KINDS[kind]?.make()) as Facts)
          const expected = kinds.map((kind) => KINDS[kind]?.outcome)
          expect(await together([fresh(), ...all])).to.deep.equal(['appended', ...expected])
          expect(await written(all)).to.deep.equal(
            expected.map((outcome) => outcome === 'appended'),
          )
        },
      ),
      { numRuns: 100 },
    ))

  it('of one stream are decided one after the other, and of one key done once', async () => {
    const id = newId()
    const racing = ['One', 'Two', 'Three'].map((title) => append(id, [created({ title })]))
    const command = key(`once-${id}`, 'one')
    const same = Array.from({ length: 3 }, () => ({ ...fresh(), command }))
    const outcomes = await together([fresh(), ...racing, ...same])
    expect(outcomes.slice(1, 4)).to.deep.equal(['appended', 'conflict', 'conflict'])
    expect(outcomes.slice(4)).to.deep.equal(['appended', 'replayed', 'replayed'])
    const { rows } = await sql.query('select version::int from streams where stream_id = $1', [
      taskStreamId(id),
    ])
    expect(rows).to.deep.equal([{ version: 1 }])
  })

  const holders = {
    stream: (id: number) => `select pg_advisory_xact_lock(stream_lock('${taskStreamId(id)}'))`,
    owner: () => 'select pg_advisory_xact_lock(owner_lock(9))',
  }
  for (const [what, hold] of Object.entries(holders)) {
    it(`do not wait with one whose ${what} another transaction holds`, async () => {
      const held = ownedBy(9, fresh())
      const other = new pg.Client(test.url)
      await other.connect()
      try {
        await other.query('begin')
        await other.query(hold(lastId))
        let isDone = false
        // While this one is under way, the others come together.
        const first = outcome(fresh())
        const waiting = outcome(held).finally(() => {
          isDone = true
        })
        const others = await together(Array.from({ length: 5 }, fresh))
        expect(new Set([await first, ...others])).to.deep.equal(new Set(['appended']))
        expect(isDone).to.equal(false)
        await other.query('commit')
        expect(await waiting).to.equal('appended')
      } finally {
        await other.end()
      }
    })
  }

  it('continue streams that others began, with the chain unbroken', async () => {
    const ids = Array.from({ length: 8 }, newId)
    await together(ids.map((id) => append(id, [created()])))
    const changes = await Promise.all(
      ids.map(async (id, n) => {
        const { version, head_hash } = await store.present(taskStreamId(id), 1)
        const events = Array.from({ length: 1 + (n % 3) }, (_, m) => renamed(`Name ${m}`))
        return append(id, events, { expected: { version, head_hash } })
      }),
    )
    const outcomes = await together([...changes, append(newId(), [created()], { expected: NEW })])
    expect(new Set(outcomes)).to.deep.equal(new Set(['appended']))
    expect(await written(changes)).not.to.include(false)
  })
})
