import { createDecipheriv, createSecretKey } from 'node:crypto'
import { isSize, sha256 } from '../transparency-log/tree.ts'
import type { Records } from './entries.ts'
import { Broken, placeOf, Unreadable } from './failures.ts'
import { isObject, parse } from './files.ts'
import { canonical, type TrailEvent } from './formats.ts'
import type { StreamState } from './trail.ts'

type Json = Readonly<Record<string, unknown>>
/** Its place in the log; null: the checkpoint does not cover it. `before`: hashes of what lies between, in base64. */
export type Leaf = { readonly leaf: number | null; readonly before: readonly unknown[] }
export type RecordsLine = Leaf & { readonly records: Records }
/** A line of an export that shows an event. Of `changes` and `text_keys` only the names are certain. */
export type EventLine = Leaf & {
  readonly position: number
  readonly version: number
  readonly type: string
  readonly actor: { readonly user_id: number }
  readonly occurred_at: string
  readonly changes: Readonly<
    Record<string, { readonly from?: unknown; readonly to?: unknown } | null>
  >
  readonly erased?: true
  readonly unreadable?: true
  readonly hash: string
  readonly stored: Pick<TrailEvent, 'stream_id' | 'event_id' | 'schema_version' | 'prev_hash'> & {
    readonly data: Json
    readonly metadata: Json
  }
  readonly text_keys: Json
}

/** An event, with the line that shows it and its text. */
export type ShownEvent = TrailEvent & { readonly line: EventLine; readonly text: string }

const KNOWN_SCHEMA = 1
const TEXTS: readonly string[] = ['title', 'description']

/** What a line holds, so far without knowing whether it is right. Error: `Broken`, `Unreadable`. */
export function readLine(text: string, number: number): ShownEvent | RecordsLine {
  const line = parse(text)
  if (line === undefined) throw new Unreadable(`Line ${number} is not a line of an NDJSON export.`)
  if (isObject(line) && isObject(line.records)) return recordsIn(line as RecordsLine, text, number)
  if (!isEventLine(line)) {
    const isLost = isObject(line) && line.stored === null
    const why = isLost
      ? 'shows an event that the log does not hold.'
      : 'is not an event of an export.'
    throw new Broken({ line: number }, why)
  }
  const { position, version, type, occurred_at, hash, actor, stored } = line
  const { stream_id, event_id, schema_version, data, metadata, prev_hash } = stored
  const facts = { event_id, type, schema_version, data, actor_id: actor.user_id, metadata }
  const place = { position, stream_id, version, occurred_at, recorded_at: occurred_at }
  return { ...place, ...facts, prev_hash, hash, line, text }
}

function recordsIn({ leaf, before, records }: RecordsLine, text: string, number: number) {
  const { audit_accesses, digest, security_events } = records
  const written = { leaf, before, records: { audit_accesses, digest, security_events } }
  if (!isSize(leaf) || !Array.isArray(before) || JSON.stringify(written) !== text) {
    throw new Broken({ line: number }, 'is not a line of accesses and security events.')
  }
  return written as RecordsLine
}

/** Whether it can be looked at: all else is compared with what should be there. */
function isEventLine(line: unknown): line is EventLine {
  if (!isObject(line) || !isObject(line.stored)) return false
  const { position, version, leaf, before, actor, changes, text_keys, stored } = line
  return (
    [actor, changes, text_keys, stored.data, stored.metadata].every(isObject) &&
    [position, version, stored.schema_version].every((number) => isSize(number) && number > 0) &&
    typeof stored.stream_id === 'string' &&
    Array.isArray(before) &&
    (leaf === null || isSize(leaf))
  )
}

type Fault = (why: string) => Broken

/**
 * Checks that a line is the one that an export writes of its stored event: what it shows besides is made anew and
 * compared, letter by letter. Returns the fields whose previous value is not proven.
 */
export function requireShown(event: ShownEvent, state: StreamState): readonly string[] {
  const { line, text, version, schema_version } = event
  const broken: Fault = (why) => new Broken(placeOf(event), `is changed: ${why}.`)
  if (schema_version > KNOWN_SCHEMA) {
    const why = `has a schema version (${schema_version}) that this program does not know`
    throw new Unreadable(
      `${event.stream_id} version ${version} ${why}: use the verify-audit.mjs of the version that exported it.`,
    )
  }
  const to = storedValues(line, broken)
  const { changes, unproven } = changesOf(line, to, state, broken)
  const written = writtenLine(line, changes)
  if (JSON.stringify(written) !== text) throw broken(differenceOf(written, line))
  keepFacts(line, to, state)
  return unproven
}

/** The members in the order of an export. */
function writtenLine(line: EventLine, changes: Json): Json {
  const { position, version, type, actor, occurred_at, hash, leaf, before, stored } = line
  const { stream_id, event_id, schema_version, data, metadata, prev_hash } = stored
  const [, task] = /^task-([1-9]\d*)$/.exec(stream_id) ?? []
  const keys = Object.entries(line.text_keys).filter(([name]) => isEncrypted(data[name]))
  return {
    position,
    task_id: task === undefined ? null : Number(task),
    version,
    type,
    actor: { user_id: actor.user_id },
    occurred_at,
    // The database gives an event a single time.
    recorded_at: occurred_at,
    request_id: metadata.request_id,
    changes,
    undoes: data.undoes,
    erased: line.erased ? true : undefined,
    unreadable: line.unreadable ? true : undefined,
    hash,
    leaf,
    before,
    stored: { stream_id, event_id, schema_version, data, metadata, prev_hash },
    text_keys: Object.fromEntries(keys),
  }
}

function differenceOf(written: Json, line: EventLine): string {
  const shown: Json = line
  const names = Object.keys({ ...line, ...written })
  const same = (name: string) => canonical(shown[name] ?? null) === canonical(written[name] ?? null)
  const name = names.find((name) => !same(name))
  if (name === undefined) return 'it is not written as an export writes it'
  return `"${name}" is ${name in written ? 'not what is stored' : 'nothing that an export writes'}`
}

/** What a line should show as changed. A previous value that is not known is taken from the line. */
function changesOf(line: EventLine, to: Json, { facts }: StreamState, broken: Fault) {
  const changes: Record<string, unknown> = {}
  const unproven: string[] = []
  for (const name of Object.keys(line.changes)) {
    const from = line.changes[name]?.from ?? null
    // A digest; undefined: nothing tells.
    const known = knownBefore(line, name, facts)
    const isKnown = brief(from) === known
    const isGone = isText(name) && (line.erased || line.unreadable) && from === null
    if (known !== undefined && !isKnown && !isGone) {
      throw broken(`its changes.${name}.from is not the value before it`)
    }
    const shown = line.changes[name]?.to
    // A list of photos is another object each time; all else need not be written out to be compared.
    if (shown !== to[name] && canonical(shown ?? null) !== canonical(to[name] ?? null)) {
      throw broken(`its changes.${name}.to is not what is stored`)
    }
    if (!isKnown) unproven.push(name)
    changes[name] = { from, to: to[name] }
  }
  if (Object.keys(changes).length === Object.keys(to).length) return { changes, unproven }
  throw broken('its changes are not those of its stored fields')
}

function knownBefore(
  { type, version, stored }: EventLine,
  name: string,
  facts: StreamState['facts'],
) {
  // The event says itself which role it took away.
  if (type === 'UserRoleChanged') return brief(stored.data.from)
  return version === 1 ? NULL : facts?.[name]
}

/** What changes should say: the stored values, with the texts decrypted where their keys are present. */
function storedValues({ type, stored, text_keys, erased, unreadable }: EventLine, broken: Fault) {
  const { user_id, undoes, ...data } = stored.data
  if (type === 'UserRoleChanged') return { role: data.to }
  const to: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(data)) {
    const key = isEncrypted(value) ? text_keys[name] : undefined
    if (key !== undefined && erased && !unreadable) {
      throw broken(`it is marked as erased, but its ${name} can be read`)
    }
    if (isEncrypted(value) && key === undefined && !erased && !unreadable) {
      throw broken(`the key of its ${name} is missing, though it is not marked as erased`)
    }
    if (!isEncrypted(value)) to[name] = value
    else to[name] = key === undefined ? null : decrypt(value, key, stored.stream_id, name, broken)
  }
  if (type === 'TaskDeleted' || type === 'TaskRestored') to.deleted = type === 'TaskDeleted'
  return to
}

function keepFacts({ type, unreadable }: EventLine, to: Json, state: StreamState): void {
  state.facts ??= {}
  const facts = type === 'TaskCreated' ? { ...to, photos: [], deleted: false } : to
  for (const [name, value] of Object.entries(facts)) {
    // The next event may show what could not be read here.
    if (unreadable && isText(name) && value === null) delete state.facts[name]
    else state.facts[name] = brief(value)
  }
}

const isText = (name: string): boolean => TEXTS.includes(name)

/** A text of a user, encrypted with a key that is gone once the user is erased. */
type Encrypted = { readonly user?: unknown; readonly cipher?: unknown }

const isEncrypted = (value: unknown): value is Encrypted =>
  typeof value === 'object' && value !== null && 'cipher' in value

/** Users whose key is reported as destroyed. */
export const usersErasedIn = ({ erased, stored: { data }, text_keys }: EventLine): unknown[] =>
  TEXTS.flatMap((name) => {
    const text = data[name]
    return erased && isEncrypted(text) && text_keys[name] === undefined ? [text.user] : []
  })

const UTF_8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const NONCE = Buffer.alloc(12)
const TAG = { authTagLength: 16 }

/** base64url of salt (16 bytes), ciphertext and tag (16 bytes), AES-256-GCM, each key used once. */
function decrypt(
  { cipher }: Encrypted,
  key: unknown,
  stream_id: string,
  name: string,
  broken: Fault,
): string {
  try {
    const sealed = Buffer.from(cipher as string, 'base64url')
    // Node takes much longer to make one itself, of bytes.
    const secret = createSecretKey(Buffer.from(key as string, 'base64url'))
    const decipher = createDecipheriv('aes-256-gcm', secret, NONCE, TAG)
    decipher.setAAD(Buffer.from(`${stream_id}/${name}`))
    decipher.setAuthTag(sealed.subarray(-16))
    const text = decipher.update(sealed.subarray(16, -16))
    return UTF_8.decode(Buffer.concat([text, decipher.final()]))
  } catch {
    throw broken(`the key of its ${name} does not open the stored text`)
  }
}

/** Enough of a value to recognise it. */
function brief(value: unknown): string {
  const text = JSON.stringify(value ?? null)
  return text.length <= 32 ? text : sha256(text).toString('base64')
}
const NULL = brief(null)
