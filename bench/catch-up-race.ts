import { randomUUID } from 'node:crypto'
import { rawSql, type SQL, sql } from '@event-driven-io/dumbo'
import {
  getPostgreSQLEventStore,
  postgreSQLEventStoreConsumer,
  postgreSQLRawBatchSQLProjection,
} from '@event-driven-io/emmett-postgresql'
import pg from 'pg'
import { auditProjection } from '../src/infra/postgres/audit/audit-projection.ts'
import { openDatabase } from '../src/infra/postgres/connection/database.ts'
import { migrations } from '../src/infra/postgres/connection/migrations.ts'
import { projector } from '../src/infra/postgres/projections/projector.ts'

const BATCH = 2_000
// Emmett's consumer scans the whole log for each batch: with more it would only be slower.
const EMMETT_MOST = 50_000

/** Events per second, one figure a round. */
export type Rates = { readonly ours: readonly number[]; readonly emmetts: readonly number[] }

export type Race = {
  /** An empty database, as the superuser. */
  readonly connectionString: string
  readonly events: number
  readonly rounds: number
  readonly onRound?: (round: number, ours: number, emmetts: number) => void
}

const log = { info: () => {}, warn: console.warn, error: console.error }

// Streams of six events, about fifty of them interleaved; texts as long as encrypted ones.
const FILL = `
  insert into events (stream_id, version, event_id, type, schema_version, data, actor_id, metadata,
      occurred_at, prev_hash, hash)
    select 'task-' || task, version, gen_random_uuid(),
      (array['TaskCreated', 'TaskRenamed', 'TaskStarted', 'TaskReprioritized', 'TaskDescribed',
        'TaskCompleted'])[version], 1,
      case version
        when 1 then jsonb_build_object('user_id', task % 1000 + 1, 'title', title, 'description',
          description, 'status', 'pending', 'priority', 'medium', 'due_date', null)
        when 2 then jsonb_build_object('title', title)
        when 3 then '{"status": "in_progress"}'
        when 4 then '{"priority": "high"}'
        when 5 then jsonb_build_object('description', description)
        when 6 then '{"status": "completed"}'
      end,
      task % 1000 + 1,
      jsonb_build_object('request_id', request_id, 'correlation_id', request_id, 'causation_id',
        request_id, 'session_id', gen_random_uuid(), 'ip', '192.0.2.7'),
      clock_timestamp(), sha256(task::text::bytea), sha256((task * 10 + version)::text::bytea)
    from generate_series(1, ceil($1 / 6.0)::bigint) task, generate_series(1, 6) version,
      lateral (select gen_random_uuid() as request_id,
        jsonb_build_object('user', task % 1000 + 1, 'cipher', repeat(md5(task::text), 3)) as title,
        jsonb_build_object('user', task % 1000 + 1, 'cipher', repeat(md5(version::text), 8))
          as description) texts
    order by task + version * 10, version limit $1`

const FILL_EMMETT = `
  insert into emt_messages (stream_position, transaction_id, stream_id, partition,
      message_schema_version, message_id, message_type, message_data, message_metadata)
    select version, pg_current_xact_id(), stream_id, 'emt:default', '1', event_id::text, type, data,
      metadata || jsonb_build_object('actor_id', actor_id, 'occurred_at', occurred_at)
    from events order by position limit $1`

/**
 * How fast the audit projection catches up with a log, next to Emmett's consumer. Both begin at the first of
 * the same events, and write a row per event into tables with the same indexes.
 */
export async function raceToCatchUp(race: Race): Promise<Rates> {
  const { connectionString, events, rounds, onRound } = race
  const client = new pg.Client({ connectionString })
  await client.connect()
  try {
    await prepare(client, race)
    const rates = { ours: [] as number[], emmetts: [] as number[] }
    for (let round = 1; round <= rounds; round++) {
      await client.query('truncate audit_events, audit_facts, emmett_audit')
      await client.query("update projections set position = 0 where name = 'audit'")
      const [own, other] = [await ours(race), await emmetts(race)]
      rates.ours.push(own)
      rates.emmetts.push(other)
      const { rows } = await client.query(`
        select (select count(*) from audit_events)::int as ours,
          (select count(*) from emmett_audit)::int as emmetts`)
      const [written] = rows
      if (written.ours !== events || written.emmetts !== Math.min(events, EMMETT_MOST))
        throw new Error(JSON.stringify(written))
      onRound?.(round, own, other)
    }
    return rates
  } finally {
    await client.end()
  }
}

async function prepare(client: pg.Client, race: Race): Promise<void> {
  const { connectionString, events } = race
  const schema = migrations({ connection: { connectionString }, poolMax: 1 })
  await schema.latest().finally(schema.close)
  const store = getPostgreSQLEventStore(connectionString)
  await store.schema.migrate()
  await store.close()
  await client.query(FILL, [events])
  await client.query(FILL_EMMETT, [Math.min(events, EMMETT_MOST)])
  await client.query('create table emmett_audit (like audit_events including all)')
  await client.query('vacuum analyze')
}

/** Runs the audit projection until it has these many events. Events per second. */
export async function ours({
  connectionString,
  events: all,
}: Pick<Race, 'connectionString' | 'events'>): Promise<number> {
  const connection = { connectionString }
  const db = openDatabase({ connection, poolMax: 2, role: 'tasktrail_worker', log })
  let [count, first, last] = [0, 0, 0]
  await new Promise<void>((resolve) => {
    const began = performance.now()
    const running = projector({
      projection: auditProjection(),
      connection,
      role: 'tasktrail_worker',
      db,
      wake: { subscribe: () => () => {} },
      log,
      batchSize: BATCH,
      onBatch: (events) => {
        first ||= began
        last = performance.now()
        count += events.length
        if (count >= all) resolve(running.close())
      },
    })
  })
  await db.close()
  return count / ((last - first) / 1_000)
}

type Message = {
  readonly type: string
  readonly data: Record<string, unknown>
  readonly metadata: Record<string, string | number | bigint>
}

/** One statement per batch, as fast as its interface allows. */
function insertMessages(messages: readonly Message[]): SQL[] {
  const rows = messages.map(({ type, data, metadata }) => ({
    position: Number(metadata.globalPosition),
    task_id: Number(String(metadata.streamName).slice('task-'.length)),
    user_id: metadata.actor_id,
    version: Number(metadata.streamPosition),
    type,
    actor_id: metadata.actor_id,
    occurred_at: metadata.occurred_at,
    recorded_at: metadata.occurred_at,
    request_id: metadata.request_id,
    changes: data,
    hash: '\\x00',
  }))
  const insert =
    'insert into emmett_audit select * from jsonb_populate_recordset(null::audit_events, %L)'
  return [sql(insert, JSON.stringify(rows))]
}

async function emmetts({ connectionString, events }: Race): Promise<number> {
  const consumer = postgreSQLEventStoreConsumer({
    connectionString,
    stopWhen: { noMessagesLeft: true },
    pulling: { batchSize: BATCH },
  })
  consumer.projector({
    processorId: `audit-${randomUUID()}`,
    projection: postgreSQLRawBatchSQLProjection({
      name: `audit-${randomUUID()}`,
      canHandle: [
        'TaskCreated',
        'TaskRenamed',
        'TaskStarted',
        'TaskReprioritized',
        'TaskDescribed',
        'TaskCompleted',
      ],
      evolve: insertMessages,
      init: () => rawSql('select 1'),
    }),
  })
  const began = performance.now()
  await consumer.start()
  const seconds = (performance.now() - began) / 1_000
  await consumer.close()
  return Math.min(events, EMMETT_MOST) / seconds
}
