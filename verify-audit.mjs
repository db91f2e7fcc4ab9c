#!/usr/bin/env node
// Made by "npm run build:verifier" of src/verify-audit.ts and src/verifier: change it there.
/**
 * Checks an export of the audit trail (NDJSON), or the proof of one event, offline:
 *
 *   node verify-audit.mjs export.ndjson --key log.key [--witness witness.key] [--extends older.ndjson]
 *   node verify-audit.mjs event.tlog-proof --key log.key
 *
 * It needs only Node 20.12 or newer. It trusts only the keys that it is given. Of an export it recomputes each
 * event's hash, follows each chain, decrypts each text with the key beside it and compares it, and grows
 * the tree of the whole log (RFC 6962), whose root must be the one in the signed checkpoint. The trailer is
 * not signed: it is only compared with the rest. `npm run audit:verify` checks a database with the same
 * functions.
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

// src/transparency-log/tree.ts
import { hash } from 'node:crypto'

/** Bytes of every hash. */
var HASH_BYTES = 32
var sha256 = (data) => Buffer.from(hash('sha256', data, 'binary'), 'binary')
var isHash = (value) => value.length === HASH_BYTES

/** The root of a tree without leaves. */
var EMPTY_ROOT = sha256('')

/** A text counts as its UTF-8 bytes. */
var leafHash = (entry) => {
  if (typeof entry === 'string') return sha256(`\0${entry}`)
  const data = Buffer.allocUnsafe(1 + entry.length)
  data[0] = 0
  data.set(entry, 1)
  return sha256(data)
}
var pair = Buffer.alloc(1 + 2 * HASH_BYTES, 1)

/** Error: RangeError unless both are hashes. */
var nodeHash = (left, right) => {
  needHash(left)
  needHash(right)
  pair.set(left, 1)
  pair.set(right, 1 + HASH_BYTES)
  return sha256(pair)
}
var folded = Buffer.alloc(128 * HASH_BYTES)
function needHash(value) {
  if (!isHash(value)) throw new RangeError(`A hash has 32 bytes, not ${value.length}`)
}
var isSize = (value) => Number.isSafeInteger(value) && Number(value) >= 0
function needRange(from, to) {
  if (!isSize(from) || !isSize(to)) throw new RangeError(`No leaves: ${from} to ${to}`)
}

/**
 * The fewest complete subtrees that together have the leaves from..to-1, left to right. Error:
 * RangeError unless both are whole numbers from 0 on.
 */
function nodesBetween(from, to) {
  needRange(from, to)
  const nodes = []
  for (let at = from; at < to; ) {
    const level = largestAt(at, to)
    nodes.push({ level, index: at / 2 ** level })
    at += 2 ** level
  }
  return nodes
}
function largestAt(at, to) {
  let level = 0
  while (at % 2 ** (level + 1) === 0 && at + 2 ** (level + 1) <= to) level += 1
  return level
}

/** The root of what the nodes of nodesBetween(0, size) are the hashes of. Error: RangeError unless all are hashes. */
function rootOf(hashes2) {
  for (const each of hashes2) needHash(each)
  return hashes2.length === 0
    ? EMPTY_ROOT
    : hashes2.reduceRight((right, left) => nodeHash(left, right))
}
function growingTree() {
  let size = 0
  const complete = []
  const add = (from, added) => {
    let level = from
    let node = added
    let left = complete[level]
    for (let rest = size / 2 ** from; rest % 2 === 1 && left; rest = (rest - 1) / 2) {
      node = nodeHash(left, node)
      level += 1
      left = complete[level]
    }
    complete[level] = node
    size += 2 ** from
  }
  return {
    get size() {
      return size
    },
    addLeaf: (leaf) => {
      needHash(leaf)
      add(0, leaf)
    },
    addNode: (level, node) => {
      needHash(node)
      const fits = isSize(level) && size % 2 ** level === 0 && isSize(size + 2 ** level)
      if (!fits) throw new RangeError(`A tree of ${size} leaves takes no subtree of 2^${level}`)
      add(level, node)
    },
    root: () => rootOf(nodesBetween(0, size).flatMap(({ level }) => complete[level] ?? [])),
  }
}

/** Where a tree of more than one leaf is split: the largest power of two below its size. */
function half(size) {
  let power = 1
  while (power * 2 < size) power *= 2
  return power
}

/**
 * The way from the leaf before `end` up to the root, from the first subtree on that is `found`: where
 * that begins, and its siblings.
 */
function wayUp(end, size, found) {
  const siblings = []
  let [from, to] = [0, size]
  while (!found(from, to)) {
    const middle = from + half(to - from)
    const goesLeft = end <= middle
    siblings.push(goesLeft ? { from: middle, to, left: false } : { from, to: middle, left: true })
    if (goesLeft) to = middle
    else from = middle
  }
  return { from, siblings: siblings.reverse() }
}
var wayFromLeaf = (index, size) => wayUp(index + 1, size, (from, to) => to - from === 1)

/** Sizes: 0 < size < larger. */
var wayFromSize = (size, larger) => wayUp(size, larger, (_, to) => to === size)
var hasLeaf = (size, index) => isSize(index) && isSize(size) && index < size
var areHashes = (values2) => values2.every(isHash)

/** The root of the tree that has the leaf there if the proof is right; null: it cannot be the proof of any. */
function rootOfInclusion(claim) {
  const { index, size, leaf, proof } = claim
  if (!hasLeaf(size, index) || !areHashes([leaf, ...proof])) return null
  const { siblings } = wayFromLeaf(index, size)
  if (siblings.length !== proof.length) return null
  return proof.reduce(
    (node, hash3, at) => (siblings[at]?.left ? nodeHash(hash3, node) : nodeHash(node, hash3)),
    leaf,
  )
}

/** Whether the proof shows that the first leaves of a tree are those of a smaller one. Every tree extends the empty one. */
function isConsistent(claim) {
  const { from, fromRoot, to, toRoot, proof } = claim
  if (!isSize(from) || !isSize(to) || from > to) return false
  if (!areHashes([fromRoot, toRoot, ...proof])) return false
  if (from === 0 && !fromRoot.equals(EMPTY_ROOT)) return false
  if (from === to) return proof.length === 0 && fromRoot.equals(toRoot)
  if (from === 0) return proof.length === 0
  const way = wayFromSize(from, to)
  const [base, ...hashes2] = way.from === 0 ? [fromRoot, ...proof] : proof
  if (!base || hashes2.length !== way.siblings.length) return false
  return extendsTo(base, way.siblings, hashes2, claim)
}
function extendsTo(base, siblings, hashes2, { fromRoot, toRoot }) {
  let [smaller, larger] = [base, base]
  hashes2.forEach((hash3, at) => {
    const { left } = siblings[at] ?? {}
    larger = left ? nodeHash(hash3, larger) : nodeHash(larger, hash3)
    if (left) smaller = nodeHash(hash3, smaller)
  })
  return smaller.equals(fromRoot) && larger.equals(toRoot)
}

// src/transparency-log/lines.ts

/** What the text formats have in common: decimal numbers, base64 and hashes, each with one spelling only. */

/** A number from 0 on, without leading zeros; null: not one, or too large to be exact. */
function decimal(text) {
  if (!/^(0|[1-9]\d{0,15})$/.test(text)) return null
  const value = Number(text)
  return isSize(value) ? value : null
}
function base64(text) {
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes : null
}

/** The hashes of lines of base64; null unless every line is one. */
function hashes(lines) {
  const found = []
  for (const line of lines) {
    const bytes = typeof line === 'string' ? base64(line) : null
    if (!bytes || !isHash(bytes)) return null
    found.push(bytes)
  }
  return found
}

/** What is before the first empty line, as lines, and what is after it; null: there is none. */
function headAndBody(text) {
  const end = text.indexOf('\n\n')
  if (end === -1) return null
  return { head: text.slice(0, end).split('\n'), body: text.slice(end + 2) }
}

/** No proof has more hashes: a tree has less than 2^63 leaves. */
var MOST_HASHES = 63
var decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
function utf8(bytes) {
  try {
    return decoder.decode(bytes)
  } catch {
    return null
  }
}

// src/transparency-log/checkpoint.ts
var isOrigin = (text) => text.isWellFormed() && new RegExp('^\\P{Cc}+$', 'u').test(text)

/** The text of a note; null if it is no checkpoint. Lines of other meaning are not allowed. */
function parseCheckpoint(text) {
  const [origin, size, root, end, ...more] = text.split('\n')
  if (origin === undefined || size === undefined || root === undefined) return null
  const [leaves, hash3] = [decimal(size), base64(root)]
  if (!isOrigin(origin) || leaves === null || !hash3 || !isHash(hash3)) return null
  return end === '' && more.length === 0 ? { origin, size: leaves, root: hash3 } : null
}

// src/transparency-log/cosignature.ts

/** What a witness signs, and what its signature line carries (C2SP tlog-cosignature, Ed25519). */
var TIME_BYTES = 8
var SIGNATURE_BYTES = 64

/** `time`: whole seconds since 1970 in UTC. `text`: the checkpoint's. */
var cosignedText = (time, text) => `cosignature/v1
time ${time}
${text}`

/** Null unless it has the length of one, and its time is exact. */
function readCosignature(bytes) {
  if (bytes.length !== TIME_BYTES + SIGNATURE_BYTES) return null
  const time = Number(bytes.readBigUInt64BE())
  return isSize(time) ? { time, signature: bytes.subarray(TIME_BYTES) } : null
}

/** When a witness signed, in seconds since 1970. Error: RangeError if it is no cosignature. */
function cosignedAt(signature) {
  const found = readCosignature(signature)
  if (!found) throw new RangeError('That is not a cosignature')
  return found.time
}

// src/transparency-log/keys.ts
import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto'

// src/transparency-log/signature-line.ts
var ID_BYTES = 4

/** Not empty, and without white space, control characters and plus. */
var isKeyName = (name) => name.isWellFormed() && /^[^\p{White_Space}\p{Cc}+]+$/u.test(name)

/** A line without its newline; null: it is none. */
function parseSignatureLine(line) {
  const [dash, name, text, ...more] = line.split(' ')
  if (dash !== '—' || name === undefined || text === undefined || more.length > 0) return null
  const bytes = base64(text)
  if (!isKeyName(name) || !bytes || bytes.length <= ID_BYTES) return null
  return { name, id: bytes.subarray(0, ID_BYTES), signature: bytes.subarray(ID_BYTES) }
}

// src/transparency-log/keys.ts

/** What a key signs, as signed-note and tlog-cosignature number it: the text itself, or a time with a checkpoint. */
var LOG = 1
var WITNESS = 4
var isLogKey = ({ type }) => type === LOG
var isWitnessKey = ({ type }) => type === WITNESS
var SPKI = Buffer.from('302a300506032b6570032100', 'hex')
var PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex')
var KEY_BYTES = 32

/** `publicKey`: 32 bytes. */
function verifierKey(name, type, publicKey) {
  const typed = Buffer.concat([Buffer.of(type), publicKey])
  const id = sha256(
    Buffer.concat([
      Buffer.from(`${name}
`),
      typed,
    ]),
  ).subarray(0, 4)
  const der = Buffer.concat([SPKI, publicKey])
  return {
    name,
    id,
    type,
    publicKey: createPublicKey({ key: der, format: 'der', type: 'spki' }),
    text: `${name}+${id.toString('hex')}+${typed.toString('base64')}`,
  }
}

/** `<name>+<id in hex>+<base64 of type and public key>`; null if it is not the key of a log or a witness. */
function parseVerifierKey(text) {
  const [, name = '', id = '', encoded = ''] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/su.exec(text) ?? []
  const bytes = base64(encoded)
  if (!isKeyName(name) || bytes?.length !== 1 + KEY_BYTES) return null
  const type = bytes[0]
  if (type !== LOG && type !== WITNESS) return null
  const key = verifierKey(name, type, bytes.subarray(1))
  return key.id.toString('hex') === id ? key : null
}

/** Whether the line names this key. */
var names = (line, key) => line.name === key.name && line.id.equals(key.id)

/** Whether the key made this signature of the text. */
function verifies(key, text, signature) {
  if (isLogKey(key)) return verify(null, Buffer.from(text), key.publicKey, signature)
  const cosignature = readCosignature(signature)
  if (!cosignature) return false
  const signed = Buffer.from(cosignedText(cosignature.time, text))
  return verify(null, signed, key.publicKey, cosignature.signature)
}

// src/transparency-log/signed-note.ts
var MOST_BYTES = 2 ** 20
var MOST_SIGNATURES = 100

/** Null: not a note. Says nothing about whether the signatures are right. */
function readNote(note) {
  const end = note.lastIndexOf('\n\n')
  if (end === -1 || !note.endsWith('\n') || !isText(note)) return null
  const lines = note.slice(end + 2).split('\n', MOST_SIGNATURES + 2)
  lines.pop()
  if (lines.length === 0 || lines.length > MOST_SIGNATURES) return null
  const signatures = lines.map(parseSignatureLine).filter((line) => line !== null)
  return signatures.length === lines.length ? { text: note.slice(0, end + 1), signatures } : null
}
function isText(note) {
  if (note.length > MOST_BYTES || Buffer.byteLength(note) > MOST_BYTES) return false
  return note.isWellFormed() && !/[\0-\x09\x0b-\x1f]/.test(note)
}

/**
 * Which of these keys signed the note, each once; signatures of others are not looked at. Null: not a
 * note, or one of these keys is named with a signature that is not its own.
 */
function verifiedBy(note, keys) {
  const read = typeof note === 'string' ? readNote(note) : note
  if (!read) return null
  const found = new Set()
  for (const line of read.signatures) {
    for (const key of keys.filter((each) => names(line, each))) {
      if (!verifies(key, read.text, line.signature)) return null
      found.add(key.text)
    }
  }
  const known = new Map(keys.map((key) => [key.text, key]))
  return [...known.values()].filter(({ text }) => found.has(text))
}

// src/verifier/failures.ts

/** An event or the whole is not as it was. */
var Broken = class extends Error {
  place
  constructor(place, why) {
    super(`${nameOf(place)} ${why}`)
    this.place = place
  }
}

/** It cannot be checked at all. */
var Unreadable = class extends Error {}
function nameOf(place) {
  const { thing, stream_id, version, position, leaf, line, table, id } = place
  if (thing !== undefined) return thing
  if (table !== undefined) return id === undefined ? `The table ${table}` : `${table} ${id}`
  if (line !== undefined) return `Line ${line}`
  if (stream_id === undefined) return leaf === undefined ? 'The export' : `Leaf ${leaf}`
  const event = version === undefined ? stream_id : `${stream_id} version ${version}`
  return position === undefined || position === null ? event : `${event} (position ${position})`
}
var placeOf = ({ stream_id, version, position }) => ({
  stream_id,
  version,
  position,
})

// src/verifier/checkpoints.ts

/** `thing`: what to call it. Error: `Broken`. */
function openCheckpoint(text, { keys, witnesses, quorum }, thing = 'The checkpoint') {
  const broken = (why) => new Broken({ thing }, why)
  const note = readNote(text)
  const checkpoint = note && parseCheckpoint(note.text)
  if (!checkpoint) throw broken('is changed: it does not have the form of a signed checkpoint.')
  const own = keys.filter(({ name }) => name === checkpoint.origin)
  const signers = signersOf(note, own, broken)
  if (signers.length === 0) {
    const known = keys.map(shortOf).join(', ')
    throw broken(`of ${checkpoint.origin} is not signed by a key that was given (${known}).`)
  }
  const cosigners = signersOf(note, witnesses, broken)
  const missing = witnesses.filter(
    ({ text: text2 }) => !cosigners.some((key) => key.text === text2),
  )
  const enough = cosigners.length >= quorum
  const lacking = enough
    ? []
    : missing.map((key) => `the witness ${shortOf(key)} has not cosigned it.`)
  const cosigned = cosigners.map((key) => ({ by: shortOf(key), at: timeOf(note, key) }))
  return { ...checkpoint, signers: signers.map(shortOf), cosigned, lacking }
}
function signersOf(note, keys, broken) {
  const impostor = keys.find((key) => verifiedBy(note, [key]) === null)
  if (impostor) throw broken(`is not signed by ${shortOf(impostor)}, though it says so.`)
  return verifiedBy(note, keys) ?? []
}
var shortOf = ({ name, id }) => `${name}+${id.toString('hex')}`
function timeOf({ signatures }, { name, id }) {
  const line = signatures.find((line2) => line2.name === name && line2.id.equals(id))
  const time = new Date(1e3 * (line === undefined ? Number.NaN : cosignedAt(line.signature)))
  return Number.isNaN(time.getTime()) ? 'a time beyond the calendar' : time.toISOString()
}

// src/verifier/formats.ts
import { hash as hash2 } from 'node:crypto'

/** Canonical JSON (RFC 8785). */
function canonical(value) {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map((item) => canonical(item)).join(',')}]`
  const members = value
  let text = ''
  for (const name of Object.keys(members).sort()) {
    text += `${text === '' ? '' : ','}${JSON.stringify(name)}:${canonical(members[name])}`
  }
  return `{${text}}`
}
var HASH = /^[0-9a-f]{64}$/
var LINK_BYTES = 32

/** Of the bytes of the hash before it and of its facts. */
function eventHash(event) {
  const { stream_id, version, event_id, type, schema_version, data } = event
  const { actor_id, metadata, occurred_at, prev_hash } = event
  const text = `{"actor_id":${canonical(actor_id)},"data":${canonical(data)},"event_id":${canonical(event_id)},"metadata":${canonical(metadata)},"occurred_at":${canonical(occurred_at)},"schema_version":${canonical(schema_version)},"stream_id":${canonical(stream_id)},"type":${canonical(type)},"version":${canonical(version)}}`
  const link = prev_hash === null ? 0 : LINK_BYTES
  const bytes = Buffer.allocUnsafe(link + Buffer.byteLength(text))
  if (prev_hash !== null) bytes.write(prev_hash, 'hex')
  bytes.write(text, link)
  return hash2('sha256', bytes, 'hex')
}

// src/verifier/entries.ts

/** What the leaf of an event is the hash of. Canonical JSON; the event's hash is lower-case hex. */
var eventEntry = ({ hash: hash3, position, stream_id, version }) =>
  // Canonical without sorting names: there is one for each event of a log.
  `{"hash":${canonical(hash3)},"position":${canonical(position)},"stream_id":${canonical(stream_id)},"version":${canonical(version)}}`

/** What the leaf of accesses and security events is the hash of. Canonical JSON. */
var recordsEntry = ({ audit_accesses, digest, security_events }) =>
  canonical({ audit_accesses, digest, security_events })

// src/verifier/event-line.ts
import { createDecipheriv, createSecretKey } from 'node:crypto'

// src/verifier/files.ts
import { isUtf8 } from 'node:buffer'
import { createReadStream } from 'node:fs'
import { open, readFile } from 'node:fs/promises'

/** Enough to recognise what a file is. */
var HEAD_BYTES = 1024

/** No export has longer lines. */
var MOST_BYTES2 = 2 ** 26
var CHUNK_BYTES = 2 ** 18
var NEWLINE = 10

/** In hexadecimal digits, how files begin that are to be unpacked first. */
var COMPRESSED = { gzip: '1f8b', zstd: '28b52ffd', zip: '504b0304' }
var AGAIN = 'export again with "Accept: application/x-ndjson"'

/** How texts begin that are something else. */
var WRONG = [
  [
    /^(\xff\xfe|\xfe\xff)|^.{0,1}\0/,
    'is encoded in UTF-16, as ">" in Windows PowerShell writes it: save the answer unchanged, in UTF-8',
  ],
  [/^(\xef\xbb\xbf)?"?(position|id)"?[,;\t]/, `is CSV, which cannot be verified: ${AGAIN}`],
  [/^\s*</, 'is a page of HTML: something answered in place of the service'],
  [/^\{\s*"(events|security_events|accesses)"/, `is a page of JSON: ${AGAIN}`],
  [/^\{\s*"(error|title|status|code|message|type)"/, 'is an error message, not an export: read it'],
]

/** By its beginning; whatever else it may be is checked as an export. Error: `Unreadable`. */
async function kindOf(file) {
  const head = await beginningOf(file).catch(rethrow(file))
  for (const [name, begins] of Object.entries(COMPRESSED)) {
    if (!head.toString('hex').startsWith(begins)) continue
    throw new Unreadable(`${file} is compressed with ${name}: unpack it first.`)
  }
  const [, wrong] = WRONG.find(([begins]) => begins.test(head.toString('latin1'))) ?? []
  if (wrong !== undefined) throw new Unreadable(`${file} ${wrong}.`)
  const text = head.toString()
  if (text.startsWith('c2sp.org/tlog-proof@')) return 'proof'
  if (/^\uFEFF?\{"(trailer":\{")?table":/.test(text)) return 'records'
  return /\n\n\u2014 /.test(text) ? 'checkpoint' : 'export'
}
async function beginningOf(file) {
  const handle = await open(file)
  try {
    const stat = await handle.stat()
    if (stat.isFIFO()) throw new Unreadable(`${file} is not a file: save it first.`)
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0)
    return buffer.subarray(0, bytesRead)
  } finally {
    await handle.close()
  }
}

/** `what`: what it is, as a sentence begins. Error: `Unreadable`. */
var textIn = (file, what) => readFile(file, 'utf8').catch(rethrow(`${what} ${file}`))

/** What reading failed with, in a sentence. */
var rethrow = (what) => (error) => {
  throw error.syscall === undefined
    ? error
    : new Unreadable(`${what} cannot be read (${error.code}).`)
}

/**
 * Some lines at a time, without byte order mark, line endings and blanks behind them. Only a newline ends one: a
 * title may contain other line breaks. Error: `Unreadable`.
 */
async function* linesOf(file) {
  const textOf = (bytes) => {
    if (isUtf8(bytes)) return bytes.toString()
    const why = 'it was saved in another encoding, or it is damaged'
    throw new Unreadable(`${file} is not UTF-8: ${why}.`)
  }
  let rest = Buffer.alloc(0)
  for await (const chunk of createReadStream(file, { highWaterMark: CHUNK_BYTES })) {
    const bytes = Buffer.concat([rest, chunk])
    const end = bytes.lastIndexOf(NEWLINE) + 1
    rest = bytes.subarray(end)
    if (rest.length > MOST_BYTES2) throw new Unreadable(`${file} has a line that is too long.`)
    if (end > 0)
      yield textOf(bytes.subarray(0, end - 1))
        .split('\n')
        .map(trimmed)
  }
  yield [trimmed(textOf(rest))]
}
var trimmed = (line) => line.replace(/^\uFEFF/, '').trimEnd()

/** Undefined: not JSON. */
function parse2(text) {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
var isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value)

// src/verifier/event-line.ts
var KNOWN_SCHEMA = 1
var TEXTS = ['title', 'description']

/** What a line holds, so far without knowing whether it is right. Error: `Broken`, `Unreadable`. */
function readLine(text, number) {
  const line = parse2(text)
  if (line === undefined) throw new Unreadable(`Line ${number} is not a line of an NDJSON export.`)
  if (isObject(line) && isObject(line.records)) return recordsIn(line, text, number)
  if (!isEventLine(line)) {
    const isLost = isObject(line) && line.stored === null
    const why = isLost
      ? 'shows an event that the log does not hold.'
      : 'is not an event of an export.'
    throw new Broken({ line: number }, why)
  }
  const { position, version, type, occurred_at, hash: hash3, actor, stored } = line
  const { stream_id, event_id, schema_version, data, metadata, prev_hash } = stored
  const facts = { event_id, type, schema_version, data, actor_id: actor.user_id, metadata }
  const place = { position, stream_id, version, occurred_at, recorded_at: occurred_at }
  return { ...place, ...facts, prev_hash, hash: hash3, line, text }
}
function recordsIn({ leaf, before, records }, text, number) {
  const { audit_accesses, digest, security_events } = records
  const written = { leaf, before, records: { audit_accesses, digest, security_events } }
  if (!isSize(leaf) || !Array.isArray(before) || JSON.stringify(written) !== text) {
    throw new Broken({ line: number }, 'is not a line of accesses and security events.')
  }
  return written
}

/** Whether it can be looked at: all else is compared with what should be there. */
function isEventLine(line) {
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

/**
 * Checks that a line is the one that an export writes of its stored event: what it shows besides is made anew and
 * compared, letter by letter. Returns the fields whose previous value is not proven.
 */
function requireShown(event, state) {
  const { line, text, version, schema_version } = event
  const broken = (why) => new Broken(placeOf(event), `is changed: ${why}.`)
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
function writtenLine(line, changes) {
  const { position, version, type, actor, occurred_at, hash: hash3, leaf, before, stored } = line
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
    hash: hash3,
    leaf,
    before,
    stored: { stream_id, event_id, schema_version, data, metadata, prev_hash },
    text_keys: Object.fromEntries(keys),
  }
}
function differenceOf(written, line) {
  const shown = line
  const names2 = Object.keys({ ...line, ...written })
  const same = (name2) => canonical(shown[name2] ?? null) === canonical(written[name2] ?? null)
  const name = names2.find((name2) => !same(name2))
  if (name === undefined) return 'it is not written as an export writes it'
  return `"${name}" is ${name in written ? 'not what is stored' : 'nothing that an export writes'}`
}

/** What a line should show as changed. A previous value that is not known is taken from the line. */
function changesOf(line, to, { facts }, broken) {
  const changes = {}
  const unproven = []
  for (const name of Object.keys(line.changes)) {
    const from = line.changes[name]?.from ?? null
    const known = knownBefore(line, name, facts)
    const isKnown = brief(from) === known
    const isGone = isText2(name) && (line.erased || line.unreadable) && from === null
    if (known !== undefined && !isKnown && !isGone) {
      throw broken(`its changes.${name}.from is not the value before it`)
    }
    const shown = line.changes[name]?.to
    if (shown !== to[name] && canonical(shown ?? null) !== canonical(to[name] ?? null)) {
      throw broken(`its changes.${name}.to is not what is stored`)
    }
    if (!isKnown) unproven.push(name)
    changes[name] = { from, to: to[name] }
  }
  if (Object.keys(changes).length === Object.keys(to).length) return { changes, unproven }
  throw broken('its changes are not those of its stored fields')
}
function knownBefore({ type, version, stored }, name, facts) {
  if (type === 'UserRoleChanged') return brief(stored.data.from)
  return version === 1 ? NULL : facts?.[name]
}

/** What changes should say: the stored values, with the texts decrypted where their keys are present. */
function storedValues({ type, stored, text_keys, erased, unreadable }, broken) {
  const { user_id, undoes, ...data } = stored.data
  if (type === 'UserRoleChanged') return { role: data.to }
  const to = {}
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
function keepFacts({ type, unreadable }, to, state) {
  state.facts ??= {}
  const facts = type === 'TaskCreated' ? { ...to, photos: [], deleted: false } : to
  for (const [name, value] of Object.entries(facts)) {
    if (unreadable && isText2(name) && value === null) delete state.facts[name]
    else state.facts[name] = brief(value)
  }
}
var isText2 = (name) => TEXTS.includes(name)
var isEncrypted = (value) => typeof value === 'object' && value !== null && 'cipher' in value

/** Users whose key is reported as destroyed. */
var usersErasedIn = ({ erased, stored: { data }, text_keys }) =>
  TEXTS.flatMap((name) => {
    const text = data[name]
    return erased && isEncrypted(text) && text_keys[name] === undefined ? [text.user] : []
  })
var UTF_8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
var NONCE = Buffer.alloc(12)
var TAG = { authTagLength: 16 }

/** base64url of salt (16 bytes), ciphertext and tag (16 bytes), AES-256-GCM, each key used once. */
function decrypt({ cipher }, key, stream_id, name, broken) {
  try {
    const sealed = Buffer.from(cipher, 'base64url')
    const secret = createSecretKey(Buffer.from(key, 'base64url'))
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
function brief(value) {
  const text = JSON.stringify(value ?? null)
  return text.length <= 32 ? text : sha256(text).toString('base64')
}
var NULL = brief(null)

// src/verifier/leaves.ts

/** Grows the tree of the log. `sizes`: where to keep the root. */
function followLeaves(sizes) {
  const tree = growingTree()
  const roots = new Map()
  let hidden = null
  let isBehind = false
  const keepRoot = () => {
    if (sizes.has(tree.size)) roots.set(tree.size, tree.root())
  }
  const skipTo = (leaf, given, of, next) => {
    const nodes = nodesBetween(tree.size, leaf)
    if (nodes.length > 0 && given.length === 0) {
      throw new Broken({ leaf: tree.size }, `is missing, or not in its place: ${next}.`)
    }
    const found = hashes(given)
    if (found?.length !== nodes.length) {
      throw new Broken(of, `needs ${nodes.length} hashes of what lies before it in the log.`)
    }
    if (nodes.length > 0) {
      hidden ??= new Broken({ leaf: tree.size }, 'is not shown, though the export has no filter.')
    }
    for (const [at, hash3] of found.entries()) {
      tree.addNode(nodes[at]?.level ?? 0, hash3)
      keepRoot()
    }
  }
  keepRoot()
  return {
    roots,
    hidden: () => hidden,
    add(of, { leaf, before }, entry) {
      const broken = (why) => new Broken(of, why)
      if (leaf === null) {
        if (before.length > 0) throw broken('has hashes of the log, but no leaf in it.')
        isBehind = true
        return
      }
      if (isBehind) throw broken(`has leaf ${leaf}, but comes after an event that has none.`)
      if (leaf < tree.size) throw broken(`has leaf ${leaf}, but leaf ${tree.size} is next.`)
      skipTo(leaf, before, of, `${nameOf(of)} has leaf ${leaf}`)
      tree.addLeaf(leafHash(entry()))
      keepRoot()
    },
    end(size, after) {
      if (tree.size > size) {
        throw new Broken({ leaf: size }, `is not in the log: the checkpoint covers ${size} leaves.`)
      }
      skipTo(size, after, { thing: 'The trailer' }, `the checkpoint covers ${size} leaves`)
      return tree.root()
    },
  }
}

// src/verifier/trail.ts

/**
 * Follows events in the order of their positions: each one's hash, and its place in the chain of its stream.
 * Keeps a little for each stream and nothing for each event.
 */
function follow({
  onGap = (missing) => {
    throw missing
  },
  inspect,
} = {}) {
  const streams = new Map()
  let [events, gaps, at] = [0, 0, 0]
  const add = (event) => {
    const { stream_id, version, position, prev_hash, hash: hash3 } = event
    if (!(position > at)) throw new Broken(placeOf(event), `comes after position ${at}.`)
    const state = streams.get(stream_id) ?? { version: 0, hash: null, position: 0, facts: {} }
    const isLink = prev_hash === null || prev_hash === state.hash || HASH.test(prev_hash)
    if (!isLink || eventHash(event) !== hash3) {
      throw new Broken(placeOf(event), 'is changed: its hash does not match its contents.')
    }
    if (version !== state.version + 1) skip(event, state)
    else if (prev_hash !== state.hash) {
      throw new Broken(placeOf(event), `is not chained to version ${state.version}.`)
    }
    inspect?.(event, state)
    state.version = version
    state.hash = hash3
    state.position = position
    streams.set(stream_id, state)
    events++
    at = position
  }
  const skip = ({ stream_id, version, position }, state) => {
    const next = state.version + 1
    if (version < next) {
      const why = `comes after version ${state.version} of its stream.`
      throw new Broken({ stream_id, version, position }, why)
    }
    onGap(new Broken({ stream_id, version: next }, `is missing: version ${version} follows.`))
    gaps++
    state.facts = null
  }
  const begin = (stream_id, head) => {
    streams.set(stream_id, { ...head, facts: null })
  }
  return {
    streams,
    begin,
    add,
    report: () => ({ events, streams: streams.size, gaps, position: at }),
  }
}

// src/verifier/export.ts

/**
 * Checks an export. Returns a report, or throws an error that says what is broken or cannot be checked.
 * `kept`: checkpoints whose sizes it should tell the roots of.
 */
async function verifyExport(file, trust, kept = []) {
  const leaves = followLeaves(new Set(kept.map(({ size }) => size)))
  const shown = inspector()
  let missing = null
  const onGap = (gap) => {
    missing ??= gap
  }
  const trail = follow({ onGap, inspect: shown.add })
  const add = (text, number) => {
    const read = readLine(text, number)
    if ('records' in read)
      leaves.add({ leaf: read.leaf ?? 0 }, read, () => recordsEntry(read.records))
    else {
      leaves.add(placeOf(read), read.line, () => eventEntry(read))
      trail.add(read)
    }
  }
  const trailer = await readExport(file, add, trailerOfEvents)
  const log = requireSigned(trailer, leaves, trust, kept, REWRITTEN)
  const whole = Object.keys(trailer.query).length === 0 && trailer.parked.length === 0
  const lost = missing ?? leaves.hidden()
  if (whole && lost !== null) throw lost
  const report = trail.report()
  if (trailer.count !== report.events) {
    const held = `holds ${report.events} events; its trailer counts ${trailer.count}.`
    throw new Broken({}, held)
  }
  return { ...report, ...shown.report(), log, roots: leaves.roots, whole, trailer }
}

/**
 * The checkpoint of an export whose leaves have all been added; null: it has none. Error: `Broken`. `otherwise`: what is
 * wrong if all but the root is right.
 */
function requireSigned({ log: given }, leaves, trust, kept, otherwise) {
  const log = given && openCheckpoint(given.checkpoint, trust)
  const root = leaves.end(log?.size ?? 0, given?.after ?? [])
  if (log !== null) requireRoot(log, root, leaves.roots, kept, otherwise)
  return log
}

/**
 * Gives each line to `add`, and returns the last one, the trailer: its contents are printed, and decide what is required of
 * the rest, so it must be as an export writes it. Error: `Broken`, `Unreadable`.
 */
async function readExport(file, add, trailerOf) {
  let [number, last, lastNumber] = [0, '', 0]
  for await (const lines of linesOf(file)) {
    for (const line2 of lines) {
      number++
      if (line2 === '') continue
      if (last !== '') add(last, lastNumber)
      last = line2
      lastNumber = number
    }
  }
  if (last === '') throw new Unreadable(`${file} is empty.`)
  const line = parse2(last)
  if (!isObject(line) || !isObject(line.trailer)) {
    throw new Unreadable(`${file} is cut off: its last line is not the trailer.`)
  }
  const trailer = trailerOf(line.trailer)
  const { query, log } = trailer
  const isRight =
    isObject(query) &&
    (log === null || (typeof log.checkpoint === 'string' && Array.isArray(log.after))) &&
    JSON.stringify({ trailer }) === last
  if (!isRight) throw new Broken({ thing: 'The trailer' }, 'is not one that an export writes.')
  return trailer
}
var trailerOfEvents = (trailer) => {
  const { count: count2, position, exported_at, exported_by, query, log } = trailer
  const parked = Array.isArray(trailer.parked) ? trailer.parked : []
  const said = { exported_at, exported_by, query, log: proofIn(log) }
  return { count: count2, position, parked, ...said }
}

/** Its members in the order of an export. */
var proofIn = (log) => (isObject(log) ? { checkpoint: log.checkpoint, after: log.after } : null)

/** Checks of each event what its hash does not tell, and counts what is to be reported. */
function inspector() {
  const erasedUsers = new Set()
  const goneUsers = new Set()
  const unreadable = []
  const unproven = []
  let unlogged = null
  let [erased, logged] = [0, 0]
  return {
    add(event, state) {
      const { line } = event
      const fields = requireShown(event, state)
      if (fields.length > 0) unproven.push([placeOf(event), fields])
      if (line.unreadable) unreadable.push(placeOf(event))
      if (line.erased) erased++
      for (const user of usersErasedIn(line)) erasedUsers.add(user)
      if (event.type === 'UserErased') goneUsers.add(event.stream_id)
      if (line.leaf === null) unlogged ??= placeOf(event)
      else logged++
    },
    report() {
      const doubtful = [...erasedUsers].filter((user) => !goneUsers.has(`user-${user}`))
      return { logged, unlogged, erased, unreadable, doubtful, unproven }
    },
  }
}
var REWRITTEN =
  'though each hash and chain in it is right: an event was rewritten, hash and all, or has another position or leaf, or another line or hash of the log was changed.'

/** What differs can be named only if it breaks a hash or a chain, too; a kept checkpoint narrows it down. */
function requireRoot(log, root, roots, kept, otherwise) {
  if (root.equals(log.root)) return
  const told = kept.filter(({ size }) => roots.has(size) && size <= log.size)
  const isRight = ({ size, root: root2 }) => roots.get(size)?.equals(root2)
  const from = Math.max(0, ...told.filter(isRight).map(({ size }) => size))
  const to = Math.min(log.size, ...told.filter((old) => !isRight(old)).map(({ size }) => size))
  const where = told.length === 0 ? '' : ` It is among leaves ${from} to ${to - 1}.`
  throw new Broken({}, `is not what its checkpoint signs, ${otherwise}${where}`)
}

// src/transparency-log/proof-file.ts
var FIRST_LINE = 'c2sp.org/tlog-proof@v1'
var MOST_CHARACTERS = 2 ** 21

/** Null: not a proof file. */
function readProofFile(text) {
  const parts = text.length > MOST_CHARACTERS ? null : headAndBody(text)
  const [first, ...head] = parts?.head ?? []
  if (!parts || first !== FIRST_LINE || parts.body === '') return null
  const extraLine = head[0]?.startsWith('extra ') ? head.shift() : undefined
  const extra = extraLine === undefined ? null : base64(extraLine.slice('extra '.length))
  if (extraLine !== undefined && !extra?.length) return null
  const [indexLine = '', ...hashTexts] = head
  const index = indexLine.startsWith('index ') ? decimal(indexLine.slice('index '.length)) : null
  const proof = hashTexts.length > MOST_HASHES ? null : hashes(hashTexts)
  return index === null || !proof ? null : { extra, index, proof, checkpoint: parts.body }
}

// src/verifier/records.ts

/** Tables that the log covers besides events, in the order of their marks; rows are only added. */
var RECORDS = ['audit_accesses', 'security_events']

/** What is hashed of a row: a null column does not count, so that a new column changes no hash. */
var hashedPart = (row) =>
  Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null))

/** Covers the whole row. */
var recordHash = (table, row) => sha256(canonical({ table, row: hashedPart(row) })).toString('hex')

/** What a leaf says of all of them. */
var recordsDigest = (ends, marks) => sha256(Buffer.concat([sha256(canonical(ends)), marks]))
var MARK_BYTES = 45
var PREVIOUS = 255

/** Null: they do not have the form of marks. */
function readMarks(marks) {
  if (marks.length % MARK_BYTES !== 0) return null
  const isLinked = marks[0] === PREVIOUS
  const records = []
  for (let start = isLinked ? MARK_BYTES : 0; start < marks.length; start += MARK_BYTES) {
    const table = RECORDS[marks.readUInt8(start)]
    if (table === undefined) return null
    records.push({
      table,
      id: marks.readUIntBE(start + 1, 6),
      recorded_at: new Date(marks.readUIntBE(start + 7, 6)).toISOString(),
      hash: marks.toString('hex', start + 13, start + MARK_BYTES),
    })
  }
  return { previous: isLinked ? previousIn(marks) : undefined, records }
}
function previousIn(marks) {
  const leaf = marks.readUIntBE(1, 6) - 1
  return leaf < 0 ? null : { leaf, digest: marks.toString('hex', 13, MARK_BYTES) }
}
var isSamePrevious = (one, other) => one?.leaf === other?.leaf && one?.digest === other?.digest

// src/verifier/records-export.ts

/** What expires later is in no database any more when somebody removed it; an export takes an hour at most. */
var KEPT_MS = 30 * 864e5 - 36e5

/** Checks an export of accesses or security events, or the proof of one. Error: `Broken`, `Unreadable`. */
async function verifyRecordsExport(file, trust, kept = []) {
  const leaves = followLeaves(new Set(kept.map(({ size }) => size)))
  const shown = follow2()
  const add = (text, number) => {
    const { table, line } = readLine2(text, number)
    if ('row' in line) shown.addRow(table, line.id, recordHash(table, line.row))
    else {
      leaves.add({ leaf: line.leaf }, line, () => recordsEntry(line.records))
      shown.addLeaf(table, line)
    }
  }
  const trailer = await readExport(file, add, trailerOfRecords)
  const log = requireSigned(trailer, leaves, trust, kept, CHANGED)
  const whole = Object.keys(trailer.query).length === 0
  return { ...shown.report(trailer, whole), log, roots: leaves.roots, trailer, whole }
}
var CHANGED = 'though each digest in it is right: another leaf or hash of the log was changed.'
function trailerOfRecords(trailer) {
  const { table, count: count2, last, exported_at, exported_by, query, log } = trailer
  const known = RECORDS.find((name) => name === table)
  const facts = {
    table: known,
    count: count2,
    last,
    exported_at,
    exported_by,
    query,
    log: proofIn(log),
  }
  return facts
}
function readLine2(text, number) {
  const broken = (why) => new Broken({ line: number }, why)
  const read = parse2(text)
  if (read === undefined) throw new Unreadable(`Line ${number} is not a line of an NDJSON export.`)
  const line = isObject(read) ? read : {}
  const table = RECORDS.find((name) => name === line.table)
  if (table === undefined) throw broken('is of no table of records.')
  const { row, leaf, before, marks: given } = line
  if (isObject(row)) {
    const isRight2 = isSize(row.id) && JSON.stringify({ table, row: hashedPart(row) }) === text
    if (!isRight2) throw broken('is not a record as an export writes it.')
    return { table, line: { row, id: row.id } }
  }
  const { audit_accesses, digest, security_events } = isObject(line.records) ? line.records : {}
  const records = { audit_accesses, digest, security_events }
  const bytes = Buffer.from(typeof given === 'string' ? given : '', 'base64')
  const written = { table, leaf, before, records, marks: bytes.toString('base64') }
  const ends = { audit_accesses, security_events }
  const isRight =
    isSize(leaf) && Array.isArray(before) && RECORDS.every((name) => isSize(ends[name]))
  if (!isRight || JSON.stringify(written) !== text) {
    throw broken('is not a leaf of records as an export writes it.')
  }
  const marks = readMarks(bytes)
  if (marks === null || recordsDigest(ends, bytes).toString('hex') !== digest) {
    throw new Broken({ leaf }, 'is changed: its marks are not what its digest is of.')
  }
  return { table, line: { leaf, before, records, marks } }
}

/** Compares records with the marks of the leaves before them. */
function follow2() {
  const tables = new Set()
  const missing = []
  let covering = null
  let previous = null

  /** The first leaf that does not follow the one that is shown before it. */
  let skipped = null
  let unlinked = null
  let [first, id, count2, logged, newest] = [0, 0, 0, 0, '']
  let unlogged = null
  const close = () => {
    if (covering === null) return
    for (const mark of covering.open.values()) missing.push([mark, covering.leaf])
  }
  return {
    addLeaf(table, { leaf, records, marks }) {
      tables.add(table)
      close()
      const named = marks.previous
      if (named === undefined) unlinked ??= leaf
      else if (!isSamePrevious(named, previous)) {
        const lost = named === null ? 'is the first of records' : `follows leaf ${named.leaf}`
        skipped ??= new Broken({ leaf }, `${lost}, which is not the one that is shown before it.`)
      }
      previous = { leaf, digest: records.digest }
      const own = marks.records.filter((mark) => mark.table === table)
      const open2 = new Map(own.map((mark) => [mark.id, mark]))
      covering = { leaf, end: records[table], open: open2 }
      for (const { recorded_at } of marks.records) if (recorded_at > newest) newest = recorded_at
    },
    addRow(table, given, hash3) {
      tables.add(table)
      const broken = (why) => new Broken({ table, id: given }, why)
      if (given <= id) throw broken(`comes after ${id}.`)
      id = given
      first ||= given
      count2++
      if (covering === null || given > covering.end) {
        unlogged ??= given
        return
      }
      const { leaf, open: open2 } = covering
      const mark = open2.get(given)
      if (mark === undefined)
        throw broken(`is not covered by leaf ${leaf} of the log, behind which it stands.`)
      if (mark.hash !== hash3) throw broken(`is changed since it was logged (leaf ${leaf}).`)
      open2.delete(given)
      logged++
    },
    report({ table, count: said, last }, whole) {
      close()
      if ([...tables].some((name) => name !== table)) {
        throw new Broken({}, `has lines that are not of ${table}, of which its trailer is.`)
      }
      if (said !== count2)
        throw new Broken({}, `holds ${count2} records; its trailer counts ${said}.`)
      if (id > last)
        throw new Broken({}, `goes beyond ${table} ${last}, where its trailer says it ends.`)
      if (whole && skipped !== null) throw skipped
      if (whole) requireExpired(missing, first, newest)
      const end = previous && { leaf: previous.leaf, recorded_at: newest }
      const removed = whole ? missing.length : 0
      return { id, logged, unlogged, removed, unlinked: whole ? unlinked : null, end }
    },
  }
}

/** The oldest may be missing, if they are older than any that must be there. */
function requireExpired(missing, first, newest) {
  const expired = new Date(Date.parse(newest) - KEPT_MS)
  for (const [{ table, id, recorded_at }, leaf] of missing) {
    if ((first === 0 || id < first) && Date.parse(recorded_at) < expired.getTime()) continue
    throw new Broken({ table, id }, `is missing: leaf ${leaf} of the log covers it.`)
  }
}

// src/verifier/extends.ts

/** From a checkpoint, an export or a proof file. Error: `Unreadable`, `Broken`. */
async function readKept(file, trust) {
  const note = await noteIn(file)
  if (note === undefined) throw new Unreadable(`${file} has no checkpoint to compare with.`)
  return { file, log: openCheckpoint(note, trust, `The checkpoint in ${file}`) }
}
async function noteIn(file) {
  const kind = await kindOf(file)
  if (kind === 'export' || kind === 'records') {
    const trailerOf = kind === 'export' ? trailerOfEvents : trailerOfRecords
    return (await readExport(file, () => {}, trailerOf)).log?.checkpoint
  }
  const text = await textIn(file, 'The file')
  return kind === 'checkpoint' ? text : readProofFile(text)?.checkpoint
}

/** Error: `Unreadable`. */
async function readConsistency(file) {
  const answer = parse2(await textIn(file, 'The proof'))
  const { from, to, hashes: given } = isObject(answer) ? answer : {}
  const proof = Array.isArray(given) ? hashes(given) : null
  if (isSize(from) && isSize(to) && proof) return { from, to, proof }
  throw new Unreadable(`${file} is not an answer of GET /log/consistency.`)
}

/**
 * Whether a log extends each one that was kept. `roots`: of this log at smaller sizes, as far as they are
 * known; elsewhere one of the proofs must show it. Error: `Broken`, `Unreadable`.
 */
function compare(log, kept, roots, proofs) {
  const says = []
  const notProven2 = []
  for (const old of kept) {
    if (log === null) throw new Broken({}, `has no checkpoint, but ${old.file} has one.`)
    requireLater(log, old)
    const isProven = requireExtends(log, old, roots, proofs)
    const extended = `extends the log of ${old.log.size} leaves in ${old.file}`
    if (isProven) says.push(`It ${extended}.`)
    else {
      const asked = `GET /log/consistency?from=${old.log.size}&to=${log.size}`
      notProven2.push(
        `Nothing proves that it ${extended}: name the answer of ${asked} with --consistency.`,
      )
    }
  }
  return { says, notProven: notProven2 }
}
var contradicts = (why) => new Broken({ thing: 'The checkpoint' }, why)
function requireLater(log, { file, log: old }) {
  if (old.origin !== log.origin) {
    throw new Unreadable(`${file} is of another log, ${old.origin} and not ${log.origin}.`)
  }
  if (old.size > log.size) {
    const sizes = `covers ${log.size} leaves, ${file} ${old.size}`
    throw contradicts(`${sizes}: it is the older one, or the log was rolled back.`)
  }
}

/** False: nothing tells. */
function requireExtends(log, { file, log: old }, roots, proofs) {
  const known = new Map([...roots, [0, EMPTY_ROOT], [log.size, log.root]])
  const root = known.get(old.size)
  if (root !== undefined) {
    if (root.equals(old.root)) return true
    const first = old.size === log.size ? 'are not the same' : 'do not begin with the same leaves'
    throw contradicts(
      `contradicts ${file}: both are signed, but their logs ${first}. The log was rewritten, and the two files prove it: keep both.`,
    )
  }
  const proof = proofs.find(({ from, to }) => from === old.size && to === log.size)
  if (proof === undefined) return false
  if (isConsistent({ ...proof, fromRoot: old.root, toRoot: log.root })) return true
  throw contradicts(
    `does not extend ${file} by the given proof: the proof was changed, or the log rewritten.`,
  )
}

// src/verifier/proof.ts
var THING = 'The proof'

/** Error: `Broken`, `Unreadable`. */
async function verifyProof(file, trust) {
  const proof = readProofFile(await textIn(file, THING))
  if (proof === null) throw new Unreadable(`${file} is not a proof file (c2sp.org/tlog-proof@v1).`)
  const entry = proof.extra && utf8(proof.extra)
  if (entry === null) throw new Unreadable(`${file} does not say what it proves.`)
  const log = openCheckpoint(proof.checkpoint, trust)
  const { size } = log
  const root = rootOfInclusion({ ...proof, size, leaf: leafHash(entry) })
  if (!root?.equals(log.root)) {
    const what = 'the entry, its index or a hash was changed'
    throw new Broken({ thing: THING }, `does not lead to the root of its checkpoint: ${what}.`)
  }
  return { log, index: proof.index, event: eventOfEntry(entry), entry }
}

/** Null: of accesses and security events. */
function eventOfEntry(entry) {
  const read = parse2(entry)
  if (isObject(read) && eventEntry(read) === entry) return read
  if (isObject(read) && recordsEntry(read) === entry) return null
  throw new Unreadable(`The log has this entry, but it is of a kind that is unknown here: ${entry}`)
}

/** Checks that a line of an export is the proven event. Returns what it shows without proof. Error: `Broken`, `Unreadable`. */
async function compareEvent(file, proven) {
  const event = readLine((await textIn(file, 'The event')).trim(), 1)
  if (proven.event === null || 'records' in event) {
    throw new Unreadable('Only an event can be compared with the proof of one.')
  }
  if (eventEntry(event) !== proven.entry) {
    throw new Broken(placeOf(event), `is not the proven event, ${nameOf(placeOf(proven.event))}.`)
  }
  const unproven = []
  follow({
    // There are no events before it.
    onGap: () => {},
    inspect: (_, state) => unproven.push(...requireShown(event, state)),
  }).add(event)
  if (unproven.length === 0) return []
  return [fromOf(placeOf(event), unproven)]
}

/** That fields of an event show a value of before that nothing proves. */
var fromOf = (event, fields) =>
  `${nameOf(event)}: nothing proves the values before it, "from" of ${fields.join(', ')}.`

// src/verifier/report.ts
var grouped = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, ',')
var count = (number, noun) => `${grouped(number)} ${noun}${number === 1 ? '' : 's'}`

/** What hashes and chains say of events. */
function describe({ events, streams, gaps, position }) {
  const all = `${count(events, 'event')} of ${count(streams, 'stream')}`
  const lines = [`Nothing is broken: ${all}, up to position ${position}.`]
  if (gaps > 0) {
    const what = 'events before a gap are not chained to those after it'
    lines.push(`Its streams have ${count(gaps, 'gap')}: ${what}.`)
  }
  return lines
}

/** Who signed a checkpoint, and of what. */
var describeLog = (log) => [
  `The checkpoint of ${log.origin}: ${grouped(log.size)} leaves, root ${log.root.toString('base64')}.`,
  `Signed by ${log.signers.join(', ')}.`,
  ...log.cosigned.map(({ by, at }) => `Cosigned by ${by} at ${at}.`),
]
var lackingIn = ({ lacking }) => lacking.map((what) => `The checkpoint: ${what}`)
function describeExport(report) {
  const { trailer, erased, log, events, logged } = report
  const lines = [
    ...describe(report),
    ...(log === null ? [NO_LOG] : describeLog(log)),
    `In the log: ${count(logged, 'event')}. Not proven by it: ${count(events - logged, 'event')}.`,
    saysOf(trailer),
    extentOf(report),
  ]
  if (erased > 0) {
    lines.push(`Marked as erased, their texts gone: ${count(erased, 'event')}.`)
  }
  return lines
}
function saysOf({ exported_at, exported_by, query }) {
  const filters = Object.entries(query).map(([name, value]) => `${name}=${JSON.stringify(value)}`)
  const asked = filters.length === 0 ? '' : `, filtered by ${filters.join(' ')}`
  return `Its trailer says: exported at ${JSON.stringify(exported_at)} by user ${JSON.stringify(exported_by)}${asked}.`
}
var NO_LOG_OF_RECORDS = 'No checkpoint: nothing proves any of it.'
var NO_LOG =
  'No checkpoint: the chains hold, but no signature proves them. Anyone with write access could have rewritten all of it.'
function extentOf({ whole, log }) {
  if (!whole) {
    return 'It is a part of the log. This proves nothing about other events, not even that its streams end here.'
  }
  if (log === null) return 'It claims to be the whole log; nothing proves that.'
  return `It is the whole log up to leaf ${log.size - 1}; nothing proves what is after it.`
}
var describeProof = ({ log, index, event, entry }) => [
  event === null
    ? `Proven: the log has the accesses and security events ${entry} as its leaf ${index}.`
    : `Proven: the log has ${nameOf(placeOf(event))}, hash ${event.hash}, as its leaf ${index}.`,
  ...describeLog(log),
]
function describeRecords(report) {
  const { trailer, log, logged, id } = report
  const { table, count: all } = trailer
  const lines = [
    `Nothing is broken: ${count(all, 'record')} of ${table}, up to id ${id}.`,
    ...(log === null ? [NO_LOG_OF_RECORDS] : describeLog(log)),
    `In the log: ${count(logged, 'record')}. Not proven by it: ${count(all - logged, 'record')}.`,
    saysOf(trailer),
    extentOfRecords(report),
  ]
  if (report.removed > 0)
    lines.push(`Removed when they had expired: ${count(report.removed, 'record')}.`)
  return lines
}
function extentOfRecords({ whole, end, trailer: { table } }) {
  if (!whole) return 'It is a part: it proves what it holds, and nothing about other records.'
  if (end === null) return `It claims to have all of ${table}; nothing proves that.`
  return `It has all of ${table} up to leaf ${end.leaf} of the log, whose records go up to ${end.recorded_at}; nothing proves what is after it.`
}

/** The same for an export of records. */
var notProvenOfRecords = ({ trailer: { table, count: all }, logged, unlogged, unlinked, log }) => [
  ...(unlogged === null
    ? []
    : [
        `${table} ${unlogged} and what follows, ${count(all - logged, 'record')} in all: not in the log of the checkpoint.`,
      ]),
  ...(unlinked === null
    ? []
    : [
        `Leaf ${unlinked}: it names no leaf before it, so nothing proves that none is missing there.`,
      ]),
  ...(log === null
    ? ['The export: it has no checkpoint, so nothing proves that nothing is missing.']
    : lackingIn(log)),
]

/** What is not proven in an export, a line each; empty only if everything is proven. */
var notProven = (report) => [
  ...(report.unlogged === null
    ? []
    : [
        `${nameOf(report.unlogged)} and what follows, ${count(report.events - report.logged, 'event')} in all: not in the log of the checkpoint.`,
      ]),
  ...report.unproven.map(([event, fields]) => fromOf(event, fields)),
  ...report.unreadable.map(
    (event) => `${nameOf(event)}: it is marked as unreadable: a text or its key is damaged.`,
  ),
  ...report.doubtful.map(
    (user) => `user-${user}: marked as erased, but the export has no UserErased.`,
  ),
  ...report.trailer.parked.map(
    (stream) =>
      `${JSON.stringify(stream)}: the trailer says that this stream was parked from that version on, which nothing proves. Export again when it is resumed.`,
  ),
  ...(report.log === null
    ? ['The export: it has no checkpoint, so nothing proves that nothing is missing.']
    : lackingIn(report.log)),
]

/** Escapes control and invisible characters for a terminal: much of the text was written by others. */
var printable = (text) =>
  text.replace(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
    (sign2) => `\\u{${sign2.codePointAt(0)?.toString(16)}}`,
  )

/** Runs a check and prints its result; returns the exit code. */
async function conclude(check2) {
  try {
    const { says, notProven: notProven2 } = await check2()
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
  if (error instanceof RangeError) {
    return [2, `Something in it is too long or too deep to be read (${error.message}).`]
  }
  return [2, error instanceof Error ? error.message : String(error)]
}

// src/verifier/trust.ts

/** Command-line options, for parseArgs. */
var TRUST_OPTIONS = {
  key: { type: 'string', multiple: true },
  witness: { type: 'string', multiple: true },
  quorum: { type: 'string' },
}

/** All witnesses must have cosigned unless told. Error: `Unreadable`. */
async function readTrust({ key = [], witness = [], quorum }) {
  const keys = (await Promise.all(key.map(keysIn))).flat()
  const witnesses = (await Promise.all(witness.map(keysIn))).flat()
  for (const { name } of keys.filter((key2) => !isLogKey(key2))) {
    throw new Unreadable(`The key of ${name} is a witness's: name it with --witness.`)
  }
  for (const { name } of witnesses.filter((key2) => !isWitnessKey(key2))) {
    throw new Unreadable(`The key of ${name} is a log's: name it with --key.`)
  }
  const needed = quorum === undefined ? witnesses.length : (decimal(quorum) ?? 0)
  if (quorum !== undefined && !(needed >= 1 && needed <= witnesses.length)) {
    throw new Unreadable(
      `--quorum is a number from 1 to that of the witnesses, ${witnesses.length}.`,
    )
  }
  return { keys, witnesses, quorum: needed }
}

/** A text, or the name of a file. */
async function keysIn(text) {
  const key = parseVerifierKey(text)
  if (key !== null) return [key]
  const lines = (await textIn(text, 'The key')).split('\n').map((line) => line.trim())
  const keys = lines.filter((line) => line !== '').map(parseVerifierKey)
  if (keys.length > 0 && keys.every((key2) => key2 !== null)) return keys
  throw new Unreadable(`${text} does not hold verifier keys, name+id+key, one a line.`)
}

// src/verify-audit.ts
var USAGE = `Usage: node verify-audit.mjs <file> --key <key> [options]

Checks an export of the audit trail, offline: every event, chain and text, and that the log holds them. Or an
export of accesses or security events, a proof that the log holds one event (.tlog-proof), or a checkpoint.

  --key <key>             a verifier key of the log, or a file with one a line; repeat it for older keys
  --witness <key>         a verifier key of a witness that must have cosigned; repeat it for each
  --quorum <number>       how many of the witnesses must have cosigned, if not all
  --extends <file>        an older export, proof or checkpoint, of which this one must be a continuation
  --consistency <file>    the answer of GET /log/consistency, for what is not a whole export
  --event <file>          with a proof: the event, as a line of an export
  -h, --help              prints this help

Exit code: 0 everything in the file is proven, 1 something is broken, 2 it cannot be checked, 3 nothing is
broken, but not everything is proven: what is not is named, such as events that are not in the log yet.`
var { values, args } = commandLine({
  usage: USAGE,
  options: {
    ...TRUST_OPTIONS,
    extends: { type: 'string', multiple: true },
    consistency: { type: 'string', multiple: true },
    event: { type: 'string' },
  },
  takes: [1, 1],
})
process.exitCode = await conclude(async () => {
  const trust = await readTrust(values)
  if (trust.keys.length === 0) {
    throw new Unreadable('No key: nothing can be proven without one (--key).')
  }
  return check(args[0] ?? '', trust)
})
async function check(file, trust) {
  const kept = await Promise.all((values.extends ?? []).map((old) => readKept(old, trust)))
  const proofs = await Promise.all((values.consistency ?? []).map(readConsistency))
  const kind = await kindOf(file)
  if (values.event !== undefined && kind !== 'proof') {
    throw new Unreadable('--event goes only with a proof.')
  }
  if (kind === 'export') {
    const older = kept.map(({ log: log2 }) => log2)
    const report = await verifyExport(file, trust, older)
    const conclusion2 = { says: describeExport(report), notProven: notProven(report) }
    return both(conclusion2, compare(report.log, kept, report.roots, proofs))
  }
  if (kind === 'records') {
    const report = await verifyRecordsExport(
      file,
      trust,
      kept.map(({ log: log2 }) => log2),
    )
    const conclusion2 = { says: describeRecords(report), notProven: notProvenOfRecords(report) }
    return both(conclusion2, compare(report.log, kept, report.roots, proofs))
  }
  if (kind === 'proof') {
    const report = await verifyProof(file, trust)
    const unproven = values.event === undefined ? [] : await compareEvent(values.event, report)
    const open2 = [...lackingIn(report.log), ...unproven]
    const conclusion2 = { says: describeProof(report), notProven: open2 }
    return both(conclusion2, compare(report.log, kept, new Map(), proofs))
  }
  const log = openCheckpoint(await textIn(file, 'The checkpoint'), trust)
  const conclusion = { says: describeLog(log), notProven: lackingIn(log) }
  return both(conclusion, compare(log, kept, new Map(), proofs))
}
function both(one, other) {
  return {
    says: [...one.says, ...other.says],
    notProven: [...one.notProven, ...other.notProven],
  }
}
