#!/usr/bin/env node
// Made by "npm run build:verifier" of src/verify-audit.ts and src/verifier: change it there.
/**
 * Checks an export of the audit trail (NDJSON), offline:
 *
 *   node verify-audit.mjs export.ndjson --key public.pem [--key older.pem] [--seal number:hash]
 *
 * It needs only Node 20 or newer. It trusts only the public keys, and the seals that were kept elsewhere.
 * It recomputes each event's hash, follows each chain, decrypts each text with the key beside it and
 * compares it, and checks each seal against its signature and the events. The trailer is not signed: it is
 * only compared with the rest. `npm run audit:verify` checks a database with the same functions.
 */

// src/command-line.ts
import { parseArgs } from 'node:util'

/** The command line does not match the usage. */
var UsageError = class extends Error {}

/**
 * Parses the command line. Ends the process with 0 after `--help`, and with 2 and one sentence if the
 * arguments do not match the usage. So call it before anything that has an effect.
 */
function commandLine(line) {
  const args2 = process.argv.slice(2)
  if (args2.includes('--help') || args2.includes('-h')) {
    console.log(line.usage)
    process.exit(0)
  }
  try {
    return parse(line, args2)
  } catch (error) {
    return refuse(line.usage, error)
  }
}
function parse({ options, takes: [least, most] = [0, 0] }, words) {
  const config = { args: [...words], options: options ?? {}, allowPositionals: true }
  const { values: values2, positionals } = parseArgs(config)
  const extra = positionals[most]
  if (extra !== undefined) throw new UsageError(`Unexpected argument '${extra}'.`)
  if (positionals.length < least) throw new UsageError('An argument is missing.')
  return { values: values2, args: positionals }
}
function refuse(usage, error) {
  const [what = ''] = error instanceof UsageError ? [error.message] : error.message.split(/\.\s|\n/)
  console.error(`${what.replace(/\.$/, '')}.

${usage}`)
  process.exit(2)
}

/** As `commandLine`, for a command whose arguments are whole numbers above zero. */

/**
 * Runs a command and prints the lines that it returns. If it fails, it says why in one sentence and exits
 * with 1; after wrong usage with 2.
 */

// src/verifier/export-file.ts
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'

// src/verifier/failures.ts

/** An event, a seal or the whole is not as it was. */
var Broken = class extends Error {
  place
  constructor(place, why) {
    super(`${nameOf(place)} ${why}`)
    this.place = place
  }
}

/** It cannot be checked at all. */
var Unreadable = class extends Error {}

/** Nothing that is present is broken, but something is missing, so nothing is proven about it. */
var Incomplete = class extends Error {}
function nameOf({ stream_id, version, position, seal, line, table, id: id2 }) {
  if (table !== undefined) return id2 === undefined ? `The table ${table}` : `${table} ${id2}`
  if (line !== undefined) return `Line ${line}`
  if (stream_id === undefined) return seal === undefined ? 'The export' : `Seal ${seal}`
  const event = version === undefined ? stream_id : `${stream_id} version ${version}`
  return position === undefined || position === null ? event : `${event} (position ${position})`
}
var placeOf = ({ stream_id, version, position }) => ({
  stream_id,
  version,
  position,
})

// src/verifier/formats.ts
import { createHash, createPublicKey } from 'node:crypto'

/** Canonical JSON (RFC 8785). */
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`)
  return `{${members.join(',')}}`
}
var HASH = /^[0-9a-f]{64}$/
var sha256 = (bytes) => createHash('sha256').update(bytes).digest()
function eventHash(event) {
  const { stream_id, version, event_id, type, schema_version, data } = event
  const { actor_id, metadata, occurred_at, prev_hash } = event
  const facts = { stream_id, version, event_id, type, schema_version, data }
  return createHash('sha256')
    .update(prev_hash ?? '', 'hex')
    .update(canonical({ ...facts, actor_id, metadata, occurred_at }))
    .digest('hex')
}
var eventDigest = ({ position, recorded_at, hash: hash2 }) =>
  sha256(`${position}/${recorded_at}/${hash2}`)
var headDigest = (head) =>
  typeof head === 'string' ? Buffer.from(head, 'hex') : sha256(head.join('/'))
function sealHash(seal, heads_digest) {
  const { number, position, events, events_digest, records_digest, sealed_at, previous, key_id } =
    seal
  const covered = {
    number,
    position,
    events,
    events_digest,
    heads_digest,
    records_digest,
    sealed_at,
  }
  return sha256(canonical({ ...covered, previous, key_id }))
}

/** Error: `Unreadable`. */
function readKey(pem) {
  const key = publicKey(pem)
  if (key.asymmetricKeyType !== 'ed25519') throw new Unreadable('A key is not an Ed25519 key.')
  const id2 = sha256(key.export({ format: 'der', type: 'spki' })).toString('hex')
  return { key, id: id2.slice(0, 16) }
}
function publicKey(pem) {
  try {
    return createPublicKey(pem)
  } catch {
    throw new Unreadable('A key is not a public key in PEM.')
  }
}

// src/verifier/shapes.ts
var is = (what, test) => (value, name) => {
  if (value === undefined) return `it lacks ${name}`
  return test(value) ? null : `its ${name} is not ${what}`
}
var isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value)
var isMoment = (value) =>
  typeof value === 'string' &&
  /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(value) &&
  isDate(value)
var isDate = (text2) => {
  const date = new Date(text2)
  return !Number.isNaN(date.getTime()) && date.toISOString() === text2
}
var text = is('a text', (value) => typeof value === 'string')
var count = is('a count', (value) => Number.isSafeInteger(value) && Number(value) >= 0)
var id = is('a whole number above 0', (value) => Number.isSafeInteger(value) && Number(value) > 0)
var moment = is('a time in UTC with milliseconds', isMoment)
var hash = is('a hash of 64 hex digits', (value) => typeof value === 'string' && HASH.test(value))
var hex = is('hex', (value) => typeof value === 'string' && /^([0-9a-f]{2})*$/.test(value))
var flag = is('true', (value) => value === true)
var json = is('an object', isObject)

/** The values that a field of a task can have. */
var scalar = is(
  'a text, true, false or null',
  (value) => value === null || typeof value === 'string' || typeof value === 'boolean',
)
var matching = (pattern) =>
  is(`of the form ${pattern.source}`, (value) => typeof value === 'string' && pattern.test(value))
var optional = (shape) => (value, name) => (value === undefined ? null : shape(value, name))
var nullable = (shape) => (value, name) => (value === null ? null : shape(value, name))
var first = (faults) => {
  for (const fault of faults) if (fault !== null) return fault
  return null
}
var listOf = (shape) => (value, name) => {
  if (!Array.isArray(value)) return is('a list', () => false)(value, name)
  return first(value.map((item, index) => shape(item, `${name}[${index}]`)))
}
var tuple =
  (...shapes) =>
  (value, name) => {
    if (!Array.isArray(value) || value.length !== shapes.length) {
      return is(`a list of ${shapes.length}`, () => false)(value, name)
    }
    return first(shapes.map((shape, index) => shape(value[index], `${name}[${index}]`)))
  }
var recordOf = (shape) => (value, name) => {
  if (!isObject(value)) return json(value, name)
  return first(Object.entries(value).map(([key, member]) => shape(member, `${name}.${key}`)))
}

/** It has these fields; other fields are not checked. */
var fields = (shapes) => (value, name) => {
  if (!isObject(value)) return json(value, name === '' ? 'value' : name)
  return first(
    Object.entries(shapes).map(([field, shape]) =>
      shape(
        Object.hasOwn(value, field) ? value[field] : undefined,
        name === '' ? field : `${name}.${field}`,
      ),
    ),
  )
}

// src/verifier/export-lines.ts
function eventOf(line) {
  const { position, version, type, occurred_at, recorded_at, hash: hash2, stored } = line
  const shown = { position, version, type, occurred_at, recorded_at, hash: hash2 }
  return { ...stored, ...shown, actor_id: line.actor.user_id, line }
}
var CHANGE = fields({ from: scalar, to: scalar })
var HEAD = tuple(text, id, hash)
var LINE = fields({
  position: id,
  task_id: nullable(id),
  version: id,
  type: text,
  actor: fields({ user_id: id }),
  occurred_at: moment,
  recorded_at: moment,
  request_id: text,
  changes: recordOf(CHANGE),
  undoes: optional(listOf(id)),
  erased: optional(flag),
  unreadable: optional(flag),
  hash,
  stored: fields({
    stream_id: text,
    event_id: text,
    schema_version: id,
    data: json,
    metadata: json,
    prev_hash: nullable(hash),
  }),
  text_keys: recordOf(text),
})
var TRAILER = {
  count,
  position: count,
  exported_at: moment,
  exported_by: id,
  query: json,
  parked: listOf(tuple(text, id)),
  heads: listOf(HEAD),
  seals: listOf(json),
}
var SEAL = {
  number: id,
  position: count,
  events: count,
  events_digest: hash,
  records_digest: hash,
  heads: listOf((head, name) => (typeof head === 'string' ? hash : HEAD)(head, name)),
  sealed_at: moment,
  previous: nullable(hash),
  hash,
  key_id: text,
  signature: hex,
}

/** Why a line is not an event of an export; null if it is one. */
var faultInLine = (line) => LINE(line, '')
var faultInTrailer = (trailer) => fields(TRAILER)(trailer, '')
var faultInSeal = (seal) => fields(SEAL)(seal, '')

/** A field that nothing covers would pass for checked. */
function requireFields(value, known, broken) {
  const strange = Object.keys(value).find((name) => !known.includes(name))
  if (strange !== undefined) throw broken(`it has a field "${strange}" that no export writes`)
}
function parse2(text2) {
  try {
    return JSON.parse(text2)
  } catch {
    return undefined
  }
}

/**
 * Refuses a key that occurs twice, and a number that parsing would round: a program would read other facts
 * than were hashed. JSON.stringify writes neither.
 */
function requireSingleKeys(text2, line, place) {
  if (text2 === JSON.stringify(line)) return
  const stack = []
  let wasKey = ''
  for (const [token] of text2.matchAll(/"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\]:]|[^\s"{}[\]:,]+/g)) {
    if (token === '{' || token === '[') stack.push(new Set())
    else if (token === '}' || token === ']') stack.pop()
    else if (token === ':') {
      const key = JSON.parse(wasKey)
      if (stack.at(-1)?.has(key)) throw new Broken(place, `has "${key}" twice.`)
      stack.at(-1)?.add(key)
    } else if (/^[-\d]/.test(token) && JSON.stringify(JSON.parse(token)) !== token) {
      throw new Broken(place, `has the number ${token}, which no export writes.`)
    } else wasKey = token
  }
}

// src/verifier/shown.ts
import { createDecipheriv } from 'node:crypto'
var TEXTS = ['title', 'description']
var SHOWN = [
  ...['position', 'task_id', 'version', 'type', 'actor', 'occurred_at', 'recorded_at'],
  ...['request_id', 'changes', 'undoes', 'erased', 'unreadable', 'hash', 'stored', 'text_keys'],
]
var STORED = ['stream_id', 'event_id', 'schema_version', 'data', 'metadata', 'prev_hash']

/**
 * Checks that a line shows what its stored event says. Returns the fields whose previous value is not proven.
 */
function requireShown(line, state) {
  const { version, position, changes, stored } = line
  const place = { stream_id: stored.stream_id, version, position }
  const broken = (why) => new Broken(place, `is changed: ${why}.`)
  requireForm(line, broken)
  const to = storedValues(line, broken)
  const names = Object.keys(to)
  if (canonical(Object.keys(changes).sort()) !== canonical([...names].sort())) {
    throw broken('its changes are not those of its stored fields')
  }
  const unproven = names.filter((name) => !isProven(name, line, to[name], state, broken))
  const facts = line.type === 'TaskCreated' ? { ...to, deleted: false } : to
  state.facts ??= {}
  for (const [name, value] of Object.entries(facts)) {
    if (line.unreadable && isText(name) && value === null) delete state.facts[name]
    else state.facts[name] = brief(value)
  }
  return unproven
}
function requireForm(line, broken) {
  const { stored, changes } = line
  const { stream_id, data } = stored
  const isOfStream =
    line.task_id === null ? /^user-\d+$/.test(stream_id) : stream_id === `task-${line.task_id}`
  if (!isOfStream) throw broken('its task_id does not match its stream')
  if (line.recorded_at !== line.occurred_at) throw broken('its recorded_at is not its occurred_at')
  if (line.request_id !== stored.metadata.request_id) {
    throw broken('its request_id is not the stored one')
  }
  if (canonical(line.undoes ?? null) !== canonical(data.undoes ?? null)) {
    throw broken('its undoes are not the stored ones')
  }
  const encrypted = Object.keys(data).filter((name) => isEncrypted(data[name]))
  requireFields(line, SHOWN, broken)
  requireFields(line.actor, ['user_id'], broken)
  requireFields(stored, STORED, broken)
  requireFields(line.text_keys, encrypted, broken)
  for (const change of Object.values(changes)) requireFields(change, ['from', 'to'], broken)
}

/** Whether the value before the change is known; the one after it always is. */
function isProven(name, { version, erased, unreadable, changes }, to, { facts }, broken) {
  const change = changes[name]
  if (canonical(change?.to) !== canonical(to)) {
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
var isText = (name) => TEXTS.some((text2) => text2 === name)

/** What changes should say: the stored values, with the texts decrypted where their keys are present. */
function storedValues({ type, stored, text_keys, erased, unreadable }, broken) {
  const { user_id, undoes, ...data } = stored.data
  const to = Object.entries(data).map(([name, value]) => {
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
var isEncrypted = (value) => typeof value === 'object' && value !== null && 'cipher' in value
var UTF_8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** base64url of salt (16 bytes), ciphertext and tag (16 bytes), AES-256-GCM, each key used once. */
function decrypt({ cipher }, key, stream_id, name, broken) {
  try {
    const sealed = Buffer.from(cipher, 'base64url')
    const options = { authTagLength: 16 }
    const secret = Buffer.from(key, 'base64url')
    const decipher = createDecipheriv('aes-256-gcm', secret, Buffer.alloc(12), options)
    decipher.setAAD(Buffer.from(`${stream_id}/${name}`))
    decipher.setAuthTag(sealed.subarray(-16))
    const text2 = decipher.update(sealed.subarray(16, -16))
    return UTF_8.decode(Buffer.concat([text2, decipher.final()]))
  } catch {
    throw broken(`the key of its ${name} does not open the stored text`)
  }
}

/** Enough of a value to recognise it. */
function brief(value) {
  const text2 = canonical(value)
  return text2.length <= 32 ? text2 : sha256(text2).toString('base64')
}

// src/verifier/filters.ts
var ANYWHERE = ['start', 'middle', 'end']

/** The filters of an export. Not every event names the owner of its task; times in a stream never go backwards. */
var FILTERS = {
  user_id: {
    value: id,
    finds: ({ stored: { stream_id, data } }, user_id) =>
      stream_id.startsWith('user-')
        ? stream_id === `user-${user_id}`
        : [data.user_id, ...TEXTS.map((name) => userOf(data[name]))].every(
            (user) => user === undefined || user === user_id,
          ),
    leavesOut: [],
  },
  task_id: {
    value: id,
    finds: ({ task_id }, id2) => task_id === id2,
    leavesOut: [],
  },
  actor_id: {
    value: id,
    finds: ({ actor }, id2) => actor.user_id === id2,
    leavesOut: ANYWHERE,
  },
  type: {
    value: listOf(matching(/^[A-Z][A-Za-z]{0,99}$/)),
    finds: ({ type }, types) => Array.isArray(types) && types.includes(type),
    leavesOut: ANYWHERE,
  },
  from: {
    value: moment,
    finds: ({ recorded_at }, time) => recorded_at >= String(time),
    leavesOut: ['start'],
  },
  to: {
    value: moment,
    finds: ({ recorded_at }, time) => recorded_at < String(time),
    leavesOut: ['end'],
  },
  request_id: {
    value: matching(/^[A-Za-z0-9._-]{1,128}$/),
    finds: ({ request_id }, id2) => request_id === id2,
    leavesOut: ANYWHERE,
  },
}

/** An unknown filter would excuse missing events. */
function requireFilters(query, broken) {
  requireFields(query, Object.keys(FILTERS), broken)
  for (const [name, value] of Object.entries(query)) {
    const fault = FILTERS[name]?.value(value, `query.${name}`) ?? null
    if (fault !== null) throw broken(fault)
  }
}
var partsLeftOut = (query) =>
  new Set(Object.keys(query).flatMap((name) => FILTERS[name]?.leavesOut ?? []))

/** The filter that a line does not match, if there is one. */
var unmetFilter = (line, filters) =>
  filters.find(([name, value]) => !FILTERS[name]?.finds(line, value))
var inWords = ([name, value]) => `${name}=${JSON.stringify(value)}`
var userOf = (text2) =>
  typeof text2 === 'object' && text2 !== null && 'user' in text2 ? text2.user : undefined

// src/verifier/wrong-file.ts
var COMPRESSED = {
  gzip: [31, 139],
  zstd: [40, 181, 47, 253],
  zip: [80, 75, 3, 4],
  bzip2: [66, 90, 104],
  xz: [253, 55, 122, 88, 90],
}
var ENCODED = {
  'UTF-32': [
    [255, 254, 0, 0],
    [0, 0, 254, 255],
  ],
  'UTF-16': [
    [255, 254],
    [254, 255],
    [123, 0],
    [0, 123],
  ],
}
var AGAIN = 'export it again with "Accept: application/x-ndjson"'

/** Why a file that begins like this is not an export; undefined if it may be one. */
function wrongFile(head) {
  const begins = (bytes) => bytes.every((byte, index) => head[index] === byte)
  for (const [name, bytes] of Object.entries(COMPRESSED)) {
    if (begins(bytes)) return `is compressed with ${name}: unpack it first.`
  }
  for (const [name, marks] of Object.entries(ENCODED)) {
    if (marks.some(begins)) {
      return `is encoded in ${name}, as ">" in Windows PowerShell writes it: save the answer unchanged (curl --output), in UTF-8.`
    }
  }
  return wrongText(
    head
      .toString()
      .replace(/^\uFEFF/, '')
      .trimStart(),
  )
}
function wrongText(text2) {
  if (/^("?position"?)[,;\t]/.test(text2)) {
    return `is not an NDJSON export. A CSV export cannot be verified: ${AGAIN}.`
  }
  if (text2.startsWith('<')) {
    return `is a page of HTML or XML, not an export: something answered in the service's place.`
  }
  if (/^\{\s*"events"\s*:/.test(text2)) return `is a page of JSON, not an export: ${AGAIN}.`
  if (/^\{\s*"(error|title|status|code|message)"\s*:/.test(text2) || isProblem(text2)) {
    return `is not an export but a refusal of one${reasonIn(text2)}.`
  }
  if (!text2.startsWith('{')) return `is not an NDJSON export: it does not begin with "{".`
  return undefined
}

/** RFC 9457; an event has a type too, but that is not a URI. */
var isProblem = (text2) => /^\{\s*"type"\s*:\s*"(about:|https?:|\/)/.test(text2)
function reasonIn(text2) {
  const answer = parse2(text2)
  if (!isObject(answer)) return ''
  const reason = answer.message ?? answer.detail ?? answer.error ?? answer.title
  return typeof reason === 'string' ? `: "${reason}"` : ''
}

// src/verifier/export-file.ts
var NEWLINE = 10
var CHUNK = 65536

/** Enough to recognise a file that is not an export. */
var HEAD2 = 4096
var UTF_82 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Without a byte order mark at the beginning of the file, and without the line ending. */
function textOf(bytes, what) {
  try {
    return UTF_82.decode(bytes)
      .replace(/^\uFEFF/, '')
      .trimEnd()
  } catch {
    throw new Unreadable(
      `${what} is not UTF-8: the file was saved in another encoding, or it is damaged.`,
    )
  }
}

/** Lines that are not blank, by number. Only a newline ends one: a title may contain other line breaks. */
async function* linesOf(file) {
  let number = 0
  let begun = []
  const line = (end) => {
    const bytes = begun.length === 0 ? end : Buffer.concat([...begun, end])
    begun = []
    number++
    return [number, textOf(bytes, `Line ${number}`)]
  }
  for await (const chunk of createReadStream(file)) {
    let start = 0
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      const [at2, text3] = line(chunk.subarray(start, end))
      if (text3 !== '') yield [at2, text3]
      start = end + 1
    }
    if (start < chunk.length) begun.push(chunk.subarray(start))
  }
  const [at, text2] = line(Buffer.alloc(0))
  if (text2 !== '') yield [at, text2]
}

/** All lines but the last, the trailer, which has been read already and may be long. */
async function* readEvents(file) {
  let before
  for await (const line of linesOf(file)) {
    if (before !== undefined) yield [readEvent(...before)]
    before = line
  }
}
function readEvent(number, text2) {
  const line = parse2(text2)
  if (line === undefined) throw new Unreadable(`Line ${number} is not a line of an NDJSON export.`)
  if (isObject(line) && line.stored === null) {
    const { task_id, version, position } = line
    const stream_id = task_id === null ? 'A user' : `task-${task_id}`
    const place = { stream_id, version: Number(version), position: Number(position) }
    throw new Broken(place, 'is shown, but the exported log does not hold it.')
  }
  const fault = faultInLine(line)
  if (fault !== null)
    throw new Broken(placeIn(line, number), `is not an event of an export: ${fault}.`)
  const event = eventOf(line)
  requireSingleKeys(text2, line, placeOf(event))
  return event
}

/** The event of a line, if the line names it. */
function placeIn(line, number) {
  const { version, position, stored } = isObject(line) ? line : {}
  const { stream_id } = isObject(stored) ? stored : {}
  const isEvent =
    typeof stream_id === 'string' && Number.isSafeInteger(version) && Number.isSafeInteger(position)
  return isEvent
    ? { stream_id, version: Number(version), position: Number(position) }
    : { line: number }
}

/** Reads the trailer, the last line, before the first one: the checks need it. Error: `Unreadable`. */
async function readTrailer(file) {
  const unreadable = (error) => {
    if (error.code === undefined) throw error
    throw new Unreadable(`${file} cannot be read (${error.code}).`)
  }
  const handle = await open(file).catch(unreadable)
  try {
    const end = await requireExport(file, handle)
    const text2 = textOf(await lastLine(handle, end), 'Its last line')
    const line = parse2(text2)
    if (!isObject(line) || !Object.hasOwn(line, 'trailer')) {
      throw new Unreadable(`${file} is cut off: its last line is not the trailer.`)
    }
    return trailerIn(text2, line)
  } catch (error) {
    return unreadable(error)
  } finally {
    await handle.close()
  }
}

/** Refuses a file whose beginning shows that it is something else; returns where its last line ends. */
async function requireExport(file, handle) {
  const stat = await handle.stat()
  if (!stat.isFile() && !stat.isDirectory()) {
    throw new Unreadable(
      `${file} is not a regular file: an export is read twice, so save it first.`,
    )
  }
  const head = Buffer.alloc(HEAD2)
  const { bytesRead } = await handle.read(head, 0, HEAD2, 0)
  const end = await contentEnd(handle, stat.size)
  if (end === 0) throw new Unreadable(`${file} is empty.`)
  const wrong = wrongFile(head.subarray(0, bytesRead))
  if (wrong !== undefined) throw new Unreadable(`${file} ${wrong}`)
  return end
}

/** Where the last line that is not blank ends. */
async function contentEnd(handle, size) {
  for (let end = size; end > 0; end -= CHUNK) {
    const start = Math.max(0, end - CHUNK)
    const text2 = (await bytesOf(handle, start, end)).toString('latin1').trimEnd()
    if (text2 !== '') return start + text2.length
  }
  return 0
}
async function lastLine(handle, lineEnd) {
  const chunks = []
  for (let end = lineEnd; end > 0; end -= CHUNK) {
    const chunk = await bytesOf(handle, Math.max(0, end - CHUNK), end)
    const before = chunk.lastIndexOf(NEWLINE)
    chunks.unshift(chunk.subarray(before + 1))
    if (before !== -1) break
  }
  return Buffer.concat(chunks)
}
async function bytesOf(handle, start, end) {
  const bytes = Buffer.alloc(end - start)
  await handle.read(bytes, 0, bytes.length, start)
  return bytes
}

/** Its contents are printed, and decide what is required of the rest. */
function trailerIn(text2, line) {
  const broken = (why) => new Broken({}, `has a changed trailer: ${why}.`)
  requireSingleKeys(text2, line, {})
  requireFields(line, ['trailer'], broken)
  const fault = faultInTrailer(line.trailer)
  if (fault !== null) throw broken(fault)
  const trailer = line.trailer
  requireFields(trailer, Object.keys(TRAILER), broken)
  requireFilters(trailer.query, broken)
  for (const seal of trailer.seals) {
    const fault2 = faultInSeal(seal)
    if (fault2 !== null && Number.isSafeInteger(seal.number)) {
      throw new Broken({ seal: seal.number }, `is changed: ${fault2}.`)
    }
    if (fault2 !== null) throw broken(`a seal is malformed: ${fault2}`)
    requireFields(seal, Object.keys(SEAL), broken)
  }
  return trailer
}

// src/verifier/seals.ts
import { verify as isSignature } from 'node:crypto'
var isShown = (head) => typeof head !== 'string'
var isHead = (head) =>
  Array.isArray(head) &&
  head.length === 3 &&
  typeof head[0] === 'string' &&
  Number.isSafeInteger(head[1]) &&
  typeof head[2] === 'string'
var isSeal = ({ heads, signature }) =>
  Array.isArray(heads) &&
  heads.every((head) => (isShown(head) ? isHead(head) : HASH.test(head))) &&
  typeof signature === 'string' &&
  /^([0-9a-f]{2})*$/.test(signature)

/** Checks a seal by itself and as the successor of the one before it. */
function requireSeal(seal, before, keys, whole) {
  const broken = (why) => new Broken({ seal: seal.number }, why)
  if (!isSeal(seal)) throw broken('is changed: it does not have the form of a seal.')
  const number = (before?.number ?? 0) + 1
  if (whole ? seal.number !== number : !(seal.number >= number)) {
    throw broken(`is in the place of seal ${number}.`)
  }
  if (seal.number === number && seal.previous !== (before?.hash ?? null)) {
    throw broken('is not chained to the seal before it.')
  }
  const after = before?.position ?? 0
  const isInPlace =
    seal.events > 0
      ? seal.position > after
      : seal.position === after || (seal.number !== number && seal.position > after)
  if (!isInPlace) throw broken('covers no position of its own.')
  if (!areInOrder(seal.heads.filter(isShown))) throw broken('does not list its streams in order.')
  const heads_digest = sha256(Buffer.concat(seal.heads.map(headDigest))).toString('hex')
  if (seal.heads_digest !== undefined && seal.heads_digest !== heads_digest) {
    throw broken('is changed: its digest does not match its streams.')
  }
  const hash2 = sealHash(seal, heads_digest)
  if (hash2.toString('hex') !== seal.hash) {
    throw broken('is changed: its hash does not match its contents.')
  }
  const known = keys.find(({ id: id2 }) => id2 === seal.key_id)
  if (known === undefined) {
    const ids = keys.map(({ id: id2 }) => id2).join(', ')
    throw broken(`is signed by the key ${seal.key_id}, which is not among those given (${ids}).`)
  }
  if (!isSignature(null, hash2, known.key, Buffer.from(seal.signature, 'hex'))) {
    throw broken(`is not signed by the key ${seal.key_id}, as it says.`)
  }
}
function areInOrder(heads) {
  const ids = heads.map(([stream_id]) => Buffer.from(stream_id))
  return ids.every((id2, index) => {
    const before = ids[index - 1]
    return before === undefined || id2.compare(before) > 0
  })
}
var MARK_BYTES = 46
var changedMarks = ({ number }) =>
  new Broken({ seal: number }, 'is changed: its marks are not the original ones.')

/**
 * Which event was at each position when the seal was made. Its signed digest proves all but the streams.
 */
function readMarks(seal, marks) {
  const { events, events_digest, heads } = seal
  if (marks.length !== events * MARK_BYTES) throw changedMarks(seal)
  const expected = Array.from({ length: events }, (_, index) => {
    const start = index * MARK_BYTES
    const position = marks.readUIntBE(start, 6)
    const recorded_at = new Date(marks.readUIntBE(start + 8, 6)).toISOString()
    const hash2 = marks.toString('hex', start + 14, start + MARK_BYTES)
    const stream_id = heads[marks.readUInt16BE(start + 6)]?.[0]
    if (stream_id === undefined) throw changedMarks(seal)
    return {
      position,
      stream_id,
      hash: hash2,
      digest: eventDigest({ position, recorded_at, hash: hash2 }),
    }
  })
  const proof = sha256(Buffer.concat(expected.map(({ digest }) => digest))).toString('hex')
  if (proof !== events_digest) throw changedMarks(seal)
  return expected
}

// src/verifier/open-seal.ts
import { createHash as createHash2 } from 'node:crypto'

/** `after`: position of the last event before it. */
function openSeal(seal, after) {
  const shown = new Set(seal.heads.filter(isShown).map(([stream_id]) => stream_id))
  const marks_read = seal.marks === undefined ? null : readMarks(seal, seal.marks)
  return { ...seal, shown, found: 0, digest: createHash2('sha256'), after, marks_read }
}
function addToSeal(seal, event, mark) {
  const digest = eventDigest(event)
  if (mark !== undefined && !digest.equals(mark.digest)) {
    const why = `is not what seal ${seal.number} covers: it was rewritten, hash and all.`
    throw new Broken(placeOf(event), why)
  }
  if (!seal.shown.has(event.stream_id)) {
    const why = `is among the events that seal ${seal.number} covers, but its stream is not in that seal.`
    throw new Broken(placeOf(event), why)
  }
  seal.digest.update(digest)
  seal.found++
}
function requireCovered(seal, whole, someParked) {
  const { number, found, events, position, after } = seal
  const range = `from position ${after + 1} to ${position}`
  if (found === 0 && events > 0 && !whole && !someParked) {
    throw new Broken({ seal: number }, 'covers no event of the export.')
  }
  if (found > events || (whole && found < events)) {
    const why = `covers ${events} events ${range}, but there are ${found}.`
    throw new Broken({ seal: number }, why)
  }
  if (found === events && seal.digest.digest('hex') !== seal.events_digest) {
    const why = `does not cover the events ${range} as they are: a position or a time was changed.`
    throw new Broken({ seal: number }, why)
  }
}

/** A stream that is present as far as the seal covers it must end there as the seal says. */
function requireSealedHead(seal, state, [stream_id, version, hash2]) {
  const last = { stream_id, version: state.version, position: state.position }
  if (state.version > version) {
    throw new Broken(last, `was not there when seal ${seal.number} was made.`)
  }
  if (state.hash === hash2) return
  const first2 = state.proven + 1
  const what = first2 === version ? 'it' : `one of versions ${first2} to ${version}`
  const why = `is not what seal ${seal.number} covers: ${what} was rewritten, hash and all.`
  throw new Broken(last, why)
}

// src/verifier/trail.ts

/**
 * Follows events in the order of their positions, and the seals among them. Keeps a little for each stream
 * and nothing for each event.
 */
function follow(options) {
  const { keys, leftOut, whole, parked = new Map(), kept = new Map(), inspect } = options
  const streams = new Map()
  const unmet = new Map(kept)
  const signers = []
  const loose = []
  let lastSeal = null
  let [events, sealed, gaps, seals, at] = [0, 0, 0, 0, 0]
  let seal = null
  const begin = (next) => {
    requireSeal(next, lastSeal, keys, whole)
    requireAsKept(next)
    seal = openSeal(next, at)
  }
  const requireAsKept = ({ number, hash: hash2 }) => {
    const known = unmet.get(number)
    if (known !== undefined && known !== hash2) {
      throw new Broken({ seal: number }, `is not the one that was kept: ${known}.`)
    }
    unmet.delete(number)
  }
  const add = (event) => {
    const { stream_id, version, position, prev_hash, hash: hash2 } = event
    if (!(position > at)) throw new Broken(placeOf(event), `comes after position ${at}.`)
    const state = streams.get(stream_id) ?? newState()
    const mark = seal?.marks_read?.[seal.found]
    if (seal?.marks_read) requireNoneBefore(seal, event, mark)
    const isLink = prev_hash === null || HASH.test(prev_hash)
    if (!isLink || eventHash(event) !== hash2) {
      throw new Broken(placeOf(event), 'is changed: its hash does not match its contents.')
    }
    if (seal !== null && mark !== undefined) requireExpected(seal, event, mark)
    if (version !== state.version + 1) skip(event, state)
    else if (prev_hash !== state.hash) {
      throw new Broken(placeOf(event), `is not chained to version ${state.version}.`)
    }
    inspect?.(event, state)
    if (seal !== null) addToSeal(seal, event, mark)
    const since = state.run === 0 ? position : state.since
    Object.assign(state, { version, hash: hash2, position, run: state.run + 1, since })
    streams.set(stream_id, state)
    events++
    at = position
  }

  /** A version that is not the next one: a filter left a gap, or something is broken. */
  const skip = (event, state) => {
    if (event.version <= state.version) {
      throw new Broken(placeOf(event), `comes after version ${state.version} of its stream.`)
    }
    if (!leftOut.has(state.version === 0 ? 'start' : 'middle')) {
      requireParked(event.stream_id, state, `version ${event.version} follows`, parked)
    }
    gaps++
    if (state.run > 0) loose.push(runOf(event.stream_id, state))
    state.run = 0
    state.facts = null
  }
  const versionAfter = (stream_id) => (streams.get(stream_id)?.version ?? 0) + 1
  const requireNoneBefore = (open2, event, mark) => {
    if (mark !== undefined && mark.position < event.position) throw gone(open2, mark)
    if (mark?.position === event.position) return
    throw new Broken(placeOf(event), `was not there when seal ${open2.number} was made.`)
  }
  const requireExpected = (open2, event, { stream_id, hash: hash2 }) => {
    if (event.hash === hash2 && event.stream_id !== stream_id) throw changedMarks(open2)
    const version = versionAfter(stream_id)
    if (event.stream_id === stream_id && event.version === version) return
    throw new Broken(
      placeOf(event),
      `is in the place where ${stream_id} version ${version} was sealed.`,
    )
  }
  const gone = (open2, { stream_id, position }) => {
    const place = { stream_id, version: versionAfter(stream_id), position }
    return new Broken(place, `is missing: seal ${open2.number} covers it.`)
  }
  const end = () => {
    if (seal === null) return
    const lost = seal.marks_read?.[seal.found]
    if (lost !== undefined) throw gone(seal, lost)
    for (const head of seal.heads.filter(isShown)) requireHead(seal, head)
    requireCovered(seal, whole, parked.size > 0)
    seals++
    const { number, position, sealed_at, hash: hash2, key_id } = seal
    lastSeal = { number, position, sealed_at, hash: hash2 }
    const signer = signers.at(-1)
    if (signer?.key_id === key_id) signer.last = number
    else signers.push({ key_id, first: number, last: number })
    seal = null
  }
  const requireHead = (open2, [stream_id, version, hash2]) => {
    const state = streams.get(stream_id)
    if (state === undefined || state.version < version) {
      const why = `seal ${open2.number} covers version ${version}`
      const mayBeMissing = leftOut.has('end') || (state === undefined && leftOut.has('start'))
      if (!mayBeMissing) requireParked(stream_id, state, why, parked)
      return
    }
    requireSealedHead(open2, state, [stream_id, version, hash2])
    sealed += state.run
    state.run = 0
    state.proven = version
  }
  return {
    streams,
    begin,
    add,
    end,
    requireKept() {
      for (const number of unmet.keys()) {
        if (whole) throw new Broken({ seal: number }, 'is missing: it was kept.')
        throw new Incomplete(
          `Seal ${number}, which was kept, is not in this part of the log: check a whole export.`,
        )
      }
    },
    report: () => {
      const counts = { events, streams: streams.size, sealed, gaps, seals, position: at }
      const ends = [...streams].filter(([, { run }]) => run > 0)
      const unsealed = [...loose, ...ends.map(([stream_id, state]) => runOf(stream_id, state))]
      return { ...counts, unsealed, lastSeal, signers: [...signers] }
    },
  }
}
var newState = () => ({
  version: 0,
  hash: null,
  position: 0,
  run: 0,
  since: 0,
  proven: 0,
  facts: {},
})
var runOf = (stream_id, { version, run, since, position }) => ({
  stream_id,
  versions: [version - run + 1, version],
  positions: [since, position],
})

/** What should follow may be missing only where its stream was parked. */
function requireParked(stream_id, state, why, parked) {
  const next = (state?.version ?? 0) + 1
  const from = parked.get(stream_id)
  if (from !== undefined && from <= next) return
  throw new Broken({ stream_id, version: next }, `is missing: ${why}.`)
}

// src/verifier/walk.ts

/** Adds pages of events, and begins and ends each seal where it should. */
async function walk(trail, pages, seals) {
  const rest = seals[Symbol.asyncIterator]()
  const next = async () => {
    const result = await rest.next()
    if (result.done) return null
    trail.begin(result.value)
    return result.value
  }
  let seal = await next()
  const endBefore = async (position) => {
    while (seal !== null && position > seal.position) {
      trail.end()
      seal = await next()
    }
  }
  for await (const page of pages) {
    for (const event of page) {
      if (seal !== null && event.position > seal.position) await endBefore(event.position)
      trail.add(event)
    }
  }
  await endBefore(Number.POSITIVE_INFINITY)
  trail.requireKept()
}

// src/verifier/export.ts
var KNOWN_SCHEMA = 1

/**
 * Checks an export. Returns a report, or throws an error that says what is broken or cannot be checked.
 * `kept`: hashes of seals by number.
 */
async function verifyExport(file, keys, kept = new Map()) {
  const trailer = await readTrailer(file)
  const filters = Object.entries(trailer.query)
  const leftOut = partsLeftOut(trailer.query)
  const hidesStreams = !trailer.seals.every(({ heads }) => heads.every(isShown))
  const parked = new Map(trailer.parked)
  const whole = filters.length === 0 && !hidesStreams && parked.size === 0
  const erasedUsers = new Set()
  const unreadable = []
  const unproven = []
  let erased = 0
  const trail = follow({
    keys,
    leftOut,
    whole,
    parked,
    kept,
    inspect({ line, ...event }, state) {
      requireKnownForm(line)
      requireAsked(line, filters)
      const fields2 = requireShown(line, state)
      if (fields2.length > 0) unproven.push([placeOf(event), fields2])
      if (line.erased) erased++
      if (line.unreadable) unreadable.push(placeOf(event))
      if (line.erased) for (const user of erasedUsersOf(line)) erasedUsers.add(user)
    },
  })
  await walk(trail, readEvents(file), asyncOf(trailer.seals))
  requireHeads(trailer, trail.streams, leftOut, parked)
  const report = trail.report()
  requireExtent(trailer, report)
  const doubtful = [...erasedUsers].filter((user) => !trail.streams.has(`user-${user}`))
  const { exported_at, exported_by } = trailer
  const said = { exported_at, exported_by, filters, parked: trailer.parked }
  return { ...report, whole, erased, unreadable, doubtful, unproven, said }
}
function requireExtent({ count: count3, position }, report) {
  if (count3 !== report.events) {
    throw new Broken({}, `holds ${report.events} events; its trailer counts ${count3}.`)
  }
  if (report.position > position) {
    throw new Broken({}, `goes beyond position ${position}, where its trailer says it ends.`)
  }
}

/** Called only once its hash is known to be right: a changed event is broken, not new. */
function requireKnownForm({ version, stored: { stream_id, schema_version } }) {
  if (schema_version <= KNOWN_SCHEMA) return
  throw new Unreadable(
    `${stream_id} version ${version} has a schema version (${schema_version}) that this program does not know: use the verify-audit.mjs of the version that made the export.`,
  )
}

/** Otherwise a filter added to the trailer would excuse what is missing. */
function requireAsked(line, filters) {
  const other = unmetFilter(line, filters)
  if (other === undefined) return
  const place = placeOf({ ...line, stream_id: line.stored.stream_id })
  throw new Broken(place, `does not match the filters in the trailer (${inWords(other)}).`)
}

/** Users whose key is reported as destroyed. */
var erasedUsersOf = ({ stored: { data }, text_keys }) =>
  TEXTS.flatMap((name) => {
    const text2 = data[name]
    return isEncrypted(text2) && text_keys[name] === undefined ? [text2.user] : []
  })
async function* asyncOf(values2) {
  yield* values2
}

/**
 * Detects a stream whose end was cut off, even where no seal covers it yet; but the trailer is not signed.
 */
function requireHeads({ heads }, streams, leftOut, parked) {
  const named = new Map(
    heads.map(([stream_id, version, hash2]) => [stream_id, { version, hash: hash2 }]),
  )
  for (const [stream_id, state] of streams) {
    const head = named.get(stream_id)
    const last = { stream_id, version: state.version, position: state.position }
    if (head === undefined || head.version < state.version) {
      throw new Broken(last, 'goes beyond the end of its stream in the trailer.')
    }
    if (head.version > state.version && !leftOut.has('end')) {
      const why = `the trailer ends its stream with version ${head.version}`
      requireParked(stream_id, state, why, parked)
    }
    if (head.version === state.version && head.hash !== state.hash) {
      throw new Broken(last, 'is not the end of its stream that the trailer names.')
    }
  }
  for (const [absent] of heads.filter(([stream_id]) => !streams.has(stream_id))) {
    requireParked(absent, undefined, 'the trailer names its stream', parked)
  }
}

// src/verifier/named-keys.ts
import { readFile } from 'node:fs/promises'

/** The command-line options for keys and seals, for parseArgs. */
var KEY_OPTIONS = {
  key: { type: 'string', multiple: true },
  seal: { type: 'string', multiple: true },
}

/** Error: `Unreadable`. */
async function readKeys({ key = [], seal = [] }) {
  const keys = []
  for (const file of key) keys.push(await readKeyFile(file))
  return { keys, kept: new Map(seal.map(readKept)) }
}
async function readKeyFile(file) {
  const pem = await readFile(file, 'utf8').catch((error) => {
    throw new Unreadable(`The key ${file} cannot be read (${error.code}).`)
  })
  return readKey(pem)
}
function readKept(text2) {
  const [, number, hash2] = /^([1-9]\d{0,14}):([0-9a-f]{64})$/.exec(text2) ?? []
  if (hash2 === undefined) {
    throw new Unreadable('--seal needs <number>:<hash>, the hash as 64 hex digits.')
  }
  return [Number(number), hash2]
}

// src/verifier/report.ts
var count2 = (number, noun) => `${number.toLocaleString('en')} ${noun}${number === 1 ? '' : 's'}`

/** The lines of the report: what is proven and what is not. */
function describe(report) {
  const { events, streams, sealed, gaps, position } = report
  const lines = [
    `Nothing is broken: ${count2(events, 'event')} of ${count2(streams, 'stream')}, up to position ${position}.`,
    ...describeSeals(report),
    `Sealed: ${count2(sealed, 'event')}. Not proven by a seal: ${count2(events - sealed, 'event')}.`,
  ]
  if (gaps > 0) {
    lines.push(
      `The filter leaves ${count2(gaps, 'gap')}: events before a gap are not chained to those after it.`,
    )
  }
  return lines
}
function describeSeals({ seals, lastSeal, signers }) {
  if (lastSeal === null) {
    return [
      'No seal: the chains hold, but no signature proves them. Anyone with write access could have rewritten all of it.',
    ]
  }
  const { number, sealed_at, position, hash: hash2 } = lastSeal
  const keys = signers.map(
    ({ key_id, first: first2, last }) =>
      `${key_id} (${first2 === last ? first2 : `${first2} to ${last}`})`,
  )
  return [
    `${count2(seals, 'seal')}, the last one is number ${number} of ${sealed_at}, up to position ${position}, ${hash2}.`,
    `Signed by ${keys.join(', ')}.`,
  ]
}
function describeExport(report) {
  const { said, erased } = report
  const asked =
    said.filters.length === 0 ? '' : `, filtered by ${said.filters.map(inWords).join(' ')}`
  const lines = [
    ...describe(report),
    `Its trailer says: exported at ${JSON.stringify(said.exported_at)} by user ${JSON.stringify(said.exported_by)}${asked}.`,
    extentOf(report),
  ]
  if (erased > 0) {
    lines.push(`Marked as erased, their texts gone: ${count2(erased, 'event')}.`)
  }
  return lines
}
function extentOf({ whole, lastSeal }) {
  if (!whole) {
    return 'It is a part of the log. This proves nothing about other events, not even that its streams end here. For a position it is proven only between which seals it is.'
  }
  if (lastSeal === null) return 'It claims to be the whole log; nothing proves that.'
  const { number, position } = lastSeal
  return `It is the whole log up to seal ${number} (position ${position}); nothing proves what is after it.`
}

/** What is not proven in an export, a line each; empty only if everything is proven. */
var notProven = (report) => [
  ...report.unsealed.map((run) => `${nameOfRun(run)}: no seal proves it.`),
  ...report.unproven.map(
    ([event, fields2]) =>
      `${nameOf(event)}: nothing proves the values before it, "from" of ${fields2.join(', ')}.`,
  ),
  ...report.unreadable.map(
    (event) => `${nameOf(event)}: it is marked as unreadable: a text or its key is damaged.`,
  ),
  ...report.doubtful.map(
    (user) => `user-${user}: marked as erased, but the export has no UserErased.`,
  ),
  ...report.said.parked.map(
    ([stream_id, version]) =>
      `${stream_id} from version ${version} on: the trailer says that they were parked, which nothing proves. Export again when they are resumed.`,
  ),
  ...notProvenAsAWhole(report),
]

/** The trailer is not signed: whoever removes events could change it too. */
function* notProvenAsAWhole({ lastSeal, whole, said }) {
  if (lastSeal === null)
    yield 'The export: it has no seal, so nothing proves that nothing is missing.'
  if (!whole && said.filters.length === 0 && said.parked.length === 0) {
    yield 'The export: its seals cover streams that are not in it, though it claims to be unfiltered.'
  }
}
function nameOfRun({ stream_id, versions, positions }) {
  const [first2, last] = versions
  if (first2 === last) return nameOf({ stream_id, version: first2, position: positions[0] })
  return `${stream_id} versions ${first2} to ${last} (positions ${positions.join(' to ')})`
}

/** Escapes control and invisible characters for a terminal: much of the text was written by others. */
var printable = (text2) =>
  text2.replace(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
    (sign) => `\\u{${sign.codePointAt(0)?.toString(16)}}`,
  )

/** Runs a check and prints its result; returns the exit code. */
async function conclude(check) {
  try {
    const { says, notProven: notProven2 } = await check()
    for (const line of says) console.log(printable(line))
    for (const line of notProven2) console.error(printable(`NOT PROVEN: ${line}`))
    return notProven2.length === 0 ? 0 : 3
  } catch (error) {
    const [code, why] = verdictOf(error)
    console.error(printable(why))
    return code
  }
}
function verdictOf(error) {
  if (error instanceof Broken) return [1, `BROKEN: ${error.message}`]
  if (error instanceof Incomplete) return [3, `NOT PROVEN: ${error.message}`]
  if (error instanceof RangeError) {
    return [2, `Something in it is too long or too deep to be read (${error.message}).`]
  }
  return [2, error instanceof Error ? error.message : String(error)]
}

// src/verify-audit.ts
var USAGE = `Usage: node verify-audit.mjs <export.ndjson> --key <public.pem> [options]

Checks an export of the audit trail, offline: every event, chain, text and seal.

  --key <public.pem>        a public key that signed seals; repeat it for each older one
  --seal <number>:<hash>    a seal recorded elsewhere; the export must hold the same one
  -h, --help                prints this help

Exit code: 0 everything in the file is proven, 1 something is broken, 2 it cannot be checked, 3 nothing is
broken, but not everything is proven: each unproven event is named, such as those that no seal covers yet.`
var { values, args } = commandLine({ usage: USAGE, options: KEY_OPTIONS, takes: [1, 1] })
process.exitCode = await conclude(async () => {
  const { keys, kept } = await readKeys(values)
  if (keys.length === 0) throw new Unreadable('No key: nothing can be proven without one (--key).')
  const report = await verifyExport(args[0] ?? '', keys, kept)
  return { says: describeExport(report), notProven: notProven(report) }
})
