import { checkpointText, parseCheckpoint } from '../../../transparency-log/checkpoint.ts'
import type { NoteSigner } from '../../../transparency-log/keys.ts'
import { readNote, verifiedBy, writeNote } from '../../../transparency-log/signed-note.ts'
import { type TileProofs, tileProofs } from '../../../transparency-log/tile-proofs.ts'
import { isConsistent, leafHash } from '../../../transparency-log/tree.ts'
import { eventEntry, recordsEntry } from '../../../verifier/entries.ts'
import { type RecordEnds, recordsDigest, writeRecordMarks } from '../../../verifier/records.ts'
import type { LeaderSession } from '../connection/leader.ts'
import { safePosition } from '../event-store/safe-position.ts'
import type { Query } from '../projections/projection.ts'
import { chainedEvents } from './chained-events.ts'
import { ChainBroken, LogChanged } from './checkpoint-refused.ts'
import { recordsToLog } from './logged-records.ts'
import { type StoredTree, storedTree } from './stored-tree.ts'
import { readTiles } from './tiles.ts'

/** What has been added to the log. */
export type Logged = {
  /** Leaves in all. */
  readonly size: number
  /** Of the last event among them. */
  readonly position: number
  readonly events: number
  /** Accesses and security events. */
  readonly records: number
  /** In base64, as the checkpoint has it. */
  readonly root: string
}

/** A checkpoint that is stored. */
export type StoredCheckpoint = {
  readonly size: number
  /** Of the last event among its leaves. */
  readonly position: number
  /** With the signatures of the log, or also with those of witnesses. */
  readonly note: string
}

export type LogWriter = {
  /**
   * Adds the next events, at most 10,000, and accesses and security events as leaves, and signs the tree that
   * has them, in one transaction; null if there is nothing to add. The first time it signs the empty tree. Error:
   * `CheckpointRefused`, if what it would sign does not extend what is stored, or what this process has seen
   * before.
   */
  readonly write: (session: Session) => Promise<Logged | null>
  /** The last one that is stored; null before the first. Error: as for `write`. */
  readonly last: (session: Session) => Promise<StoredCheckpoint | null>
  /** Shows everybody the checkpoint, with the signatures of its witnesses. */
  readonly publish: (session: Session, checkpoint: StoredCheckpoint) => Promise<void>
  /** Proves that the stored tree extends a smaller one. */
  readonly prove: (session: Session, from: number, to: number) => Promise<readonly Buffer[]>
}

/** Of the leader. */
export type Session = { readonly query: Query } & Pick<LeaderSession, 'transaction'>

export type LogWriterOptions = {
  readonly origin: string
  /** The current one first; others while a key is being replaced. */
  readonly signers: readonly [NoteSigner, ...NoteSigner[]]
  /** Whether witnesses sign too: then a checkpoint is not published by being written. */
  readonly witnessed: boolean
}

type CheckpointRow = RecordEnds & {
  readonly size: number
  readonly root: Buffer
  readonly position: number
  readonly note: string | null
}
type Known = Pick<CheckpointRow, 'size' | 'root'>

const FACTS = `
  select size, root, position, access_id as audit_accesses, security_event_id as security_events, note
  from log_checkpoint`

const LOOK = {
  name: 'look_at_log',
  text: `
    with last as (${FACTS})
    select *,
      exists (select from events e where e.position > last.position)
        or exists (select from audit_accesses a where a.id > last.audit_accesses)
        or exists (select from security_events s where s.id > last.security_events) as has_news
    from last`,
}

// No other writer, and no other hand, changes it until this transaction ends.
const LOCK = { name: 'lock_checkpoint', text: `${FACTS} for update` }

// The last leaf of an event, and the last one of records.
const ENDS = {
  name: 'ends_of_log',
  text: `
    with bundle as (
        select n, places from log_bundles where first_position is not null
        order by first_position desc limit 1),
      place as (
        select n * 256 + at - 1 as leaf, (place->>0)::bigint as position, place->>1 as stream_id,
          (place->>2)::bigint as version
        from bundle, jsonb_array_elements(places) with ordinality as each (place, at)
        where place <> 'null' order by at desc limit 1),
      records as (select * from log_records order by leaf desc limit 1)
    select p.leaf, coalesce(p.position, 0) as position, p.stream_id, p.version, encode(e.hash, 'hex') as hash,
      r.leaf as records_leaf, coalesce(r.access_id, 0) as audit_accesses,
      coalesce(r.security_event_id, 0) as security_events, encode(r.digest, 'hex') as digest
    from (select) one left join place p on true left join events e using (position) left join records r on true`,
}

type Ends = RecordEnds & {
  readonly leaf: number | null
  readonly position: number
  readonly stream_id: string
  readonly version: number
  readonly hash: string | null
  readonly records_leaf: number | null
  readonly digest: string
}

const ADD_RECORDS = {
  name: 'log_records',
  text: `
    insert into log_records (leaf, access_id, security_event_id, marks, digest)
      values ($1, $2, $3, $4, $5)`,
}

const SIGN = {
  name: 'sign_checkpoint',
  text: `
    update log_checkpoint set size = $3, root = $4, position = $5, access_id = $6, security_event_id = $7,
      note = $8, verifier_keys = $9
    where size = $1 and root = $2 returning size`,
}

const PUBLISH = {
  name: 'publish_checkpoint',
  text: `
    update log_checkpoint set published_size = $1, published_position = $2, published_note = $3,
      published_at = clock_timestamp()
    where published_size <= $1 and size >= $1`,
}

/**
 * Two at once are harmless: the second waits for the first, and goes on from there. Remembers the last checkpoint
 * that it has seen stored as long as the process lives. A checkpoint whose transaction does not commit never
 * leaves the process.
 */
export function logWriter(options: LogWriterOptions): LogWriter {
  const { origin, signers, witnessed } = options
  const keys = signers.map(({ key }) => key)
  const verifier_keys = keys.map(({ text }) => `${text}\n`).join('')
  let known: Known | undefined

  const requireKnown = async (row: CheckpointRow | undefined, proofs: TileProofs) => {
    if (row === undefined) throw new LogChanged('the checkpoint is missing')
    if (known !== undefined) {
      const { size, root } = known
      if (row.size < size) {
        throw new LogChanged(
          `it has ${row.size} leaves, but had ${size}: ${root.toString('base64')}`,
        )
      }
      const proof = row.size === size ? [] : await proofs.consistency(size, row.size)
      if (!isConsistent({ from: size, fromRoot: root, to: row.size, toRoot: row.root, proof })) {
        throw new LogChanged(
          `it does not extend ${size} leaves with the root ${root.toString('base64')}`,
        )
      }
    }
    return row
  }

  const requireSigned = ({ size, root, note }: CheckpointRow) => {
    if (note === null && size === 0) return
    const read = readNote(note ?? '')
    const checkpoint = read && parseCheckpoint(read.text)
    if (!checkpoint) throw new LogChanged('its note is damaged')
    if (checkpoint.origin !== origin) {
      throw new LogChanged(`it is of the log ${checkpoint.origin}, not of ${origin} (LOG_ORIGIN)`)
    }
    if (checkpoint.size !== size || !checkpoint.root.equals(root)) {
      throw new LogChanged(
        `its note is not of ${size} leaves with the root ${root.toString('base64')}`,
      )
    }
    const by = verifiedBy(read, keys)
    if (by === null || by.length === 0) throw new LogChanged('its note is not signed by our key')
  }

  const sign = async (size: number, root: Buffer) => {
    const text = checkpointText({ origin, size, root })
    return writeNote(text, await Promise.all(signers.map((signer) => signer.sign(text))))
  }

  /** Otherwise what is in the log already would be added again, or what is not would be left out. */
  const requireEnds = async (query: Query, row: CheckpointRow) => {
    const [ends] = await query<Ends>(ENDS, [])
    const names = ['position', 'audit_accesses', 'security_events'] as const
    const other = names.find((name) => ends?.[name] !== row[name])
    if (ends === undefined || other !== undefined) {
      throw new LogChanged(`its leaves do not end where it says (${other})`)
    }
    const leaves: (readonly [leaf: number, entry: string])[] = []
    if (ends.leaf !== null) leaves.push([ends.leaf, eventEntry({ ...ends, hash: ends.hash ?? '' })])
    if (ends.records_leaf !== null) leaves.push([ends.records_leaf, recordsEntry(ends)])
    const hashes = await proofsOf(query).nodes(leaves.map(([index]) => ({ level: 0, index })))
    for (const [at, [leaf, entry]] of leaves.entries()) {
      if (!hashes[at]?.equals(leafHash(entry))) {
        throw new LogChanged(`leaf ${leaf} is not the hash of what is stored for it`)
      }
    }
  }

  /** The stored checkpoint, when everything that can be compared with it has been. */
  const lock = async (query: Query) => {
    const [found] = await query<CheckpointRow>(LOCK, [])
    const row = await requireKnown(found, proofsOf(query))
    requireSigned(row)
    await requireEnds(query, row)
    return row
  }

  /** Replaces the stored checkpoint, if it is still the same. */
  const replace = async (query: Query, last: CheckpointRow, next: Omit<CheckpointRow, 'note'>) => {
    const { size, root, position, audit_accesses, security_events } = next
    const note = await sign(size, root)
    const facts = [size, root, position, audit_accesses, security_events, note, verifier_keys]
    const signed = await query(SIGN, [last.size, last.root, ...facts])
    if (signed.length === 0) throw new LogChanged('its checkpoint was changed while it was written')
    if (!witnessed) await query(PUBLISH, [size, position, note])
  }

  const addRecords = async (query: Query, last: CheckpointRow, tree: StoredTree) => {
    const { ends, records } = await recordsToLog(query, last)
    if (records.length > 0) {
      const marks = writeRecordMarks(records)
      const digest = recordsDigest(ends, marks)
      const { audit_accesses, security_events } = ends
      await query(ADD_RECORDS, [tree.size(), audit_accesses, security_events, marks, digest])
      const entry = recordsEntry({ ...ends, digest: digest.toString('hex') })
      tree.add({ hash: leafHash(entry), place: null })
    }
    return { ends, records: records.length }
  }

  const add = async (query: Query) => {
    const last = await lock(query)
    const tree = await storedTree(query, last.size)
    if (!tree.root().equals(last.root)) throw new LogChanged('its tiles are not those of its root')
    if (last.note === null) {
      await replace(query, last, last)
      return { broken: null, known: last, added: { events: 0, records: 0 }, position: 0 }
    }
    const { events, broken } = await chainedEvents(query, last.position, await safePosition(query))
    for (const event of events) {
      const { position, stream_id, version } = event
      tree.add({ hash: leafHash(eventEntry(event)), place: [position, stream_id, version] })
    }
    const { ends, records } = await addRecords(query, last, tree)
    const position = events.at(-1)?.position ?? last.position
    const known = { size: tree.size(), root: tree.root() }
    if (known.size === last.size) return { broken, known, added: null, position }
    await tree.write(query)
    await replace(query, last, { ...known, position, ...ends })
    return { broken, known, added: { events: events.length, records }, position }
  }

  const hasNews = async (query: Query): Promise<boolean> => {
    const [row] = await query<CheckpointRow & { readonly has_news: boolean }>(LOOK, [])
    const isKnown = row !== undefined && known?.size === row.size && known.root.equals(row.root)
    return !isKnown || row.has_news || row.note === null
  }

  return {
    async write({ query, transaction }) {
      if (!(await hasNews(query))) return null
      const done = await transaction(() => add(query))
      known = done.known
      if (done.broken !== null && !done.added?.events) throw new ChainBroken(done.broken)
      const { size, root } = done.known
      return (
        done.added && {
          ...done.added,
          size,
          position: done.position,
          root: root.toString('base64'),
        }
      )
    },

    async last({ query, transaction }) {
      const row = await transaction(() => lock(query))
      known = row
      return row.note === null ? null : { size: row.size, position: row.position, note: row.note }
    },

    async publish({ query }, { size, position, note }) {
      await query(PUBLISH, [size, position, note])
    },

    prove: ({ query }, from, to) => proofsOf(query).consistency(from, to),
  }
}

/** Proofs from the stored tiles. Error: `LogChanged`, if one is too short. */
function proofsOf(query: Query): TileProofs {
  const read = readTiles(query)
  const { root, inclusion, consistency, nodes } = tileProofs(read)
  const asChanged = (error: unknown) => {
    throw error instanceof RangeError ? new LogChanged(error.message) : error
  }
  return {
    root: (...asked) => root(...asked).catch(asChanged),
    inclusion: (...asked) => inclusion(...asked).catch(asChanged),
    consistency: (...asked) => consistency(...asked).catch(asChanged),
    nodes: (...asked) => nodes(...asked).catch(asChanged),
  }
}
