import type { DatabaseConfig } from '../connection/database.ts'
import { singleConnection, transaction } from '../connection/database.ts'
import type { LogEvent, Projection, Query } from './projection.ts'

// A change of a projection's row makes its leader look again: see projector.ts.
const SET_STATE = {
  name: 'set_projection_state',
  text: `
    update projections set state = $2, updated_at = clock_timestamp()
    where name = $1 and state = $3`,
}
const TOUCH = {
  name: 'touch_projection',
  text: 'update projections set updated_at = clock_timestamp() where name = $1 returning position, state',
}
const PARK = {
  name: 'park_stream_by_hand',
  text: `
    insert into parked_streams (projection, stream_id, position, version, error)
      select $1, $2, $3, (
        select coalesce(max(version), 0) + 1 from events where stream_id = $2 and position <= $3), $4
      from streams where stream_id = $2
      on conflict do nothing returning version`,
}
const FIND_STREAM = {
  name: 'find_stream',
  text: 'select from streams where stream_id = $1',
}
const UNPARK = {
  name: 'unpark_stream',
  text: 'delete from parked_streams where projection = $1 and stream_id = $2',
}
const FIND_PARKED = {
  name: 'find_parked_stream',
  text: `
    select version, (select position from projections where name = $1) as checkpoint
    from parked_streams where projection = $1 and stream_id = $2 for update`,
}
const MOVE_PARKED = {
  name: 'move_parked_stream',
  text: `
    update parked_streams set version = $3, position = $4
    where projection = $1 and stream_id = $2`,
}
const MISSED = {
  name: 'missed_events',
  text: `
    select position, stream_id, version, type, schema_version, data from events
    where stream_id = $1 and version >= $2 and position <= $3 order by version limit $4`,
}

/** A resume processes this many events per transaction. */
const STEP = 500

/** Pauses a projection, or one stream of it; returns a sentence that says so. */
export async function park(
  config: Pick<DatabaseConfig, 'connection'>,
  { name }: Projection,
  stream_id?: string,
): Promise<string> {
  return connected(config, (inTransaction) =>
    inTransaction(async (query) => {
      const { position, state } = await touch(query, name)
      if (stream_id === undefined) {
        if (state !== 'live') throw new Error(`The projection ${name} is ${state}, not live.`)
        await query(SET_STATE, [name, 'parked', 'live'])
        return `The projection ${name} is parked at position ${position}.`
      }
      const values = [name, stream_id, position, 'parked by an operator']
      const [parked] = await query<{ version: number }>(PARK, values)
      if (parked === undefined) {
        const [known] = await query(FIND_STREAM, [stream_id])
        if (known === undefined) throw new Error(`There is no stream "${stream_id}".`)
        throw new Error(`${stream_id} is already parked for ${name}.`)
      }
      return `${stream_id} is parked for ${name} from version ${parked.version} on.`
    }),
  )
}

/** Resumes a projection, or brings a parked stream up to date; returns a sentence that says so. */
export async function resume(
  config: Pick<DatabaseConfig, 'connection'>,
  projection: Projection,
  stream_id?: string,
): Promise<string> {
  const { name } = projection
  return connected(config, async (inTransaction) => {
    if (stream_id !== undefined) return resumeStream(inTransaction, projection, stream_id)
    return inTransaction(async (query) => {
      const { position, state } = await touch(query, name)
      if (state !== 'parked') throw new Error(`The projection ${name} is ${state}, not parked.`)
      await query(SET_STATE, [name, 'live', 'parked'])
      return `The projection ${name} resumes at position ${position}.`
    })
  })
}

/**
 * Step by step, each in a transaction, while the worker continues. The stream stays parked until the last
 * step, which alone holds the checkpoint.
 */
async function resumeStream(
  inTransaction: InTransaction,
  projection: Projection,
  stream_id: string,
): Promise<string> {
  const { name } = projection
  let made = 0
  const step = async (query: Query) => {
    const events = await makeUpFor(query, projection, stream_id)
    made += events
    return events === STEP
  }
  let more = true
  while (more) more = await inTransaction(step)
  return inTransaction(async (query) => {
    // First, like everyone who changes both rows; from here on the checkpoint does not move.
    const { position } = await touch(query, name)
    more = true
    while (more) more = await step(query)
    await query(UNPARK, [name, stream_id])
    const many = made === 1 ? '1 event' : `${made} events`
    return `${stream_id} is resumed in ${name}: ${many} processed, up to position ${position}.`
  })
}

/** Processes the next events that a parked stream has missed; returns how many. */
async function makeUpFor(query: Query, projection: Projection, stream_id: string): Promise<number> {
  const { name } = projection
  const found = await query<{ version: number; checkpoint: number }>(FIND_PARKED, [name, stream_id])
  const [parked] = found
  if (parked === undefined) throw new Error(`${name} has no parked stream "${stream_id}".`)
  const values = [stream_id, parked.version, parked.checkpoint, STEP]
  const events = await query<LogEvent>(MISSED, values)
  const last = events.at(-1)
  if (last === undefined) return 0
  const writes = await projection.begin(query).project(events)
  for (const { statement, values } of writes) await query(statement, values)
  await query(MOVE_PARKED, [name, stream_id, last.version + 1, last.position + 1])
  return events.length
}

async function touch(query: Query, name: string) {
  const [row] = await query<{ position: number; state: string }>(TOUCH, [name])
  if (row === undefined) throw new Error(`There is no projection ${name} in the database.`)
  return row
}

type InTransaction = <T>(work: (query: Query) => Promise<T>) => Promise<T>

async function connected<T>(
  { connection }: Pick<DatabaseConfig, 'connection'>,
  work: (inTransaction: InTransaction) => Promise<T>,
): Promise<T> {
  const client = singleConnection(
    {
      ...connection,
      application_name: 'projections',
      connectionTimeoutMillis: 5_000,
      lock_timeout: 30_000,
      // It holds the row that the worker's batches update: if it hangs, they continue without it.
      idle_in_transaction_session_timeout: 10_000,
      keepAlive: true,
    },
    'tasktrail_worker',
  )
  // The connection may be lost; the statement then fails and reports it.
  client.on('error', () => {})
  await client.connect()
  try {
    const query: Query = async ({ text }, values) => (await client.query(text, [...values])).rows
    return await work((inside) => transaction(client, () => inside(query)))
  } finally {
    await client.end()
  }
}
