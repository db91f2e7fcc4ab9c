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
function needHash(value) {
  if (!isHash(value)) throw new RangeError(`A hash has 32 bytes, not ${value.length}`)
}
var isSize = (value) => Number.isSafeInteger(value) && value >= 0
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
    (node, hash4, at) => (siblings[at]?.left ? nodeHash(hash4, node) : nodeHash(node, hash4)),
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
  hashes2.forEach((hash4, at) => {
    const { left } = siblings[at] ?? {}
    larger = left ? nodeHash(hash4, larger) : nodeHash(larger, hash4)
    if (left) smaller = nodeHash(hash4, smaller)
  })
  return smaller.equals(fromRoot) && larger.equals(toRoot)
}

// src/transparency-log/lines.ts

/** What the text formats have in common: decimal numbers, base64 and hashes, each with one spelling only. */

/** A number from 0 on, without leading zeros; null: not one, or too large to be exact. */
function decimal(text2) {
  if (!/^(0|[1-9]\d{0,15})$/.test(text2)) return null
  const value = Number(text2)
  return isSize(value) ? value : null
}
function base64(text2) {
  const bytes = Buffer.from(text2, 'base64')
  return bytes.toString('base64') === text2 ? bytes : null
}

/** The hashes of lines of base64; null unless every line is one. */
function hashes(lines) {
  const found = []
  for (const line of lines) {
    const bytes = base64(line)
    if (!bytes || !isHash(bytes)) return null
    found.push(bytes)
  }
  return found
}

/** What is before the first empty line, as lines, and what is after it; null: there is none. */
function headAndBody(text2) {
  const end = text2.indexOf('\n\n')
  if (end === -1) return null
  return { head: text2.slice(0, end).split('\n'), body: text2.slice(end + 2) }
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
var isOrigin = (text2) => text2.isWellFormed() && new RegExp('^\\P{Cc}+$', 'u').test(text2)

/** The text of a note; null if it is no checkpoint. Lines of other meaning are not allowed. */
function parseCheckpoint(text2) {
  const [origin, size, root, end, ...more] = text2.split('\n')
  if (origin === undefined || size === undefined || root === undefined) return null
  const [leaves, hash4] = [decimal(size), base64(root)]
  if (!isOrigin(origin) || leaves === null || !hash4 || !isHash(hash4)) return null
  return end === '' && more.length === 0 ? { origin, size: leaves, root: hash4 } : null
}

// src/transparency-log/cosignature.ts

/** What a witness signs, and what its signature line carries (C2SP tlog-cosignature, Ed25519). */
var TIME_BYTES = 8
var SIGNATURE_BYTES = 64

/** `time`: whole seconds since 1970 in UTC. `text`: the checkpoint's. */
var cosignedText = (time, text2) => `cosignature/v1
time ${time}
${text2}`

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
  const [dash, name, text2, ...more] = line.split(' ')
  if (dash !== '—' || name === undefined || text2 === undefined || more.length > 0) return null
  const bytes = base64(text2)
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
  const id2 = sha256(
    Buffer.concat([
      Buffer.from(`${name}
`),
      typed,
    ]),
  ).subarray(0, 4)
  const der = Buffer.concat([SPKI, publicKey])
  return {
    name,
    id: id2,
    type,
    publicKey: createPublicKey({ key: der, format: 'der', type: 'spki' }),
    text: `${name}+${id2.toString('hex')}+${typed.toString('base64')}`,
  }
}

/** `<name>+<id in hex>+<base64 of type and public key>`; null if it is not the key of a log or a witness. */
function parseVerifierKey(text2) {
  const [, name = '', id2 = '', encoded = ''] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/su.exec(text2) ?? []
  const bytes = base64(encoded)
  if (!isKeyName(name) || bytes?.length !== 1 + KEY_BYTES) return null
  const type = bytes[0]
  if (type !== LOG && type !== WITNESS) return null
  const key = verifierKey(name, type, bytes.subarray(1))
  return key.id.toString('hex') === id2 ? key : null
}

/** Whether the line names this key. */
var names = (line, key) => line.name === key.name && line.id.equals(key.id)

/** Whether the key made this signature of the text. */
function verifies(key, text2, signature) {
  if (isLogKey(key)) return verify(null, Buffer.from(text2), key.publicKey, signature)
  const cosignature = readCosignature(signature)
  if (!cosignature) return false
  const signed = Buffer.from(cosignedText(cosignature.time, text2))
  return verify(null, signed, key.publicKey, cosignature.signature)
}

// src/transparency-log/policy.ts

/** What is wrong with a policy, and in which line (from 1 on; null: in none). */
var PolicyError = class extends Error {
  line
  constructor(what, line = null) {
    super(line === null ? `Policy: ${what}` : `Policy, line ${line}: ${what}`)
    this.name = 'PolicyError'
    this.line = line
  }
}
var NONE = 'none'

/** In a text of one line, as a setting is, `;` ends a line too. Error: PolicyError. */
function readPolicy(text2) {
  const draft = { logs: [], witnesses: [], groups: [], quorum: null, publicKeys: new Set() }
  linesOf(text2).forEach((line, at) => {
    const fault = addLine(draft, line)
    if (fault !== null) throw new PolicyError(fault, at + 1)
  })
  const { logs, witnesses, groups, quorum } = draft
  if (quorum === null) throw new PolicyError('it has no line `quorum`')
  return { logs, witnesses, groups, quorum }
}
function linesOf(text2) {
  const isOneLine = !text2.trim().includes('\n')
  return text2.split(isOneLine ? /[\n;]/ : '\n')
}

/** What is wrong with the line, or null. */
function addLine(draft, line) {
  if (/[\0-\x08\x0a-\x1f\x7f]/.test(line)) return 'it has a control character'
  const [keyword = '', ...words] = line.split(/[ \t]+/).filter((word) => word !== '')
  if (keyword === '' || keyword.startsWith('#')) return null
  if (keyword === 'log') return addLog(draft, words)
  if (keyword === 'witness') return addWitness(draft, words)
  if (keyword === 'group') return addGroup(draft, words)
  if (keyword === 'quorum') return setQuorum(draft, words)
  return `it begins with none of log, witness, group and quorum: ${JSON.stringify(keyword)}`
}
function addLog(draft, [text2, url, ...more]) {
  const key = parseVerifierKey(text2 ?? '')
  if (more.length > 0) return 'a log has a key and at most one URL'
  if (!key || !isLogKey(key)) return 'its key is not the verifier key of a log'
  draft.logs.push({ key, url: url ?? null })
  return takeKey(draft, key)
}
function addWitness(draft, words) {
  const [name = '', text2 = '', url, ...more] = words
  const key = parseVerifierKey(text2)
  if (more.length > 0) return 'a witness has a name, a key and at most one URL'
  if (!key || !isWitnessKey(key)) return 'its key is not the verifier key of a witness'
  const fault = faultOfNewName(draft, name)
  draft.witnesses.push({ name, key, url: url ?? null })
  return fault ?? takeKey(draft, key)
}
function takeKey({ publicKeys }, { publicKey }) {
  const text2 = publicKey.export({ format: 'der', type: 'spki' }).toString('hex')
  if (publicKeys.has(text2)) return 'another line has the same public key'
  publicKeys.add(text2)
  return null
}
var isDefined = ({ witnesses, groups }, name) =>
  [...witnesses, ...groups].some((each) => each.name === name)
var faultOfNewName = (draft, name) =>
  name === NONE || isDefined(draft, name) ? `the name ${JSON.stringify(name)} is taken` : null
function addGroup(draft, [name = '', least = '', ...members]) {
  const needed = neededOf(least, members.length)
  if (needed === null)
    return 'a group has a name, then all, any or how many are needed, and members'
  const fault = faultOfNewName(draft, name) ?? faultOfMembers(draft, members)
  draft.groups.push({ name, needed, members })
  return fault
}
function neededOf(text2, members) {
  const needed = text2 === 'all' ? members : text2 === 'any' ? 1 : decimal(text2)
  return needed !== null && needed >= 1 && needed <= members ? needed : null
}
function faultOfMembers(draft, members) {
  const taken = new Set(draft.groups.flatMap((group) => group.members))
  for (const member of members) {
    const name = JSON.stringify(member)
    if (!isDefined(draft, member)) return `no line before it defines ${name}`
    if (taken.has(member)) return `${name} is a member already`
    taken.add(member)
  }
  return null
}
function setQuorum(draft, [name = '', ...more]) {
  if (name === '' || more.length > 0) return 'a quorum is one name'
  if (draft.quorum !== null) return 'there is a quorum already'
  if (name !== NONE && !isDefined(draft, name)) {
    return `no line before it defines ${JSON.stringify(name)}`
  }
  draft.quorum = name
  return null
}

/**
 * Whether enough witnesses are among these keys, which `verifiedBy` found on a checkpoint. That one of
 * the policy's logs signed it is another question.
 */
function isMet(policy, keys) {
  const signed = new Set(keys.map(({ text: text2 }) => text2))
  const witnesses = policy.witnesses.filter(({ key }) => signed.has(key.text))
  const met = new Set([NONE, ...witnesses.map(({ name }) => name)])
  for (const { name, needed, members } of policy.groups) {
    if (members.filter((member) => met.has(member)).length >= needed) met.add(name)
  }
  return met.has(policy.quorum)
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
  return [...known.values()].filter(({ text: text2 }) => found.has(text2))
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

/** Nothing that is present is broken, but something is missing, so nothing is proven about it. */
var Incomplete = class extends Error {}
function nameOf(place) {
  const { thing, stream_id, version, position, leaf, line, table, id: id2 } = place
  if (thing !== undefined) return thing
  if (table !== undefined) return id2 === undefined ? `The table ${table}` : `${table} ${id2}`
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
function openCheckpoint(text2, { keys, witnesses, policy }, thing = 'The checkpoint') {
  const broken = (why) => new Broken({ thing }, why)
  const note = readNote(text2)
  const checkpoint = note && parseCheckpoint(note.text)
  if (!checkpoint) throw broken('is changed: it does not have the form of a signed checkpoint.')
  const own = keys.filter(({ name }) => name === checkpoint.origin)
  const others = [...witnesses, ...(policy?.witnesses ?? []).map(({ key }) => key)]
  const [signers, cosigners] = [own, others].map((of) => signersOf(note, of, broken))
  if (!signers?.length || !cosigners) {
    const known = keys.map(shortOf).join(', ')
    throw broken(`of ${checkpoint.origin} is not signed by a key that was given (${known}).`)
  }
  const missing = witnesses.filter(
    ({ text: text3 }) => !cosigners.some((key) => key.text === text3),
  )
  const lacking = missing.map((key) => `the witness ${shortOf(key)} has not cosigned it.`)
  if (policy !== null && !isMet(policy, cosigners)) {
    lacking.push('too few witnesses of the policy have cosigned it.')
  }
  const cosigned = cosigners.map((key) => ({ by: shortOf(key), at: timeOf(note, key) }))
  return { ...checkpoint, signers: signers.map(shortOf), cosigned, lacking }
}
function signersOf(note, keys, broken) {
  const impostor = keys.find((key) => verifiedBy(note, [key]) === null)
  if (impostor) throw broken(`is not signed by ${shortOf(impostor)}, though it says so.`)
  return verifiedBy(note, keys) ?? []
}
var shortOf = ({ name, id: id2 }) => `${name}+${id2.toString('hex')}`
function timeOf({ signatures }, { name, id: id2 }) {
  const line = signatures.find((line2) => line2.name === name && line2.id.equals(id2))
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
  let text2 = ''
  for (const name of Object.keys(members).sort()) {
    text2 += `${text2 === '' ? '' : ','}${JSON.stringify(name)}:${canonical(members[name])}`
  }
  return `{${text2}}`
}
var HASH = /^[0-9a-f]{64}$/

/** Of the bytes of the hash before it and of its facts. */
function eventHash(event) {
  const { stream_id, version, event_id, type, schema_version, data } = event
  const { actor_id, metadata, occurred_at, prev_hash } = event
  const facts = { actor_id, data, event_id, metadata, occurred_at, schema_version }
  const text2 = canonical({ ...facts, stream_id, type, version })
  const link = Buffer.from(prev_hash ?? '', 'hex')
  return hash2('sha256', Buffer.concat([link, Buffer.from(text2)]), 'hex')
}

// src/verifier/entries.ts

/** What the leaf of an event is the hash of. Canonical JSON; the event's hash is lower-case hex. */
var eventEntry = ({ hash: hash4, position, stream_id, version }) =>
  canonical({ hash: hash4, position, stream_id, version })

/** What the leaf of accesses and security events is the hash of. Canonical JSON. */
var recordsEntry = ({ audit_accesses, digest, security_events }) =>
  canonical({ audit_accesses, digest, security_events })

// src/verifier/export-file.ts
import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'

// src/verifier/shapes.ts

/** What is wrong, in words; null if nothing is. `name`: what to call the value. */
function faultIn(shape, value, name = '') {
  const fault = shape(value)
  return fault === null ? null : fault.says(pathOf(name, fault.path) || 'value')
}
var pathOf = (name, path) =>
  name === '' || path === '' || path.startsWith('[') ? `${name}${path}` : `${name}.${path}`
var within = (name, fault) => fault && { ...fault, path: pathOf(name, fault.path) }
var is = (what, test) => (value) => {
  if (test(value)) return null
  const isThere = value !== undefined
  return {
    path: '',
    says: (path) => (isThere ? `its ${path} is not ${what}` : `it lacks ${path}`),
  }
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
var matching = (pattern, what = `of the form ${pattern.source}`) =>
  is(what, (value) => typeof value === 'string' && pattern.test(value))
var count = is('a count', (value) => Number.isSafeInteger(value) && Number(value) >= 0)
var id = is('a whole number above 0', (value) => Number.isSafeInteger(value) && Number(value) > 0)
var moment = is('a time in UTC with milliseconds', isMoment)
var hash3 = matching(HASH, 'a hash of 64 hex digits')

/** With one spelling for each: the two bits that are left over are zero. */
var base64Hash = matching(/^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/, 'a hash of 32 bytes in base64')
var flag = is('true', (value) => value === true)
var json = is('an object', isObject)

/** The values that a field of a task can have. */
var scalar = is(
  'a text, true, false or null',
  (value) => value === null || typeof value === 'string' || typeof value === 'boolean',
)
var optional = (shape) => (value) => (value === undefined ? null : shape(value))
var nullable = (shape) => (value) => (value === null ? null : shape(value))
var list = is('a list', Array.isArray)
var listOf = (shape) => (value) => {
  if (!Array.isArray(value)) return list(value)
  for (const [index, item] of value.entries()) {
    const fault = shape(item)
    if (fault !== null) return within(`[${index}]`, fault)
  }
  return null
}
var tuple = (...shapes) => {
  const some = is(`a list of ${shapes.length}`, (value) => {
    return Array.isArray(value) && value.length === shapes.length
  })
  const faultsOf = (items) => shapes.map((shape, at) => within(`[${at}]`, shape(items[at])))
  return (value) => some(value) ?? faultsOf(value).find((fault) => fault !== null) ?? null
}
var recordOf = (shape) => (value) => {
  if (!isObject(value)) return json(value)
  for (const [name, member] of Object.entries(value)) {
    const fault = shape(member)
    if (fault !== null) return within(name, fault)
  }
  return null
}

/** It has these fields and no others: one that nothing covers would pass for checked. */
var fields = (shapes) => {
  const known = Object.entries(shapes)
  return (value) => {
    if (!isObject(value)) return json(value)
    for (const [name, shape] of known) {
      const fault = shape(Object.hasOwn(value, name) ? value[name] : undefined)
      if (fault !== null) return within(name, fault)
    }
    const strange = Object.keys(value).find((name) => !Object.hasOwn(shapes, name))
    return strange === undefined
      ? null
      : { path: strange, says: (path) => `it has a field "${path}" that no export writes` }
  }
}

// src/verifier/export-lines.ts
function eventOf(line) {
  const { position, version, type, occurred_at, recorded_at, hash: hash4, stored } = line
  const shown = { position, version, type, occurred_at, recorded_at, hash: hash4 }
  return { ...stored, ...shown, actor_id: line.actor.user_id, line }
}
var CHANGE = fields({ from: scalar, to: scalar })

/** An event as every answer shows it. */
var SHOWN = {
  position: id,
  task_id: nullable(id),
  version: id,
  type: text,
  actor: fields({ user_id: id }),
  occurred_at: moment,

  /** The same as occurred_at, as is checked later. */
  recorded_at: text,
  request_id: text,
  changes: recordOf(CHANGE),
  undoes: optional(listOf(id)),
  erased: optional(flag),
  unreadable: optional(flag),
  hash: hash3,
}
var LEAF = { leaf: nullable(count), before: listOf(base64Hash) }
var SHAPES = {
  shown: fields(SHOWN),
  line: fields({
    ...SHOWN,
    ...LEAF,
    stored: fields({
      stream_id: text,
      event_id: text,
      schema_version: id,
      data: json,
      metadata: json,
      prev_hash: nullable(hash3),
    }),
    text_keys: recordOf(text),
  }),
  records: fields({
    ...LEAF,
    leaf: count,
    records: fields({ audit_accesses: count, digest: hash3, security_events: count }),
  }),
  trailer: fields({
    trailer: fields({
      count,
      position: count,
      exported_at: moment,
      exported_by: id,
      query: json,
      parked: listOf(tuple(text, id)),
      heads: listOf(tuple(text, id, hash3)),
      log: nullable(fields({ checkpoint: text, after: listOf(base64Hash) })),
    }),
  }),
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
import { createDecipheriv, createSecretKey } from 'node:crypto'
var TEXTS = ['title', 'description']

/**
 * Checks that a line shows what its stored event says. Returns the fields whose previous value is not proven.
 */
function requireShown(line, state) {
  const { version, position, changes, stored } = line
  const place = { stream_id: stored.stream_id, version, position }
  const broken = (why) => new Broken(place, `is changed: ${why}.`)
  requireForm(line, broken)
  const to = storedValues(line, broken)
  const names2 = Object.keys(to)
  if (Object.keys(changes).length !== names2.length) {
    throw broken('its changes are not those of its stored fields')
  }
  const unproven = names2.filter((name) => !isProven(name, line, to[name], state, broken))
  const facts = line.type === 'TaskCreated' ? { ...to, deleted: false } : to
  state.facts ??= {}
  for (const [name, value] of Object.entries(facts)) {
    if (line.unreadable && isText2(name) && value === null) delete state.facts[name]
    else state.facts[name] = brief(value)
  }
  return unproven
}
function requireForm(line, broken) {
  const { stored } = line
  const { stream_id, data } = stored
  const isOfStream =
    line.task_id === null ? /^user-\d+$/.test(stream_id) : stream_id === `task-${line.task_id}`
  if (!isOfStream) throw broken('its task_id does not match its stream')
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
function isProven(name, { version, erased, unreadable, changes }, to, { facts }, broken) {
  const change = changes[name]
  if (change?.to !== to) {
    throw broken(`its changes.${name}.to is not what is stored`)
  }
  const from = version === 1 ? brief(null) : facts?.[name]
  if (from === brief(change?.from)) return true
  const mayBeMissing = (erased === true || unreadable === true) && isText2(name)
  if (from !== undefined && !(mayBeMissing && change?.from === null)) {
    throw broken(`its changes.${name}.from is not the value before it`)
  }
  return false
}
var isText2 = (name) => TEXTS.some((text2) => text2 === name)

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
    const secret = createSecretKey(Buffer.from(key, 'base64url'))
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
  const text2 = JSON.stringify(value)
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
var QUERY = fields(
  Object.fromEntries(Object.entries(FILTERS).map(([name, { value }]) => [name, optional(value)])),
)

/** An unknown filter would excuse missing events. */
var faultInFilters = (query) => faultIn(QUERY, query, 'query')
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
  if (text2 !== '' && !text2.startsWith('{'))
    return `is not an NDJSON export: it does not begin with "{".`
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
var HEAD = 4096
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

/** Lines that are not blank, some at a time. Only a newline ends one: a title may contain other line breaks. */
async function* linesOf2(file) {
  let number = 0
  let begun = []
  const line = (end) => {
    const bytes = begun.length === 0 ? end : Buffer.concat([...begun, end])
    begun = []
    number++
    return [number, textOf(bytes, `Line ${number}`)]
  }
  for await (const chunk of createReadStream(file)) {
    const lines = []
    let start = 0
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      lines.push(line(chunk.subarray(start, end)))
      start = end + 1
    }
    if (start < chunk.length) begun.push(chunk.subarray(start))
    yield lines.filter(([, text2]) => text2 !== '')
  }
  yield [line(Buffer.alloc(0))].filter(([, text2]) => text2 !== '')
}

/** All lines but the last, the trailer, which has been read already and may be long. */
async function* readLines(file) {
  let last = []
  for await (const lines of linesOf2(file)) {
    const all = [...last, ...lines]
    last = all.splice(-1)
    yield all
  }
}

/** Error: `Broken`, `Unreadable`. */
function readLine([number, text2]) {
  const line = parse2(text2)
  if (line === undefined) throw new Unreadable(`Line ${number} is not a line of an NDJSON export.`)
  return isObject(line) && Object.hasOwn(line, 'records')
    ? recordsIn(text2, line, number)
    : eventIn(text2, line, number)
}

/** Error: `Broken`. */
function eventIn(text2, line, number) {
  if (isObject(line) && line.stored === null) {
    const { task_id, version, position } = line
    const stream_id = task_id === null ? 'A user' : `task-${task_id}`
    const place = { stream_id, version: Number(version), position: Number(position) }
    throw new Broken(place, 'is shown, but the exported log does not hold it.')
  }
  const fault = faultIn(SHAPES.line, line)
  if (fault !== null)
    throw new Broken(placeIn(line, number), `is not an event of an export: ${fault}.`)
  const event = eventOf(line)
  requireSingleKeys(text2, line, placeOf(event))
  return event
}
function recordsIn(text2, line, number) {
  const fault = faultIn(SHAPES.records, line)
  if (fault !== null) {
    throw new Broken({ line: number }, `is not the line of accesses and security events: ${fault}.`)
  }
  const records = line
  requireSingleKeys(text2, line, { leaf: records.leaf })
  return records
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
    const size = await sizeOfExport(file, handle)
    const text2 = textOf(await lastLine(handle, size), 'Its last line')
    if (text2 === '') throw new Unreadable(`${file} is empty.`)
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

/** Refuses a file whose beginning shows that it is something else. */
async function sizeOfExport(file, handle) {
  const stat = await handle.stat()
  if (!stat.isFile() && !stat.isDirectory()) {
    throw new Unreadable(
      `${file} is not a regular file: an export is read twice, so save it first.`,
    )
  }
  const wrong = wrongFile(await bytesOf(handle, 0, Math.min(HEAD, stat.size)))
  if (wrong !== undefined) throw new Unreadable(`${file} ${wrong}`)
  return stat.size
}

/** The last line that is not blank; empty if there is none. */
async function lastLine(handle, size) {
  for (let length = CHUNK; ; length *= 4) {
    const start = Math.max(0, size - length)
    const tail = await bytesOf(handle, start, size)
    const end = tail.toString('latin1').trimEnd().length
    const before = end === 0 ? -1 : tail.lastIndexOf(NEWLINE, end - 1)
    if (before !== -1 || start === 0) return tail.subarray(before + 1, end)
  }
}
async function bytesOf(handle, start, end) {
  const bytes = Buffer.alloc(end - start)
  await handle.read(bytes, 0, bytes.length, start)
  return bytes
}

/** Its contents are printed, and decide what is required of the rest. */
function trailerIn(text2, line) {
  requireSingleKeys(text2, line, {})
  const fault = faultIn(SHAPES.trailer, line)?.replaceAll('trailer.', '') ?? null
  const { trailer } = line
  const why = fault ?? faultInFilters(trailer.query)
  if (why !== null) throw new Broken({}, `has a changed trailer: ${why}.`)
  return trailer
}

// src/verifier/leaves.ts

/** Grows a tree of all leaves. `hides`: leaves may be missing, of which there are hashes. `sizes`: where to keep the root. */
function followLeaves(checkpoint, { hides, sizes }) {
  const size = checkpoint?.size ?? 0
  const tree = growingTree()
  const roots = new Map()
  let gap = null
  let isBehind = false
  const keepRoot = () => {
    if (sizes.has(tree.size)) roots.set(tree.size, tree.root())
  }
  const skipTo = (leaf, hashes2, place, next) => {
    const nodes = nodesBetween(tree.size, leaf)
    if (nodes.length > 0 && !hides) {
      gap = new Broken(
        { leaf: tree.size },
        `is missing, or not in its place, though the export has no filter: ${next}.`,
      )
      return
    }
    if (hashes2.length !== nodes.length) {
      const why = `${nodes.length} hashes of what lies before it in the log, but has ${hashes2.length}.`
      throw new Broken(place, `needs ${why}`)
    }
    for (const [at, { level }] of nodes.entries()) {
      tree.addNode(level, Buffer.from(hashes2[at] ?? '', 'base64'))
      keepRoot()
    }
  }
  keepRoot()
  return {
    roots,
    gap: () => gap,
    add(place, leaf, before, entry) {
      const broken = (why) => new Broken(place, why)
      if (gap !== null) return
      if (leaf === null) {
        if (before.length > 0) throw broken('has hashes of the log, but no leaf in it.')
        isBehind = true
        return
      }
      if (isBehind) throw broken(`has leaf ${leaf}, but comes after an event that has none.`)
      if (leaf < tree.size) throw broken(`has leaf ${leaf}, but leaf ${tree.size} is next.`)
      if (leaf >= size) throw broken(`has leaf ${leaf}, but the checkpoint covers ${size}.`)
      skipTo(leaf, before, place, `${nameOf(place)} has leaf ${leaf}`)
      if (gap !== null) return
      tree.addLeaf(leafHash(entry()))
      keepRoot()
    },
    end(after) {
      skipTo(size, after, { thing: 'The trailer' }, `the checkpoint covers ${size} leaves`)
      if (gap !== null) throw gap
      return tree.root()
    },
  }
}

// src/verifier/trail.ts

/**
 * Follows events in the order of their positions: each one's hash, and its place in the chain of its stream.
 * Keeps a little for each stream and nothing for each event.
 */
function follow({ leftOut = new Set(), parked = new Map(), inspect } = {}) {
  const streams = new Map()
  let [events, gaps, at] = [0, 0, 0]
  const add = (event) => {
    const { stream_id, version, position, prev_hash, hash: hash4 } = event
    if (!(position > at)) throw new Broken(placeOf(event), `comes after position ${at}.`)
    const isLink = prev_hash === null || HASH.test(prev_hash)
    if (!isLink || eventHash(event) !== hash4) {
      throw new Broken(placeOf(event), 'is changed: its hash does not match its contents.')
    }
    const state = streams.get(stream_id) ?? { version: 0, hash: null, position: 0, facts: {} }
    if (version !== state.version + 1) skip(event, state)
    else if (prev_hash !== state.hash) {
      throw new Broken(placeOf(event), `is not chained to version ${state.version}.`)
    }
    inspect?.(event, state)
    state.version = version
    state.hash = hash4
    state.position = position
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

/** What should follow may be missing only where its stream was parked. */
function requireParked(stream_id, state, why, parked) {
  const next = (state?.version ?? 0) + 1
  const from = parked.get(stream_id)
  if (from !== undefined && from <= next) return
  throw new Broken({ stream_id, version: next }, `is missing: ${why}.`)
}

// src/verifier/export.ts
var KNOWN_SCHEMA = 1

/**
 * Checks an export. Returns a report, or throws an error that says what is broken or cannot be checked.
 * `kept`: checkpoints whose sizes it should tell the roots of.
 */
async function verifyExport(file, trust, kept = []) {
  const trailer = await readTrailer(file)
  const log = trailer.log && openCheckpoint(trailer.log.checkpoint, trust)
  const filters = Object.entries(trailer.query)
  const parked = new Map(trailer.parked)
  const whole = filters.length === 0 && parked.size === 0
  const sizes = new Set(kept.map(({ size }) => size))
  const leaves = followLeaves(log, { hides: !whole, sizes })
  const inspected = inspector(filters)
  const leftOut = partsLeftOut(trailer.query)
  const trail = follow({ leftOut, parked, inspect: inspected.add })
  try {
    await readAll(file, trail, leaves, filters.length === 0)
    requireHeads(trailer, trail.streams, leftOut, parked)
    requireExtent(trailer, trail.report())
    if (log !== null) requireRoot(log, leaves.end(trailer.log?.after ?? []), leaves.roots, kept)
  } catch (error) {
    throw firstOf(leaves.gap(), error)
  }
  const found = inspected.report(trail.streams)
  const { exported_at, exported_by } = trailer
  const said = { exported_at, exported_by, filters, parked: trailer.parked }
  return { ...trail.report(), log, roots: leaves.roots, whole, ...found, said }
}
async function readAll(file, trail, leaves, unfiltered) {
  for await (const lines of readLines(file)) {
    for (const line of lines) {
      const read = readLine(line)
      if ('records' in read) addRecords(read, leaves, unfiltered)
      else {
        trail.add(read)
        leaves.add(placeOf(read), read.line.leaf, read.line.before, () => eventEntry(read))
      }
    }
  }
}
function addRecords({ leaf, before, records }, leaves, unfiltered) {
  if (!unfiltered)
    throw new Broken({ leaf }, 'is no event, which only an export without filter has.')
  leaves.add({ leaf }, leaf, before, () => recordsEntry(records))
}

/** Whoever knows which event is missing says it better; what is broken behind the gap is not the first. */
function firstOf(gap, error) {
  const namesMissing =
    error instanceof Broken &&
    error.place.version !== undefined &&
    error.place.position === undefined
  return gap === null || namesMissing ? error : gap
}

/** Checks of each event what its hash does not tell, and counts what is to be reported. */
function inspector(filters) {
  const erasedUsers = new Set()
  const unreadable = []
  const unproven = []
  const unlogged = new Map()
  let [erased, logged] = [0, 0]
  const addUnlogged = ({ stream_id, version, position }) => {
    const runs = unlogged.get(stream_id) ?? []
    const last = runs.at(-1)
    const isNext = last?.versions[1] === version - 1
    const [first, since] = isNext ? [last.versions[0], last.positions[0]] : [version, position]
    if (isNext) runs.pop()
    runs.push({ stream_id, versions: [first, version], positions: [since, position] })
    unlogged.set(stream_id, runs)
  }
  return {
    add(event, state) {
      const { line } = event
      requireKnownForm(line)
      requireAsked(line, filters)
      const fields2 = requireShown(line, state)
      if (fields2.length > 0) unproven.push([placeOf(event), fields2])
      if (line.unreadable) unreadable.push(placeOf(event))
      if (line.erased) erased++
      if (line.erased) for (const user of erasedUsersOf(line)) erasedUsers.add(user)
      if (line.leaf === null) addUnlogged(event)
      else logged++
    },
    report(streams) {
      const doubtful = [...erasedUsers].filter((user) => !streams.has(`user-${user}`))
      const runs = [...unlogged.values()].flat()
      return { logged, unlogged: runs, erased, unreadable, doubtful, unproven }
    },
  }
}

/** What differs can be named only if it breaks a hash or a chain, too; a kept checkpoint narrows it down. */
function requireRoot(log, root, roots, kept) {
  if (root.equals(log.root)) return
  const told = kept.filter(({ size }) => roots.has(size) && size <= log.size)
  const isRight = ({ size, root: root2 }) => roots.get(size)?.equals(root2)
  const from = Math.max(0, ...told.filter(isRight).map(({ size }) => size))
  const to = Math.min(log.size, ...told.filter((old) => !isRight(old)).map(({ size }) => size))
  const where = told.length === 0 ? '' : ` It is among leaves ${from} to ${to - 1}.`
  throw new Broken(
    {},
    `is not what its checkpoint signs, though each hash and chain in it is right: an event was rewritten, hash and all, or has another position or leaf, or another line or hash of the log was changed.${where}`,
  )
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

/** Detects a stream whose end was cut off, even where the log is hidden; but the trailer is not signed. */
function requireHeads({ heads }, streams, leftOut, parked) {
  const named = new Map(
    heads.map(([stream_id, version, hash4]) => [stream_id, { version, hash: hash4 }]),
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

// src/transparency-log/proof-file.ts
var FIRST_LINE = 'c2sp.org/tlog-proof@v1'
var MOST_CHARACTERS = 2 ** 21

/** Null: not a proof file. */
function readProofFile(text2) {
  const parts = text2.length > MOST_CHARACTERS ? null : headAndBody(text2)
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

// src/verifier/kinds.ts
import { open as open2 } from 'node:fs/promises'
var HEAD2 = 1024

/** By its beginning; whatever else it may be is checked as an export. Error: `Unreadable`. */
async function kindOf(file) {
  const text2 = await beginningOf(file)
  if (text2.startsWith('c2sp.org/tlog-proof@')) return 'proof'
  return /\n\n\u2014 /.test(text2) ? 'checkpoint' : 'export'
}
async function beginningOf(file) {
  try {
    const handle = await open2(file)
    try {
      if (!(await handle.stat()).isFile()) return ''
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(HEAD2), 0, HEAD2, 0)
      return buffer.toString('utf8', 0, bytesRead)
    } finally {
      await handle.close()
    }
  } catch (error) {
    const { code } = error
    if (code === undefined) throw error
    throw new Unreadable(`${file} cannot be read (${code}).`)
  }
}

// src/verifier/trust.ts
import { readFile } from 'node:fs/promises'

/** Command-line options, for parseArgs. */
var TRUST_OPTIONS = {
  key: { type: 'string', multiple: true },
  witness: { type: 'string', multiple: true },
  policy: { type: 'string' },
}

/** Error: `Unreadable`. */
async function readTrust({ key = [], witness = [], policy }) {
  const rules = policy === undefined ? null : await policyIn(policy)
  const given = (await Promise.all(key.map(keysIn))).flat()
  const witnesses = (await Promise.all(witness.map(keysIn))).flat()
  for (const { name } of given.filter((key2) => !isLogKey(key2))) {
    throw new Unreadable(`The key of ${name} is a witness's: name it with --witness.`)
  }
  for (const { name } of witnesses.filter((key2) => !isWitnessKey(key2))) {
    throw new Unreadable(`The key of ${name} is a log's: name it with --key.`)
  }
  const keys = [...given, ...(rules?.logs ?? []).map(({ key: key2 }) => key2)]
  return { keys, witnesses, policy: rules }
}

/** A text, or the name of a file. */
async function keysIn(text2) {
  const key = parseVerifierKey(text2)
  if (key !== null) return [key]
  const lines = (await textIn(text2, 'The key')).split('\n').map((line) => line.trim())
  const keys = lines.filter((line) => line !== '').map(parseVerifierKey)
  if (keys.length > 0 && keys.every((key2) => key2 !== null)) return keys
  throw new Unreadable(`${text2} does not hold verifier keys, name+id+key, one a line.`)
}
async function policyIn(file) {
  try {
    return readPolicy(await textIn(file, 'The policy'))
  } catch (error) {
    throw error instanceof PolicyError ? new Unreadable(`${file}: ${error.message}.`) : error
  }
}

/** `what`: what it is, as a sentence begins. Error: `Unreadable`. */
var textIn = (file, what) =>
  readFile(file, 'utf8').catch((error) => {
    throw new Unreadable(`${what} ${file} cannot be read (${error.code}).`)
  })

// src/verifier/extends.ts

/** From a checkpoint, an export or a proof file. Error: `Unreadable`, `Broken`. */
async function readKept(file, trust) {
  const note = await noteIn(file)
  if (note === undefined) throw new Unreadable(`${file} has no checkpoint to compare with.`)
  return { file, log: openCheckpoint(note, trust, `The checkpoint in ${file}`) }
}
async function noteIn(file) {
  const kind = await kindOf(file)
  if (kind === 'export') return (await readTrailer(file)).log?.checkpoint
  const text2 = await textIn(file, 'The file')
  return kind === 'checkpoint' ? text2 : readProofFile(text2)?.checkpoint
}
var CONSISTENCY = fields({ from: count, to: count, hashes: listOf(base64Hash) })

/** Error: `Unreadable`. */
async function readConsistency(file) {
  const answer = parse2(await textIn(file, 'The proof'))
  const fault = faultIn(CONSISTENCY, answer)
  if (fault === null) return answer
  throw new Unreadable(`${file} is not an answer of GET /log/consistency: ${fault}.`)
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
    const isProven2 = requireExtends(log, old, roots, proofs)
    const it = `it extends the log of ${old.log.size} leaves in ${old.file}`
    if (isProven2) says.push(`${it.replace('it', 'It')}.`)
    else {
      const asked = `GET /log/consistency?from=${old.log.size}&to=${log.size}`
      notProven2.push(`Nothing proves that ${it}: name the answer of ${asked} with --consistency.`)
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
  const hashes2 = proof.hashes.map((hash4) => Buffer.from(hash4, 'base64'))
  const sizes = { from: old.size, fromRoot: old.root, to: log.size, toRoot: log.root }
  if (isConsistent({ ...sizes, proof: hashes2 })) return true
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
var EVENT = fields({ hash: hash3, position: id, stream_id: text, version: id })
var RECORDS = fields({ audit_accesses: count, digest: hash3, security_events: count })

/** Null: of accesses and security events. */
function eventOfEntry(entry) {
  const read = parse2(entry)
  if (faultIn(EVENT, read) === null && eventEntry(read) === entry) {
    return read
  }
  if (faultIn(RECORDS, read) === null && recordsEntry(read) === entry) return null
  throw new Unreadable(`The log has this entry, but it is of a kind that is unknown here: ${entry}`)
}

/**
 * Compares an event, as an answer shows it or as a line of an export, with the proven one. Returns what is
 * not proven of it. Error: `Broken`, `Unreadable`.
 */
async function compareEvent(file, { event: proven, index }) {
  if (proven === null) throw new Unreadable('The proof is of no event to compare with.')
  const content = (await textIn(file, 'The event')).trim()
  const shown = parse2(content)
  if (isObject(shown) && Object.hasOwn(shown, 'stored')) {
    const event2 = eventIn(content, shown, 1)
    requireSame(event2, proven)
    const { leaf } = event2.line
    if (leaf !== null && leaf !== index) {
      throw new Broken(placeOf(event2), `has leaf ${leaf}, but is leaf ${index}.`)
    }
    return unprovenIn(event2)
  }
  const fault = faultIn(SHAPES.shown, shown)
  if (fault !== null) throw new Unreadable(`${file} is not an event: ${fault}.`)
  const { task_id, ...event } = shown
  const ofUser = proven.stream_id.startsWith('user-') ? proven.stream_id : 'A user'
  requireSame({ ...event, stream_id: task_id === null ? ofUser : `task-${task_id}` }, proven)
  const what = 'only a line of an export has what its hash covers'
  return [`${nameOf(placeOf(proven))}: what ${file} shows besides its hash, for ${what}.`]
}
function requireSame(event, proven) {
  const fault = ['stream_id', 'version', 'position', 'hash'].find(
    (name) => event[name] !== proven[name],
  )
  if (fault === undefined) return
  const why = `its ${fault} is ${event[fault]}, not ${proven[fault]}`
  throw new Broken(placeOf(event), `is not the proven event: ${why}.`)
}

/** Its hash and what it shows; there are no events before it. */
function unprovenIn(event) {
  const unproven = []
  const trail = follow({
    leftOut: new Set(['start']),
    inspect({ line }, state) {
      const fields2 = requireShown(line, state).join(', ')
      if (fields2 === '') return
      const place = nameOf(placeOf(event))
      unproven.push(`${place}: nothing proves the values before it, "from" of ${fields2}.`)
    },
  })
  trail.add(event)
  return unproven
}

// src/verifier/report.ts
var grouped = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, ',')
var count2 = (number, noun) => `${grouped(number)} ${noun}${number === 1 ? '' : 's'}`

/** What hashes and chains say of events. */
function describe({ events, streams, gaps, position }) {
  const all = `${count2(events, 'event')} of ${count2(streams, 'stream')}`
  const lines = [`Nothing is broken: ${all}, up to position ${position}.`]
  if (gaps > 0) {
    lines.push(
      `The filter leaves ${count2(gaps, 'gap')}: events before a gap are not chained to those after it.`,
    )
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
  const { said, erased, log, events, logged } = report
  const asked =
    said.filters.length === 0 ? '' : `, filtered by ${said.filters.map(inWords).join(' ')}`
  const lines = [
    ...describe(report),
    ...(log === null ? [NO_LOG] : describeLog(log)),
    `In the log: ${count2(logged, 'event')}. Not proven by it: ${count2(events - logged, 'event')}.`,
    `Its trailer says: exported at ${JSON.stringify(said.exported_at)} by user ${JSON.stringify(said.exported_by)}${asked}.`,
    extentOf(report),
  ]
  if (erased > 0) {
    lines.push(`Marked as erased, their texts gone: ${count2(erased, 'event')}.`)
  }
  return lines
}
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

/** What is not proven in an export, a line each; empty only if everything is proven. */
var notProven = (report) => [
  ...report.unlogged.map((run) => `${nameOfRun(run)}: not in the log of the checkpoint.`),
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
  ...(report.log === null
    ? ['The export: it has no checkpoint, so nothing proves that nothing is missing.']
    : lackingIn(report.log)),
]
function nameOfRun({ stream_id, versions, positions }) {
  const [first, last] = versions
  if (first === last) return nameOf({ stream_id, version: first, position: positions[0] })
  return `${stream_id} versions ${first} to ${last} (positions ${positions.join(' to ')})`
}

/** Escapes control and invisible characters for a terminal: much of the text was written by others. */
var printable = (text2) =>
  text2.replace(
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
  if (error instanceof Incomplete) return [3, `NOT PROVEN: ${error.message}`]
  if (error instanceof RangeError) {
    return [2, `Something in it is too long or too deep to be read (${error.message}).`]
  }
  return [2, error instanceof Error ? error.message : String(error)]
}

// src/verify-audit.ts
var USAGE = `Usage: node verify-audit.mjs <file> --key <key> [options]

Checks an export of the audit trail, offline: every event, chain and text, and that the log holds them. Or a
proof that the log holds one event (.tlog-proof), or a checkpoint.

  --key <key>             a verifier key of the log, or a file with one a line; repeat it for older keys
  --witness <key>         a verifier key of a witness that must have cosigned; repeat it for each
  --policy <file>         which witnesses must have cosigned (C2SP tlog-policy)
  --extends <file>        an older export, proof or checkpoint, of which this one must be a continuation
  --consistency <file>    the answer of GET /log/consistency, for what is not a whole export
  --event <file>          with a proof: the event, as the API shows it or as a line of an export
  -h, --help              prints this help

Exit code: 0 everything in the file is proven, 1 something is broken, 2 it cannot be checked, 3 nothing is
broken, but not everything is proven: each unproven event is named, such as those that are not in the log yet.`
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
  if (kind === 'proof') {
    const report = await verifyProof(file, trust)
    const unproven = values.event === undefined ? [] : await compareEvent(values.event, report)
    const open3 = [...lackingIn(report.log), ...unproven]
    const conclusion2 = { says: describeProof(report), notProven: open3 }
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
