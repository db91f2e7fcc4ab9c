import fc from 'fast-check'
import type pg from 'pg'
import { AUDIT_EVENT_TYPES } from '../../src/app/audit-types.ts'
import type { AuditEventType, AuditQuery } from '../../src/app/ports/audit.ts'

export type Row = {
  readonly position: number
  readonly task_id: number | null
  readonly user_id: number
  readonly actor_id: number
  readonly type: AuditEventType
  readonly recorded_at: string
  readonly request_id: string
}

const BEGAN = Date.parse('2026-01-01T00:00:00.000Z')
const SECOND = 1_000
/** Seconds that a history of `rows` takes. */
const SPAN = 300

const user = fc.integer({ min: 1, max: 4 })

/** Few users, tasks and requests, so that conditions meet; a clock that is up to 4 s off. */
const row = fc.record({
  gap: fc.integer({ min: 1, max: 3 }),
  task_id: fc.option(fc.integer({ min: 1, max: 5 }), { freq: 8 }),
  user_id: user,
  actor: fc.option(user, { freq: 2 }),
  type: fc.constantFrom(...AUDIT_EVENT_TYPES),
  seconds: fc.integer({ min: 0, max: SPAN }),
  off: fc.integer({ min: -4_000, max: 4_000 }),
  request: fc.integer({ min: 1, max: 6 }),
})

/** Rows in the order of their positions, which have gaps; times rise with them, nearly. */
export const arbitraryRows = (maxLength: number): fc.Arbitrary<readonly Row[]> =>
  fc.array(row, { maxLength, size: 'max' }).map((rows) => {
    const times = rows.map(({ seconds }) => seconds).sort((a, b) => a - b)
    let position = 0
    return rows.map(({ gap, task_id, user_id, actor, type, off, request }, index): Row => {
      position += gap
      return {
        position,
        task_id,
        user_id,
        actor_id: actor ?? user_id,
        type,
        recorded_at: new Date(BEGAN + (times[index] ?? 0) * SECOND + off).toISOString(),
        request_id: `request-${request}`,
      }
    })
  })

const moment = fc
  .integer({ min: -5_000, max: SPAN * SECOND + 5_000 })
  .map((ms) => new Date(BEGAN + ms).toISOString())
const maybe = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined, freq: 2 })

export const arbitraryQuery: fc.Arbitrary<AuditQuery> = fc.record({
  user_id: fc.option(user, { freq: 2 }),
  actor_id: maybe(user),
  task_id: fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined, freq: 1 }),
  type: maybe(fc.subarray([...AUDIT_EVENT_TYPES], { minLength: 1 })),
  from: maybe(moment),
  to: maybe(moment),
  request_id: fc.option(
    fc.integer({ min: 1, max: 6 }).map((n) => `request-${n}`),
    { nil: undefined, freq: 1 },
  ),
})

/** What a query means. */
export const isWanted =
  ({ user_id, actor_id, task_id, type, from, to, request_id }: AuditQuery) =>
  (row: Row): boolean =>
    (user_id === null || row.user_id === user_id) &&
    (actor_id === undefined || row.actor_id === actor_id) &&
    (task_id === undefined || row.task_id === task_id) &&
    (type === undefined || type.includes(row.type)) &&
    (from === undefined || row.recorded_at >= from) &&
    (to === undefined || row.recorded_at < to) &&
    (request_id === undefined || row.request_id === request_id)

/** Adds rows past the projection, for queries that must only find them. */
export async function insertRows(sql: pg.Client, rows: readonly Row[]): Promise<void> {
  const whole = rows.map((row) => ({
    ...row,
    version: 1,
    occurred_at: row.recorded_at,
    changes: {},
    hash: '\\x00',
  }))
  await sql.query(
    'insert into audit_events select * from jsonb_populate_recordset(null::audit_events, $1)',
    [JSON.stringify(whole)],
  )
  await sql.query(`update projections set position = $1 where name = 'audit'`, [
    rows.at(-1)?.position ?? 0,
  ])
}
