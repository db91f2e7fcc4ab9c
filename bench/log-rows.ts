import { secretLogSigner } from '../src/infra/credentials/note-signers.ts'
import { singleConnection, transaction } from '../src/infra/postgres/connection/database.ts'
import type { Query } from '../src/infra/postgres/projections/projection.ts'
import { LOG_SESSION, logWriter } from '../src/infra/postgres/transparency-log/log-writer.ts'
import { storedTree } from '../src/infra/postgres/transparency-log/stored-tree.ts'
import { checkpointText } from '../src/transparency-log/checkpoint.ts'
import { writeNote } from '../src/transparency-log/signed-note.ts'
import { leafHash, sha256 } from '../src/transparency-log/tree.ts'
import { eventEntry } from '../src/verifier/entries.ts'
import { cpuOf } from './compare/usage.ts'

export const ORIGIN = 'bench.example/log'
export const signer = secretLogSigner(ORIGIN, 'a secret of nothing but these figures')

/** The verifier key of the logs that are written here. */
export const VERIFIER_KEY = signer.key.text

/** A session of the worker. */
export async function session(connectionString: string) {
  const client = singleConnection({ connectionString, options: LOG_SESSION }, 'tasktrail_worker')
  await client.connect()
  const query: Query = async (statement, values) =>
    (await client.query({ ...statement, values: [...values] })).rows
  return {
    query,
    transaction: <T>(work: () => Promise<T>) => transaction(client, work),
    backend: Number((await client.query('select pg_backend_pid() as pid')).rows[0].pid),
    close: () => client.end(),
  }
}

/** Seconds, also those of CPU: of this process, and of PostgreSQL's for this session. */
export type Caught = {
  readonly events: number
  readonly seconds: number
  readonly cpu: { readonly own: number; readonly database: number }
}

/** Lets the log's writer add all that there is, as the worker does. */
export async function logAll(url: string): Promise<Caught> {
  const writer = logWriter({ origin: ORIGIN, signers: [signer], witnessed: false })
  const own = await session(url)
  const [began, before] = [performance.now(), cpuOf(own.backend)]
  const usage = process.cpuUsage()
  let events = 0
  for (;;) {
    const logged = await writer.write(own)
    if (logged === null) break
    events += logged.events
  }
  const seconds = (performance.now() - began) / 1_000
  const { user, system } = process.cpuUsage(usage)
  const cpu = { own: (user + system) / 1e6, database: cpuOf(own.backend) - before }
  await own.close()
  return { events, seconds, cpu }
}

const LEAVES_AT_ONCE = 1_000 * 256

const EVENTS = {
  name: 'events_to_log',
  text: `
    select position, stream_id, version, encode(hash, 'hex') as hash from events
    where position > $1 and position <= $2 order by position`,
}
const SIGN = {
  name: 'sign_and_publish',
  text: `
    update log_checkpoint set size = $1, root = $2, position = $1, note = $3, verifier_keys = $4,
      published_size = $1, published_position = $1, published_note = $3`,
}

type Event = Parameters<typeof eventEntry>[0]

/**
 * Writes a log with a leaf for each position up to `leaves`, where most of the events do not exist: of those
 * that do, the leaves are right. Much faster than the writer.
 */
export async function logStandIns(url: string, leaves: number): Promise<void> {
  const { query, transaction, close } = await session(url)
  let root: Buffer = Buffer.alloc(0)
  for (let size = 0; size < leaves; size += LEAVES_AT_ONCE) {
    const end = Math.min(leaves, size + LEAVES_AT_ONCE)
    const rows = await query<Event>(EVENTS, [size, end])
    const events = new Map(rows.map((event) => [event.position, event]))
    await transaction(async () => {
      const tree = await storedTree(query, size)
      for (let position = size + 1; position <= end; position++) {
        const event = events.get(position)
        const { stream_id, version } = event ?? { stream_id: 'task-1', version: 1 }
        const hash = event ? leafHash(eventEntry(event)) : sha256(String(position))
        tree.add({ hash, place: [position, stream_id, version] })
      }
      await tree.write(query)
      root = tree.root()
    })
  }
  const text = checkpointText({ origin: ORIGIN, size: leaves, root })
  const note = writeNote(text, [await signer.sign(text)])
  await query(SIGN, [leaves, root, note, `${VERIFIER_KEY}\n`])
  await close()
}
