import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import type { UserKeys } from '../../../encryption/user-keys.ts'
import type { DatabaseConfig } from '../../connection/database.ts'
import { type Database, isFaultOfRows } from '../../connection/database.ts'
import type { TimedEvent } from '../../tasks/task-rows-projection.ts'
import type { Drift } from '../drift/drift.ts'
import { BadEvent, type Query, type Write } from '../projection.ts'

export const REBUILDABLE = ['tasks', 'audit'] as const
export type Rebuildable = (typeof REBUILDABLE)[number]

export type Progress =
  | {
      readonly step: 'folding'
      readonly position: number
      readonly end: number
      readonly perSecond: number
    }
  | { readonly step: 'indexing' | 'comparing' | 'swapping' }

export type RebuildOptions = {
  readonly name: Rebuildable
  /** Of the owner of the tables. */
  readonly connection: DatabaseConfig['connection']
  readonly db: Database
  readonly keys: UserKeys
  readonly signal?: AbortSignal
  /** Awaited, except while writers wait. */
  readonly onProgress?: (progress: Progress) => unknown
  readonly batchSize?: number
  /** How long to pause after a batch, as a multiple of its duration. */
  readonly rest?: number
}

/** What differs between projections in a rebuild. */
export type Plan = {
  readonly tables: readonly string[]
  /** What a batch of events writes into the shadow tables. */
  readonly project: (events: readonly TimedEvent[], read: Query) => Promise<readonly Write[]>
  /** Whether a bad event parks its stream; otherwise it ends the rebuild. */
  readonly parks: boolean
  /** Compares both tables, while the old one is still being written. */
  readonly compare: (run: Run) => Promise<void>
  /** In a transaction, after which nothing may be missing; false if too much is left to do. */
  readonly finish: (run: Run, lock: () => Promise<void>) => Promise<boolean>
}

/** A rebuild in progress. */
export type Run = {
  readonly options: RebuildOptions
  readonly plan: Plan
  readonly sql: pg.Client
  readonly query: Query
  readonly shadow: string
  position: number
  events: number
  readonly parked: Set<string>
  differences: number
  readonly first: Drift[]
}

/** How much may be left to do while others wait. */
export const LEFT_AT_MOST = 200
const FIRST = 10

export const READ = {
  name: 'read_to_rebuild',
  text: `
    select position, stream_id, version, type, schema_version, data, occurred_at from events
    where position > $1 and position <= $2 order by position limit $3`,
}
const MOVE = {
  name: 'move_rebuild',
  text: `update projections set position = $2, updated_at = clock_timestamp() where name = $1`,
}

/**
 * In a transaction: writes the rows of the events, and the position reached. Error: `BadEvent`, which names
 * the first of the events, whichever one is bad.
 */
export async function take(
  run: Run,
  events: readonly TimedEvent[],
  position: number,
): Promise<void> {
  const wanted = events.filter(({ stream_id }) => !run.parked.has(stream_id))
  const [first] = wanted
  if (first !== undefined) {
    const writes = await run.plan.project(wanted, run.query)
    for (const { statement, values } of writes) {
      await run.query(statement, values).catch((error: unknown) => {
        throw isFaultOfRows(error) ? new BadEvent(first, error) : error
      })
    }
  }
  await run.query(MOVE, [run.shadow, position])
  run.position = position
  run.events += events.length
}

export function note(run: Run, drifts: readonly Drift[]): void {
  run.differences += drifts.length
  run.first.push(...drifts.slice(0, FIRST - run.first.length))
}

export const restAfter = async (
  { options: { rest = 2, signal } }: Run,
  began: number,
): Promise<void> => {
  signal?.throwIfAborted()
  await sleep((performance.now() - began) * rest)
}
