import { createHash, hkdfSync, randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import type { AuditEvent } from '../../src/app/ports/audit.ts'
import type { Recorded } from '../../src/app/ports/event-store.ts'
import type { TaskEvent } from '../../src/domain/task/events.ts'
import { auditEventOf } from '../../src/http/audit-schemas.ts'
import {
  decryptEvents,
  isEncrypted,
  TEXT_FIELDS,
} from '../../src/infra/encryption/encrypted-texts.ts'
import { encryptText, newDataKey, textKey } from '../../src/infra/encryption/text-cipher.ts'
import { checkpointText } from '../../src/transparency-log/checkpoint.ts'
import { logSigner, type NoteSigner, witnessSigner } from '../../src/transparency-log/keys.ts'
import { writeProofFile } from '../../src/transparency-log/proof-file.ts'
import { writeNote } from '../../src/transparency-log/signed-note.ts'
import {
  consistencyNodes,
  growingTree,
  inclusionNodes,
  leafHash,
  type Node,
  nodesBetween,
  rootOf,
} from '../../src/transparency-log/tree.ts'
import { eventEntry, type Records, recordsEntry } from '../../src/verifier/entries.ts'
import { eventHash } from '../../src/verifier/formats.ts'
import { metadata } from './appends.ts'
import { historiesOf } from './histories.ts'

type Change = { from: unknown; to: unknown }
type Leaf = { leaf: number | null; before: string[] }

/** A line of an export, to be forged. */
export type Line = ReturnType<typeof auditEventOf> &
  Leaf & {
    changes: Record<string, Change>
    stored: {
      stream_id: string
      event_id: string
      schema_version: number
      data: Record<string, unknown>
      metadata: Record<string, unknown>
      prev_hash: string | null
    }
    text_keys: Record<string, string>
  }
export type RecordsLine = Leaf & { records: { -readonly [name in keyof Records]: Records[name] } }

export type Trailer = {
  count: number
  position: number
  parked: [string, number][]
  exported_at: string
  exported_by: number
  query: Record<string, unknown>
  log: { checkpoint: string; after: string[] } | null
}
export type Export = { lines: (Line | RecordsLine)[]; trailer: Trailer }

export const isEvent = (line: Line | RecordsLine): line is Line => 'stored' in line

const seed = (secret: string): Buffer => Buffer.from(hkdfSync('sha256', secret, '', 'test', 32))

export const ORIGIN = 'tasktrail.test/log'
export const logKey = logSigner(ORIGIN, seed('log'))
/** Another one of the same name. */
export const otherLogKey = logSigner(ORIGIN, seed('another log'))
export const WITNESSED_AT = '2026-11-24T12:00:00.000Z'
export const witness = (name: string): NoteSigner =>
  witnessSigner(`${name}.test`, seed(name), () => Date.parse(WITNESSED_AT))

/** A checkpoint signed by these. */
export async function signed(
  facts: { readonly size: number; readonly root: Buffer; readonly origin?: string },
  signers: readonly NoteSigner[] = [logKey],
): Promise<string> {
  const text = checkpointText({ origin: ORIGIN, ...facts })
  return writeNote(text, await Promise.all(signers.map(({ sign }) => sign(text))))
}

type Entry = { readonly records: Records } | { readonly event: Recorded<TaskEvent> }
type Which = (event: AuditEvent) => boolean

/** A log in memory, and what the services would export of it. Nothing is in it that the database does not hold. */
export type SyntheticLog = {
  /** To the end of a task's stream; by its owner, user 1 unless told. */
  readonly write: (task_id: number, events: readonly TaskEvent[], user_id?: number) => void
  /** A leaf of accesses and security events. */
  readonly writeRecords: () => void
  readonly eraseUser: (user_id: number) => void
  /** Of what has been written so far; also taken by what is exported later. */
  readonly checkpoint: (signers?: readonly NoteSigner[]) => Promise<string>
  readonly root: (size?: number) => Buffer
  readonly size: () => number
  /** Of what `isAsked` under the query; the whole log unless told. */
  readonly export: (query?: Record<string, unknown>, isAsked?: Which) => Promise<Export>
  /** A proof file for a leaf, in the tree of the last checkpoint. */
  readonly proof: (index: number) => string
  /** As GET /log/consistency answers. */
  readonly consistency: (from: number, to: number) => string
}

export function syntheticLog(): SyntheticLog {
  const entries: Entry[] = []
  const hashes: Buffer[] = []
  const keys = new Map<number, Buffer | null>()
  const heads = new Map<string, [string, number, string]>()
  let [position, records] = [0, 0]
  let last: { readonly note: string; readonly size: number } | null = null

  const keyOf = (user: number) => {
    const key = keys.get(user) ?? newDataKey()
    if (!keys.has(user)) keys.set(user, key)
    return key
  }
  const findEach = async () =>
    new Map([...keys].flatMap(([user, key]) => (key === null ? [] : [[user, key] as const])))
  const events = () => entries.flatMap((entry) => ('event' in entry ? [entry.event] : []))

  const add = (entry: Entry) => {
    entries.push(entry)
    hashes.push(leafHash(entryOf(entry)))
  }

  const hashOf = ({ level, index }: Node): Buffer => {
    const tree = growingTree()
    for (const hash of hashes.slice(index * 2 ** level, (index + 1) * 2 ** level)) {
      tree.addLeaf(hash)
    }
    return tree.root()
  }
  const between = (from: number, to: number) =>
    nodesBetween(from, to).map((node) => hashOf(node).toString('base64'))
  const folded = (nodes: readonly (readonly Node[])[]) =>
    nodes.map((each) => rootOf(each.map(hashOf)))
  const root = (size = entries.length) => rootOf(nodesBetween(0, size).map(hashOf))

  const stored = (event: TaskEvent, task_id: number, user_id: number): Recorded<TaskEvent> => {
    const stream_id = `task-${task_id}`
    const [, version, prev_hash] = heads.get(stream_id) ?? [stream_id, 0, null]
    position++
    const occurred_at = new Date(Date.parse('2026-11-23T12:00:00.000Z') + position * 1000)
    const data = Object.entries(event.data).map(([field, value]) => {
      const isText = TEXT_FIELDS.some((name) => name === field) && typeof value === 'string'
      const place = { stream_id, field }
      return [field, isText ? encryptText(keyOf(user_id), user_id, place, value) : value]
    })
    const facts = {
      stream_id,
      version: version + 1,
      event_id: randomUUID(),
      type: event.type,
      schema_version: 1,
      data: Object.fromEntries(data),
      actor_id: user_id,
      metadata,
      occurred_at: occurred_at.toISOString(),
      prev_hash,
    }
    const hash = eventHash(facts)
    heads.set(stream_id, [stream_id, facts.version, hash])
    return { ...facts, position, recorded_at: facts.occurred_at, hash } as Recorded<TaskEvent>
  }

  const lineOf = (shown: AuditEvent, event: Recorded<TaskEvent>): Omit<Line, keyof Leaf> => {
    const { stream_id, event_id, schema_version, data, metadata, prev_hash } = event
    const texts = TEXT_FIELDS.flatMap((field) => {
      const text: unknown = Reflect.get(data, field)
      const key = isEncrypted(text) && keys.get(text.user)
      return key ? [[field, textKey(key, text as never).toString('base64url')]] : []
    })
    const shownLine = { ...auditEventOf(shown), leaf: null, before: [] }
    return structuredClone({
      ...shownLine,
      stored: { stream_id, event_id, schema_version, data, metadata, prev_hash },
      text_keys: Object.fromEntries(texts),
    }) as Line
  }

  return {
    write(task_id, written, user_id = 1) {
      for (const event of written) add({ event: stored(event, task_id, user_id) })
    },
    writeRecords() {
      records++
      const digest = createHash('sha256').update(`${records}`).digest('hex')
      add({ records: { audit_accesses: 2 * records, digest, security_events: records } })
    },
    eraseUser: (user_id) => void keys.set(user_id, null),
    async checkpoint(signers) {
      const size = entries.length
      last = { note: await signed({ size, root: root(size) }, signers), size }
      return last.note
    },
    root,
    size: () => entries.length,

    async export(query = {}, isAsked = () => true) {
      const whole = Object.keys(query).length === 0
      const size = last?.size ?? 0
      const clear = await decryptEvents(events(), { findEach })
      const shown = new Map(historiesOf(clear).map((event) => [event.position, event]))
      const lines: (Line | RecordsLine)[] = []
      let next = 0
      for (const [index, entry] of entries.entries()) {
        const event = 'event' in entry ? shown.get(entry.event.position) : undefined
        const isShown = 'event' in entry ? event && isAsked(event) : whole && index < size
        if (!isShown) continue
        const leaf = index < size ? index : null
        const before = leaf === null ? [] : between(next, leaf)
        if (leaf !== null) next = leaf + 1
        if ('records' in entry) lines.push({ leaf, before, records: { ...entry.records } })
        else if (event) lines.push({ ...lineOf(event, entry.event), leaf, before } as Line)
      }
      const trailer: Trailer = {
        count: lines.filter(isEvent).length,
        position,
        parked: [],
        exported_at: '2026-11-24T12:00:00.000Z',
        exported_by: 1,
        query,
        log: last && { checkpoint: last.note, after: between(next, size) },
      }
      return structuredClone({ lines, trailer })
    },

    proof(index) {
      const entry = entries[index]
      if (entry === undefined || last === null) throw new Error(`no leaf ${index}`)
      const proof = folded(inclusionNodes(index, last.size))
      const extra = Buffer.from(entryOf(entry))
      return writeProofFile({ extra, index, proof, checkpoint: last.note })
    },
    consistency: (from, to) =>
      JSON.stringify({
        from,
        to,
        hashes: folded(consistencyNodes(from, to)).map((hash) => hash.toString('base64')),
      }),
  }
}

const entryOf = (entry: Entry): string =>
  'event' in entry ? eventEntry(entry.event) : recordsEntry(entry.records)

export const textOf = ({ lines, trailer }: Export): string =>
  [...lines, { trailer }].map((line) => `${JSON.stringify(line)}\n`).join('')

export const writeExport = (file: string, made: Export): Promise<void> =>
  writeFile(file, textOf(made))
