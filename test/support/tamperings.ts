import type pg from 'pg'
import { eventHash, type TrailEvent } from '../../src/verifier/formats.ts'
import type { OpenLog } from './open-log.ts'

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
  /** Up to this position events are in the log. */
  readonly logged: number
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
  const rows = await rowsOf(scene, 0, scene.logged)
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

/** What an event's own hash covers, so that it shows also before it is logged. */
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

/** What only the log tells. */
const LOGGED_CHANGES: readonly string[] = [`position = position + 1000000`, `position = -position`]

const change =
  (set: string, isLogged: boolean): Tampering =>
  async (scene) => {
    const { sql, random, logged } = scene
    const { position } = oneOf(random, await rowsOf(scene, 0, isLogged ? logged : undefined))
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
  ...LOGGED_CHANGES.map((set) => [set, change(set, true)]),
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
    const { position, stream_id } = oneOf(scene.random, await rowsOf(scene, 0, scene.logged))
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
    const [one, other] = twoOf(scene.random, await rowsOf(scene, 0, scene.logged))
    await swapPositions(scene.sql, one, other)
    return true
  },

  'two events exchanged between streams': async (scene) => {
    const [one, other] = twoOf(scene.random, await rowsOf(scene, 0, scene.logged))
    if (one.stream_id === other.stream_id) return false
    await swapPlaces(scene.sql, one, other)
    return true
  },

  'two events exchanged between streams, both hashed anew': async (scene) => {
    const [one, other] = twoOf(scene.random, await rowsOf(scene, 0, scene.logged))
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
    const { position } = oneOf(scene.random, await rowsOf(scene, 0, scene.logged))
    const gone = await scene.sql.query(
      'delete from events where position >= $1 returning stream_id',
      [position],
    )
    for (const { stream_id } of gone.rows) await fixHead(scene.sql, stream_id)
    return true
  },

  'a stream hashed anew from a changed event on': async (scene) => {
    const { sql, random, logged } = scene
    const { position, stream_id, version } = oneOf(random, await rowsOf(scene, 0, logged))
    const hashed = CHANGES.slice(0, 20)
    await sql.query(`update events set ${oneOf(random, hashed)} where position = $1`, [position])
    await rechain(sql, stream_id, version)
    return true
  },

  'an event put in, all that follows hashed anew': async (scene) => {
    const { sql, random, logged } = scene
    const { stream_id, version } = oneOf(random, await rowsOf(scene, 0, logged))
    const taken = new Set((await rowsOf(scene)).map(({ position }) => position))
    const free = Array.from({ length: logged }, (_, index) => index + 1)
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

/** What changes the log itself, and what is said of it. */
export const LOG_TAMPERINGS: Readonly<Record<string, RegExp>> = {
  'delete from log_checkpoint': /^The checkpoint is missing/,
  'update log_checkpoint set note = null': /^The checkpoint of 310 leaves is not signed/,
  'update log_checkpoint set size = size - 1': /^The checkpoint is changed/,
  'update log_checkpoint set root = sha256(root)': /^The checkpoint is changed/,
  'update log_checkpoint set published_note = null': /^The checkpoint was published/,
  'update log_checkpoint set published_size = 311': /^The checkpoint is changed/,
  'update log_checkpoint set published_size = 1': /^The checkpoint is changed/,
  'delete from log_tiles where level = 1': /^Tile 1\/0 has 0 hashes, but should have 1/,
  'delete from log_tiles where n = 1': /^Tile 0\/1 has 0 hashes, but should have 54/,
  'update log_tiles set n = 2 where n = 1': /^Tile 0\/1 has 0 hashes/,
  "insert into log_tiles values (2, 0, sha256(''))":
    /^The table log_tiles has rows that no tree has: 1/,
  "update log_tiles set hashes = hashes || sha256('') where n = 1": /^Tile 0\/1 has 55 hashes/,
  'delete from log_bundles where n = 0': /^Bundle 0 is missing/,
  'delete from log_bundles where n = 1': /^Bundle 1 is missing/,
  'update log_bundles set n = 2 where n = 1': /^Bundle 1 is missing/,
  "insert into log_bundles values (2, 1000, '[null]')":
    /^The table log_bundles has rows that no leaf has: 1/,
  'update log_bundles set places = places - 5 where n = 0': /^Bundle 0 has 255 places/,
  "update log_bundles set places = jsonb_set(places, '{5}', '7')":
    /^Bundle 0 is changed: it does not name/,
  "update log_bundles set places = jsonb_set(places, '{5,0}', '7000') where n = 0":
    /^Bundle 0 is changed: leaf 5/,
  "update log_bundles set places = jsonb_set(places, '{5,1}', '\"task-7000\"') where n = 0":
    /^Bundle 0 is changed: leaf 5/,
  "update log_bundles set places = jsonb_set(places, '{5,2}', '7000') where n = 0":
    /^Bundle 0 is changed: leaf 5/,
  "update log_bundles set places = jsonb_set(places, '{5}', 'null')":
    /^Leaf 5 is missing from log_records/,
  'update log_bundles set first_position = first_position + 1000':
    /^Bundle 0 is changed: its first position/,
  "insert into log_records values (5, 1, 1, '', '')":
    /^The table log_records has rows that no leaf has: 1/,
}

/** Logged in several rounds, over two tiles, with gaps between positions and an end that is not logged yet; up to which position it is. */
export async function writeLog(log: OpenLog, random: Random): Promise<number> {
  let logged = 0
  for (let event = 1; event <= 316; event++) {
    const id = 1 + random(10)
    if (random(4) === 0) await log.root.query(`select nextval('events_position_seq')`)
    await log.write(id)
    if (event % 62 === 0) logged = (await log.log())?.position ?? logged
  }
  return logged
}
