import { checkpointText } from '../../../transparency-log/checkpoint.ts'
import type { NoteSigners } from '../../../transparency-log/keys.ts'
import { signersAfter, writeNote } from '../../../transparency-log/signed-note.ts'
import { leafHash } from '../../../transparency-log/tree.ts'
import { eventEntry, recordsEntry } from '../../../verifier/entries.ts'
import { type PreviousRecords, recordsDigest, writeMarks } from '../../../verifier/records.ts'
import type { LeaderSession } from '../connection/leader.ts'
import type { Query } from '../projections/projection.ts'
import { chainedEvents, MOST_EVENTS } from './chained-events.ts'
import { ChainBroken, LogChanged } from './checkpoint-refused.ts'
import { MOST_ROWS, recordsToLog } from './logged-records.ts'
import {
  type CheckpointRow,
  type Known,
  type Locked,
  type News,
  storedCheckpoints,
  storedProofs,
} from './stored-checkpoint.ts'
import { type StoredTree, storedTree } from './stored-tree.ts'

/** A checkpoint that is stored. */
export type StoredCheckpoint = {
  readonly size: number
  /** Of the last event among its leaves. */
  readonly position: number
  /** With the signatures of the log, or also with those of witnesses. */
  readonly note: string
}

/** What has been added to the log. */
export type Logged = StoredCheckpoint & {
  readonly events: number
  /** Accesses and security events. */
  readonly records: number
  /** In base64, as the checkpoint has it. */
  readonly root: string
  /** Whether there may be more to add at once, or a reason why there is not. */
  readonly isPart: boolean
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
  /** A previous one signs as long as it has signed the checkpoint that is stored. */
  readonly signers: NoteSigners
  /** Whether witnesses sign too: then a checkpoint is not published by being written. */
  readonly witnessed: boolean
}

/** How its session is to be opened: none of its statements needs a plan for its values, and most take longer to plan. */
export const LOG_SESSION = '-c plan_cache_mode=force_generic_plan'

const ADD_RECORDS = {
  name: 'log_records',
  text: `
    insert into log_records (leaf, access_id, security_event_id, marks, digest)
      values ($1, $2, $3, $4, $5)`,
}

const LAST_RECORDS = {
  name: 'last_records',
  text: `select leaf, encode(digest, 'hex') as digest from log_records order by leaf desc limit 1`,
}

const SIGN = {
  name: 'sign_checkpoint',
  text: `
    update log_checkpoint set size = $3, root = $4, position = $5, access_id = $6, security_event_id = $7,
      note = $8, verifier_keys = $9,
      published_size = case when $10 then published_size else $3 end,
      published_position = case when $10 then published_position else $5 end,
      published_note = case when $10 then published_note else $8 end,
      published_at = case when $10 then published_at else clock_timestamp() end
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
  const checkpoints = storedCheckpoints(origin, keys)
  let known: Known | undefined

  const sign = async (last: CheckpointRow, size: number, root: Buffer) => {
    const text = checkpointText({ origin, size, root })
    const signing = signersAfter([last.note], signers)
    const verifier_keys = signing.map(({ key }) => `${key.text}\n`).join('')
    const lines = await Promise.all(signing.map((signer) => signer.sign(text)))
    return { note: writeNote(text, lines), verifier_keys }
  }

  /** Replaces the stored checkpoint, if it is still the same. */
  const replace = async (query: Query, last: CheckpointRow, next: Omit<CheckpointRow, 'note'>) => {
    const { size, root, position, audit_accesses, security_events } = next
    const { note, verifier_keys } = await sign(last, size, root)
    const facts = [size, root, position, audit_accesses, security_events, note, verifier_keys]
    const signed = await query(SIGN, [last.size, last.root, ...facts, witnessed])
    if (signed.length === 0) throw new LogChanged('its checkpoint was changed while it was written')
    return { size, position, note, root: root.toString('base64') }
  }

  const addEvents = async (query: Query, last: Locked, tree: StoredTree) => {
    const { events, broken } = await chainedEvents(query, last.position, last.safe)
    for (const event of events) {
      const { position, stream_id, version } = event
      tree.add({ hash: leafHash(eventEntry(event)), place: [position, stream_id, version] })
    }
    const position = events.at(-1)?.position ?? last.position
    return { events: events.length, position, broken }
  }

  const addRecords = async (query: Query, last: CheckpointRow, tree: StoredTree) => {
    const { ends, records } = await recordsToLog(query, last)
    if (records.length > 0) {
      const [previous = null] = await query<NonNullable<PreviousRecords>>(LAST_RECORDS, [])
      const marks = writeMarks(previous, records)
      const digest = recordsDigest(ends, marks)
      const { audit_accesses, security_events } = ends
      await query(ADD_RECORDS, [tree.size(), audit_accesses, security_events, marks, digest])
      const entry = recordsEntry({ ...ends, digest: digest.toString('hex') })
      tree.add({ hash: leafHash(entry), place: null })
    }
    return { ends, records: records.length }
  }

  const add = async (query: Query, news: News) => {
    const last = await checkpoints.lock(query, known)
    const tree = await storedTree(query, last.size)
    if (!tree.root().equals(last.root)) throw new LogChanged('its tiles are not those of its root')
    if (last.note === null) {
      const added = { events: 0, records: 0, isPart: true, ...(await replace(query, last, last)) }
      return { broken: null, known: last, added }
    }
    const { events, position, broken } = await addEvents(query, last, tree)
    const { ends, records } = news.records
      ? await addRecords(query, last, tree)
      : { ends: last, records: 0 }
    const grown = { size: tree.size(), root: tree.root() }
    if (grown.size === last.size) return { broken, known: grown, added: null }
    await tree.write(query)
    const signed = await replace(query, last, { ...ends, ...grown, position })
    const isPart = broken !== null || events === MOST_EVENTS || records >= MOST_ROWS
    return { broken, known: grown, added: { ...signed, events, records, isPart } }
  }

  return {
    async write({ query, transaction }) {
      const news = await checkpoints.look(query, known)
      if (!news.events && !news.records) return null
      const done = await transaction(() => add(query, news))
      known = done.known
      if (done.broken !== null && !done.added?.events) throw new ChainBroken(done.broken)
      return done.added
    },

    async last({ query, transaction }) {
      const row = await transaction(() => checkpoints.lock(query, known))
      known = row
      return row.note === null ? null : { size: row.size, position: row.position, note: row.note }
    },

    async publish({ query }, { size, position, note }) {
      await query(PUBLISH, [size, position, note])
    },

    prove: ({ query }, from, to) => storedProofs(query).consistency(from, to),
  }
}
