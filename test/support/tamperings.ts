import type pg from 'pg'
import { eventHash, type TrailEvent } from '../../src/verifier/formats.ts'
import type { SealedLog } from './sealed-log.ts'

/** A number from 0 on below `limit`. */
export type Random = (limit: number) => number

/** The same numbers for the same seed (mulberry32). */
export function randomFrom(seed: number): Random {
  let state = seed
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((((mixed ^ (mixed >>> 14)) >>> 0) * limit) / 2 ** 32) | 0
  }
}

type Row = Omit<TrailEvent, 'recorded_at'>

type Scene = {
  readonly sql: pg.Client
  readonly random: Random
  /** Up to here the log is sealed. */
  readonly sealed: number
}

/** Changes something, as the superuser; false when there was nothing of the kind to change. */
type Tampering = (scene: Scene) => Promise<boolean | undefined>

const ROWS = `
  select position, stream_id, version, event_id, type, schema_version, data, actor_id, metadata,
    occurred_at, encode(prev_hash, 'hex') as prev_hash, encode(hash, 'hex') as hash
  from events where position between $1 and $2 order by position`

const rowsOf = async ({ sql }: Scene, from = 0, to = 2 ** 52): Promise<Row[]> =>
  (await sql.query(ROWS, [from, to])).rows

const oneOf = <T>(random: Random, values: readonly T[]): T => {
  const value = values[random(values.length)]
  if (value === undefined) throw new Error('nothing to choose from')
  return value
}

const streamOf = async (scene: Scene, atLeast = 1): Promise<Row[]> => {
  const rows = await rowsOf(scene, 0, scene.sealed)
  const streams = [...Map.groupBy(rows, ({ stream_id }) => stream_id).values()]
  return oneOf(
    scene.random,
    streams.filter(({ length }) => length >= atLeast),
  )
}

/** Two different ones, the earlier first. */
function twoOf<T>(random: Random, values: readonly T[]): [T, T] {
  const first = random(values.length - 1)
  const second = first + 1 + random(values.length - first - 1)
  return [values[first] as T, values[second] as T]
}

const MOVED = 'update events set stream_id = $2, version = $3 where position = $1'
const move = async (sql: pg.Client, position: number, stream_id: string, version: number) => {
  await sql.query(MOVED, [position, stream_id, version])
}

async function swapPlaces(sql: pg.Client, one: Row, other: Row): Promise<void> {
  await move(sql, one.position, 'aside', 1)
  await move(sql, other.position, one.stream_id, one.version)
  await move(sql, one.position, other.stream_id, other.version)
}

async function swapPositions(sql: pg.Client, one: Row, other: Row): Promise<void> {
  const set = 'update events set position = $2 where position = $1'
  await sql.query(set, [one.position, -1])
  await sql.query(set, [other.position, one.position])
  await sql.query(set, [-1, other.position])
}

/** The stream's row, and hashes from a version on, as if it had always been so. */
export async function rechain(sql: pg.Client, stream_id: string, from: number): Promise<void> {
  const { rows } = await sql.query(
    `${ROWS.replace('position between $1 and $2', 'stream_id = $1').replace(
      'order by position',
      'order by version',
    )}`,
    [stream_id],
  )
  let previous: string | null = null
  for (const row of rows as Row[]) {
    const hash: string = row.version < from ? row.hash : eventHash({ ...row, prev_hash: previous })
    await sql.query(
      `update events set prev_hash = decode($2, 'hex'), hash = decode($3, 'hex')
       where position = $1`,
      [row.position, previous, hash],
    )
    previous = hash
  }
  await fixHead(sql, stream_id)
}

async function fixHead(sql: pg.Client, stream_id: string): Promise<void> {
  await sql.query(
    `update streams set version = e.version, head_hash = e.hash
     from (select version, hash from events where stream_id = $1 order by version desc limit 1) e
     where streams.stream_id = $1`,
    [stream_id],
  )
  await sql.query(
    `delete from streams where stream_id = $1
     and not exists (select from events where stream_id = $1)`,
    [stream_id],
  )
}

/** What an event's own hash covers, so that it shows also before it is sealed. */
const CHANGES: readonly string[] = [
  `event_id = gen_random_uuid()`,
  `type = case type when 'TaskRenamed' then 'TaskDescribed' else 'TaskRenamed' end`,
  `type = type || ' '`,
  `schema_version = schema_version + 1`,
  `actor_id = actor_id + 1`,
  `actor_id = -actor_id`,
  `data = data || '{"status": "completed"}'`,
  `data = data || '{"note": "x"}'`,
  `data = jsonb_set(data, '{user_id}', '1.00000000000000000001')`,
  `data = data - 'title' - 'due_date'`,
  `data = jsonb_set(data, '{title}', '"in the clear"')`,
  `data = jsonb_set(data, '{title,user}', '2')`,
  `data = jsonb_set(data, '{title,user}', '1.0')`,
  `data = jsonb_set(data, '{title,cipher}', to_jsonb('A' || substr(data#>>'{title,cipher}', 2)))`,
  `data = jsonb_set(data, '{title,cipher}', to_jsonb(reverse(data#>>'{title,cipher}')))`,
  `data = '{}'`,
  `metadata = metadata || '{"request_id": "another"}'`,
  `metadata = metadata || '{"ip": "10.0.0.1"}'`,
  `metadata = metadata - 'session_id'`,
  `metadata = metadata || '{"note": null}'`,
  `occurred_at = occurred_at + interval '1 millisecond'`,
  `occurred_at = occurred_at + interval '1 microsecond'`,
  `occurred_at = 'infinity'`,
  `occurred_at = '0044-03-15 BC'`,
  `prev_hash = hash`,
  `prev_hash = null`,
  `hash = sha256(hash)`,
  `hash = ''`,
  `version = version + 1000`,
  `stream_id = stream_id || '00'`,
]

/** What only a seal tells. */
const SEALED_CHANGES: readonly string[] = [`position = position + 1000000`, `position = -position`]

const change =
  (set: string, isSealed: boolean): Tampering =>
  async (scene) => {
    const { sql, random, sealed } = scene
    const { position } = oneOf(random, await rowsOf(scene, 0, isSealed ? sealed : undefined))
    await sql.query(`update events set ${set} where position = $1`, [position])
    return true
  }

const STREAM_CHANGES: readonly string[] = [
  `update streams set version = version + 1`,
  `update streams set version = version - 1`,
  `update streams set head_hash = sha256(head_hash)`,
  `update streams set stream_type = 'user'`,
  `update streams set stream_id = stream_id || '00'`,
  `delete from streams`,
]

/** The same of a row of streams. */
const changeHead =
  (statement: string): Tampering =>
  async ({ sql, random }) => {
    const { rows } = await sql.query('select stream_id from streams where version > 1')
    const { stream_id } = oneOf(random, rows)
    await sql.query(`${statement} where stream_id = $1`, [stream_id])
    return true
  }

/** One thing of one row changed, by what changes it. */
export const ROW_TAMPERINGS: Readonly<Record<string, Tampering>> = Object.fromEntries([
  ...CHANGES.map((set) => [set, change(set, false)]),
  ...SEALED_CHANGES.map((set) => [set, change(set, true)]),
  ...STREAM_CHANGES.map((statement) => [statement, changeHead(statement)]),
])

/** Deleting, cutting off, putting in, exchanging, hashing anew. */
export const TAMPERINGS: Readonly<Record<string, Tampering>> = {
  'a deleted event': async (scene) => {
    const { position } = oneOf(scene.random, await rowsOf(scene))
    await scene.sql.query('delete from events where position = $1', [position])
    return true
  },

  'a deleted event, the head rewritten': async (scene) => {
    const { position, stream_id } = oneOf(scene.random, await rowsOf(scene, 0, scene.sealed))
    await scene.sql.query('delete from events where position = $1', [position])
    await fixHead(scene.sql, stream_id)
    return true
  },

  'a deleted stream': async (scene) => {
    const [{ stream_id } = { stream_id: '' }] = await streamOf(scene)
    await scene.sql.query('delete from events where stream_id = $1', [stream_id])
    await scene.sql.query('delete from streams where stream_id = $1', [stream_id])
    return true
  },

  'two versions of a stream exchanged': async (scene) => {
    const [one, other] = twoOf(scene.random, await streamOf(scene, 2))
    await swapPlaces(scene.sql, one, other)
    return true
  },

  'two positions of a stream exchanged': async (scene) => {
    const [one, other] = twoOf(scene.random, await streamOf(scene, 2))
    await swapPositions(scene.sql, one, other)
    return true
  },

  'two positions in the log exchanged': async (scene) => {
    const [one, other] = twoOf(scene.random, await rowsOf(scene, 0, scene.sealed))
    await swapPositions(scene.sql, one, other)
    return true
  },

  'two events exchanged between streams': async (scene) => {
    const [one, other] = twoOf(scene.random, await rowsOf(scene, 0, scene.sealed))
    if (one.stream_id === other.stream_id) return false
    await swapPlaces(scene.sql, one, other)
    return true
  },

  'two events exchanged between streams, both hashed anew': async (scene) => {
    const [one, other] = twoOf(scene.random, await rowsOf(scene, 0, scene.sealed))
    if (one.stream_id === other.stream_id) return false
    await swapPlaces(scene.sql, one, other)
    await rechain(scene.sql, one.stream_id, one.version)
    await rechain(scene.sql, other.stream_id, other.version)
    return true
  },

  'an end cut off': async (scene) => {
    const rows = await streamOf(scene)
    const from = oneOf(scene.random, rows)
    await scene.sql.query('delete from events where stream_id = $1 and version >= $2', [
      from.stream_id,
      from.version,
    ])
    return true
  },

  'an end cut off, the head rewritten': async (scene) => {
    const from = oneOf(scene.random, await streamOf(scene))
    await scene.sql.query('delete from events where stream_id = $1 and version >= $2', [
      from.stream_id,
      from.version,
    ])
    await fixHead(scene.sql, from.stream_id)
    return true
  },

  'the end of the log cut off, all heads rewritten': async (scene) => {
    const { position } = oneOf(scene.random, await rowsOf(scene, 0, scene.sealed))
    const gone = await scene.sql.query(
      'delete from events where position >= $1 returning stream_id',
      [position],
    )
    for (const { stream_id } of gone.rows) await fixHead(scene.sql, stream_id)
    return true
  },

  'a stream hashed anew from a changed event on': async (scene) => {
    const { sql, random, sealed } = scene
    const { position, stream_id, version } = oneOf(random, await rowsOf(scene, 0, sealed))
    const hashed = CHANGES.slice(0, 20)
    await sql.query(`update events set ${oneOf(random, hashed)} where position = $1`, [position])
    await rechain(sql, stream_id, version)
    return true
  },

  'an event put in, all that follows hashed anew': async (scene) => {
    const { sql, random, sealed } = scene
    const { stream_id, version } = oneOf(random, await rowsOf(scene, 0, sealed))
    const taken = new Set((await rowsOf(scene)).map(({ position }) => position))
    const free = Array.from({ length: sealed }, (_, index) => index + 1)
    const at = oneOf(
      random,
      free.filter((position) => !taken.has(position)),
    )
    await sql.query(
      `update events set version = -version - 1 where stream_id = $1 and version >= $2`,
      [stream_id, version],
    )
    await sql.query('update events set version = -version where stream_id = $1 and version < 0', [
      stream_id,
    ])
    await sql.query(
      `insert into events (position, stream_id, version, event_id, type, schema_version, data,
          actor_id, metadata, occurred_at, hash)
        values ($1, $2, $3, gen_random_uuid(), 'TaskCompleted', 1, '{"status": "completed"}', 1,
          '{"request_id": "x"}', now(), sha256(''))`,
      [at, stream_id, version],
    )
    await rechain(sql, stream_id, version)
    return true
  },
}

const SEAL_CHANGES: readonly string[] = [
  `position = position + 1`,
  `events = events + 1`,
  `events_digest = sha256(events_digest)`,
  `events_marks = set_byte(events_marks, 5, get_byte(events_marks, 5) # 1)`,
  `events_marks = set_byte(events_marks, 7, get_byte(events_marks, 7) # 1)`,
  `events_marks = set_byte(events_marks, 13, get_byte(events_marks, 13) # 1)`,
  `events_marks = set_byte(events_marks, 60, get_byte(events_marks, 60) # 1)`,
  `events_marks = substr(events_marks, 47)`,
  `heads = heads - 0`,
  `heads = jsonb_set(heads, '{0,1}', '1000')`,
  `heads = jsonb_set(heads, '{0,1}', '"1000"')`,
  `heads = '{}'`,
  `heads = 'null'`,
  `heads = '[1]'`,
  `heads_digest = sha256(heads_digest)`,
  `sealed_at = sealed_at - interval '1 hour'`,
  `sealed_at = sealed_at + interval '1 microsecond'`,
  `previous = sha256(hash)`,
  `hash = sha256(hash)`,
  `key_id = 'another'`,
  `signature = sha512(signature)`,
  `signature = ''`,
  `number = number + 1000`,
  `access_id = access_id + 1`,
  `security_event_id = security_event_id - 1`,
  `records_marks = '\\x00'`,
  `records_digest = sha256(records_digest)`,
]

/** Changes or takes away a seal; the number of the one that does not fit then. */
export const SEAL_TAMPERINGS: Readonly<Record<string, (scene: Scene) => Promise<number>>> =
  Object.fromEntries(
    ['delete', ...SEAL_CHANGES].map((what) => [
      what,
      async ({ sql, random }: Scene) => {
        const { rows } = await sql.query('select max(number) as last from seals')
        // Without the last one the log is as it was before it was sealed.
        const number = 1 + random(rows[0].last - 1)
        const statement = what === 'delete' ? 'delete from seals' : `update seals set ${what}`
        await sql.query(`${statement} where number = $1`, [number])
        return /^(delete|number)/.test(what) ? number + 1 : number
      },
    ]),
  )

/** What a mark holds of an event that a forger may want to change in it too. */
const MARK_OF_HASH = `
  update seals set events_marks = overlay(events_marks placing $3::bytea from 46 * $2::int + 15)
  where number = $1`

/**
 * Rewrites an event, hash and all, as well as the marks: those of its stream, so that they fit, and
 * one of a stream that nobody has touched, so that it does not. The two streams are of seal 1.
 */
export async function accuseAnother(sql: pg.Client): Promise<void> {
  const READ_HASHES = `
    select stream_id, version, position, hash from events
    where position <= (select position from seals where number = 1) order by position`
  const { rows: before } = await sql.query(READ_HASHES)
  const { stream_id, version, position } = before.at(-1)
  await sql.query('update events set actor_id = 7 where position = $1', [position])
  await rechain(sql, stream_id, version)
  const { rows: after } = await sql.query(READ_HASHES)
  for (const [index, row] of after.entries()) {
    if (row.stream_id === stream_id) await sql.query(MARK_OF_HASH, [1, index, row.hash])
  }
  const untouched = after.findIndex((row) => row.stream_id !== stream_id)
  await sql.query(MARK_OF_HASH, [1, untouched, after.at(-1).hash])
}

/** Sealed in several seals, with gaps between positions and an end that is not sealed yet. */
export async function writeLog(log: SealedLog, random: Random): Promise<number> {
  let sealed = 0
  for (let event = 1; event <= 66; event++) {
    const id = 1 + random(10)
    if (random(4) === 0) await log.root.query(`select nextval('events_position_seq')`)
    await log.write(id)
    if (event % 20 === 0) sealed = (await log.sealer.seal())?.position ?? sealed
  }
  return sealed
}
