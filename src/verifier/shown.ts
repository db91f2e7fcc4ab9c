import { createDecipheriv, createSecretKey } from 'node:crypto'
import { sha256 } from '../transparency-log/tree.ts'
import type { ExportLine } from './export-lines.ts'
import { Broken } from './failures.ts'
import { canonical } from './formats.ts'
import type { StreamState } from './trail.ts'

export const TEXTS = ['title', 'description'] as const

type Fault = (why: string) => Broken

/**
 * Checks that a line shows what its stored event says. Returns the fields whose previous value is not proven.
 */
export function requireShown(line: ExportLine, state: StreamState): readonly string[] {
  const { version, position, changes, stored } = line
  const place = { stream_id: stored.stream_id, version, position }
  const broken: Fault = (why) => new Broken(place, `is changed: ${why}.`)
  requireForm(line, broken)
  const to = storedValues(line, broken)
  const names = Object.keys(to)
  if (Object.keys(changes).length !== names.length) {
    throw broken('its changes are not those of its stored fields')
  }
  const unproven = names.filter((name) => !isProven(name, line, to[name], state, broken))
  const facts = line.type === 'TaskCreated' ? { ...to, deleted: false } : to
  state.facts ??= {}
  for (const [name, value] of Object.entries(facts)) {
    // The next event may show what could not be read here.
    if (line.unreadable && isText(name) && value === null) delete state.facts[name]
    else state.facts[name] = brief(value)
  }
  return unproven
}

function requireForm(line: ExportLine, broken: Fault): void {
  const { stored } = line
  const { stream_id, data } = stored
  const isOfStream =
    line.task_id === null ? /^user-\d+$/.test(stream_id) : stream_id === `task-${line.task_id}`
  if (!isOfStream) throw broken('its task_id does not match its stream')
  // The database gives an event a single time, which its hash covers.
  if (line.recorded_at !== line.occurred_at) throw broken('its recorded_at is not its occurred_at')
  if (line.request_id !== stored.metadata.request_id) {
    throw broken('its request_id is not the stored one')
  }
  if (
    line.undoes !== data.undoes &&
    canonical(line.undoes ?? null) !== canonical(data.undoes ?? null)
  ) {
    throw broken('its undoes are not the stored ones')
  }
  const strange = Object.keys(line.text_keys).find((name) => !isEncrypted(data[name]))
  if (strange !== undefined)
    throw broken(`it has a key for "${strange}", which is no encrypted text`)
}

/** Whether the value before the change is known; the one after it always is. */
function isProven(
  name: string,
  { version, erased, unreadable, changes }: ExportLine,
  to: unknown,
  { facts }: StreamState,
  broken: Fault,
): boolean {
  const change = changes[name]
  if (change?.to !== to) {
    throw broken(`its changes.${name}.to is not what is stored`)
  }
  const from = version === 1 ? brief(null) : facts?.[name]
  if (from === brief(change?.from)) return true
  const mayBeMissing = (erased === true || unreadable === true) && isText(name)
  if (from !== undefined && !(mayBeMissing && change?.from === null)) {
    throw broken(`its changes.${name}.from is not the value before it`)
  }
  return false
}

const isText = (name: string): boolean => TEXTS.some((text) => text === name)

/** What changes should say: the stored values, with the texts decrypted where their keys are present. */
function storedValues(
  { type, stored, text_keys, erased, unreadable }: ExportLine,
  broken: Fault,
): Readonly<Record<string, unknown>> {
  const { user_id, undoes, ...data } = stored.data
  const to = Object.entries(data).map(([name, value]): [string, unknown] => {
    if (!isEncrypted(value)) return [name, value]
    const key = text_keys[name]
    if (key !== undefined && erased === true && unreadable !== true) {
      throw broken(`it is marked as erased, but its ${name} can be read`)
    }
    if (key !== undefined) return [name, decrypt(value, key, stored.stream_id, name, broken)]
    if (erased !== true && unreadable !== true)
      throw broken(`the key of its ${name} is missing, though it is not marked as erased`)
    return [name, null]
  })
  if (type === 'TaskDeleted') to.push(['deleted', true])
  if (type === 'TaskRestored') to.push(['deleted', false])
  return Object.fromEntries(to)
}

type Encrypted = { readonly cipher: string; readonly user: unknown }

export const isEncrypted = (value: unknown): value is Encrypted =>
  typeof value === 'object' && value !== null && 'cipher' in value

const UTF_8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** base64url of salt (16 bytes), ciphertext and tag (16 bytes), AES-256-GCM, each key used once. */
function decrypt(
  { cipher }: Encrypted,
  key: string,
  stream_id: string,
  name: string,
  broken: Fault,
): string {
  try {
    const sealed = Buffer.from(cipher, 'base64url')
    const options = { authTagLength: 16 }
    // Of bytes, Node would make the same in a slower way.
    const secret = createSecretKey(Buffer.from(key, 'base64url'))
    const decipher = createDecipheriv('aes-256-gcm', secret, Buffer.alloc(12), options)
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
  const text = JSON.stringify(value)
  return text.length <= 32 ? text : sha256(text).toString('base64')
}
