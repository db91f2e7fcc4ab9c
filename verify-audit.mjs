#!/usr/bin/env node
// Checks an export of the audit trail (NDJSON), offline:
//
//   node verify-audit.mjs export.ndjson --key public.pem [--key older.pem] [--seal number:hash]
//
// It needs Node 20 or newer and nothing else, and trusts nothing but the public keys, and the seals that
// were kept elsewhere. Each event's hash is computed anew, each chain followed, each text decrypted with
// the key beside it and compared, and each seal held against its signature and against the events. The
// trailer is not signed: what it says of the export is only held against the rest. `npm run audit:verify`
// checks a database by the same functions.
//
// Exit code 0: nothing is broken, and the report says what is proven. 1: something is broken; the first
// of it is named. 2: it cannot be checked. 3: nothing that is there is broken, but the export shows itself
// that something is missing in it: events of parked streams, say, and nobody can tell whether that is so.
import { createDecipheriv, createHash, createPublicKey, verify as isSignature } from 'node:crypto'
import { createReadStream, realpathSync } from 'node:fs'
import { open, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

// ---------------------------------------------------------------------------------------- what fails

/** Something is not as it was: an event, or a seal, or the whole. */
export class Broken extends Error {
  constructor(place, why) {
    super(`${nameOf(place)} ${why}`)
    this.place = place
  }
}

/** It cannot be checked at all. */
export class Unreadable extends Error {}

/** What is there is not broken, but what is missing proves nothing. */
export class Incomplete extends Error {}

function nameOf({ stream_id, version, position, seal, table }) {
  if (table !== undefined) return `The table ${table}`
  if (stream_id === undefined) return seal === undefined ? 'The export' : `Seal ${seal}`
  const event = version === undefined ? stream_id : `${stream_id} version ${version}`
  return position === undefined || position === null ? event : `${event} (position ${position})`
}

const placeOf = ({ stream_id, version, position }) => ({ stream_id, version, position })

// --------------------------------------------------------------------------------------- the formats

/** Canonical JSON (RFC 8785). */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.keys(value)
    .sort()
    .map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`)
  return `{${members.join(',')}}`
}

const HASH = /^[0-9a-f]{64}$/

const sha256 = (bytes) => createHash('sha256').update(bytes).digest()

export function eventHash(event) {
  const { stream_id, version, event_id, type, schema_version, data } = event
  const { actor_id, metadata, occurred_at, prev_hash } = event
  const facts = { stream_id, version, event_id, type, schema_version, data }
  return createHash('sha256')
    .update(prev_hash === null ? '' : prev_hash, 'hex')
    .update(canonical({ ...facts, actor_id, metadata, occurred_at }))
    .digest('hex')
}

export const eventDigest = ({ position, recorded_at, hash }) =>
  sha256(`${position}/${recorded_at}/${hash}`)

const headDigest = (head) =>
  typeof head === 'string' ? Buffer.from(head, 'hex') : sha256(head.join('/'))

function sealHash(seal, heads_digest) {
  const { number, position, events, events_digest, sealed_at, previous, key_id } = seal
  const covered = { number, position, events, events_digest, heads_digest, sealed_at }
  return sha256(canonical({ ...covered, previous, key_id }))
}

/** A public key (PEM) and the name by which seals call it. */
export function readKey(pem) {
  let key
  try {
    key = createPublicKey(pem)
  } catch {
    throw new Unreadable('A key is not a public key in PEM.')
  }
  if (key.asymmetricKeyType !== 'ed25519') throw new Unreadable('A key is not of Ed25519.')
  return {
    key,
    id: sha256(key.export({ format: 'der', type: 'spki' }))
      .toString('hex')
      .slice(0, 16),
  }
}

// ------------------------------------------------------------------------------------------ the walk

const MARK_BYTES = 46

/**
 * Follows events in the order of their positions, and seals among them. Keeps a little for each stream
 * and nothing for each event.
 *
 * `complete`: each stream is there from its first event on, without gaps, but for those that are
 * `parked`, of which events may be missing from a version on. `whole`: so are all streams, and all
 * seals. `kept`: hashes of seals, by number, as somebody noted them. `inspect` is called with each event
 * that is what its hash says, and what is known of its stream so far.
 */
export function follow(options) {
  const {
    keys,
    complete,
    whole,
    parked = new Map(),
    kept = new Map(),
    inspect = () => {},
  } = options
  const streams = new Map()
  const unmet = new Map(kept)
  const report = {
    events: 0,
    streams: 0,
    sealed: 0,
    gaps: 0,
    seals: 0,
    lastSeal: null,
    signers: [],
    position: 0,
  }
  let seal = null
  let expected = null

  const begin = (next) => {
    requireSeal(next, report.lastSeal, keys, whole)
    requireAsKept(next)
    const shown = new Set(next.heads.filter(isShown).map(([stream_id]) => stream_id))
    seal = { ...next, shown, found: 0, digest: createHash('sha256'), after: report.position }
    expected = next.marks === undefined ? null : readMarks(next)
  }

  const requireAsKept = ({ number, hash }) => {
    const known = unmet.get(number)
    if (known !== undefined && known !== hash) {
      throw new Broken({ seal: number }, `is another than the one that was kept: ${known}.`)
    }
    unmet.delete(number)
  }

  const add = (event) => {
    const { stream_id, version, position, prev_hash, hash } = event
    if (!(position > report.position)) {
      throw new Broken(placeOf(event), `stands after position ${report.position}.`)
    }
    const state = streams.get(stream_id) ?? { version: 0, hash: null, run: 0, proven: 0, facts: {} }
    if (expected !== null) requireNoneBefore(event, expected[seal.found])
    const isLink = prev_hash === null || HASH.test(prev_hash)
    if (!isLink || eventHash(event) !== hash) {
      throw new Broken(placeOf(event), 'is changed: its hash does not belong to what it says.')
    }
    if (expected !== null) requireExpected(event, expected[seal.found])
    if (version !== state.version + 1) skip(event, state)
    else if (prev_hash !== state.hash) {
      throw new Broken(placeOf(event), `is not chained to version ${state.version}.`)
    }
    inspect(event, state)
    if (seal !== null) addToSeal(event)
    Object.assign(state, { version, hash, position, run: state.run + 1 })
    streams.set(stream_id, state)
    report.events++
    report.position = position
  }

  /** A version that is not the next: a gap that a filter leaves, or else something is broken. */
  const skip = (event, state) => {
    if (event.version <= state.version) {
      throw new Broken(placeOf(event), `comes after version ${state.version} of its stream.`)
    }
    if (complete) requireParked(event.stream_id, state, `version ${event.version} follows`, parked)
    report.gaps++
    state.run = 0
    state.facts = null
  }

  const requireNoneBefore = (event, mark) => {
    if (mark !== undefined && mark.position < event.position) throw gone(mark)
    if (mark?.position === event.position) return
    const why = `was not there when seal ${seal.number} was made.`
    throw new Broken(placeOf(event), why)
  }

  const requireExpected = (event, { stream_id, hash }) => {
    // Which stream's an event is, its mark alone does not prove.
    if (event.hash === hash && event.stream_id !== stream_id) throw changedMarks(seal)
    const version = versionAfter(stream_id)
    if (event.stream_id === stream_id && event.version === version) return
    const why = `stands where ${stream_id} version ${version} was sealed.`
    throw new Broken(placeOf(event), why)
  }

  const versionAfter = (stream_id) => (streams.get(stream_id)?.version ?? 0) + 1

  const gone = ({ stream_id, position }) => {
    const place = { stream_id, version: versionAfter(stream_id), position }
    return new Broken(place, `is missing: seal ${seal.number} covers it.`)
  }

  const addToSeal = (event) => {
    const digest = eventDigest(event)
    if (expected !== null && !digest.equals(expected[seal.found].digest)) {
      const why = `is not what seal ${seal.number} covers: it was rewritten, hash and all.`
      throw new Broken(placeOf(event), why)
    }
    if (!seal.shown.has(event.stream_id)) {
      const why = `stands among what seal ${seal.number} covers, but its stream is not in that seal.`
      throw new Broken(placeOf(event), why)
    }
    seal.digest.update(digest)
    seal.found++
  }

  const end = () => {
    const { number, found, events, position, after } = seal
    const lost = expected?.[found]
    if (lost !== undefined) throw gone(lost)
    for (const head of seal.heads.filter(isShown)) requireHead(head)
    const range = `from position ${after + 1} to ${position}`
    // A part comes with the seals of its events; only a copy of everything has those of parked ones.
    if (found === 0 && !whole && parked.size === 0) {
      throw new Broken({ seal: number }, 'covers no event of the export.')
    }
    if (found > events || (whole && found < events)) {
      const why = `covers ${events} events ${range}, but there are ${found}.`
      throw new Broken({ seal: number }, why)
    }
    if (found === events && seal.digest.digest('hex') !== seal.events_digest) {
      const why = `does not cover the events ${range} as they are: a position or a time is changed.`
      throw new Broken({ seal: number }, why)
    }
    report.seals++
    const { sealed_at, hash, key_id } = seal
    report.lastSeal = { number, position, sealed_at, hash }
    const signer = report.signers.at(-1)
    if (signer?.key_id === key_id) signer.last = number
    else report.signers.push({ key_id, first: number, last: number })
    seal = null
    expected = null
  }

  const requireHead = ([stream_id, version, hash]) => {
    const state = streams.get(stream_id)
    if (state === undefined || state.version < version) {
      const why = `seal ${seal.number} covers version ${version}`
      if (complete) requireParked(stream_id, state, why, parked)
      return
    }
    const last = { stream_id, version: state.version, position: state.position }
    if (state.version > version) {
      throw new Broken(last, `was not there when seal ${seal.number} was made.`)
    }
    if (state.hash !== hash) {
      const first = state.proven + 1
      const what = first === version ? 'it' : `one of versions ${first} to ${version}`
      const why = `is not what seal ${seal.number} covers: ${what} was rewritten, hash and all.`
      throw new Broken(last, why)
    }
    report.sealed += state.run
    state.run = 0
    state.proven = version
  }

  return {
    streams,
    /** The next seal: the events up to its position follow, or those of them that are there. */
    begin,
    add,
    /** All events up to the seal's position have been added. */
    end,
    /** There are no more seals. */
    requireKept() {
      for (const number of unmet.keys()) {
        if (whole) throw new Broken({ seal: number }, 'is missing: it was kept.')
        throw new Incomplete(
          `Seal ${number}, which was kept, is not in this part of the log: check a whole export.`,
        )
      }
    },
    report: () => ({ ...report, streams: streams.size }),
  }
}

/** Version and position of the event that should follow what is known of a stream. */
function missing(stream_id, state, why) {
  return new Broken({ stream_id, version: (state?.version ?? 0) + 1 }, `is missing: ${why}.`)
}

/** What should follow may be missing only where its stream was parked. */
function requireParked(stream_id, state, why, parked) {
  const next = (state?.version ?? 0) + 1
  if (!(parked.get(stream_id) <= next)) throw missing(stream_id, state, why)
}

/** Adds pages of events, each seal beginning and ending where it should. */
export async function walk(trail, pages, seals) {
  const rest = seals[Symbol.asyncIterator]()
  const next = async () => {
    const { done, value } = await rest.next()
    if (!done) trail.begin(value)
    return done ? null : value
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

// --------------------------------------------------------------------------------------------- seals

/** A head of a stream that is not in the export stands there as its digest. */
const isShown = (head) => typeof head !== 'string'

/** A seal by itself and as the successor of the one before it. */
function requireSeal(seal, before, keys, whole) {
  const broken = (why) => new Broken({ seal: seal.number }, why)
  if (!isSeal(seal)) throw broken('is changed: it does not have the form of a seal.')
  const number = (before?.number ?? 0) + 1
  if (whole ? seal.number !== number : !(seal.number >= number)) {
    throw broken(`stands where seal ${number} belongs.`)
  }
  if (seal.number === number && seal.previous !== (before?.hash ?? null)) {
    throw broken('is not chained to the seal before it.')
  }
  if (!(seal.position > (before?.position ?? 0))) throw broken('covers no position of its own.')
  const ids = seal.heads.filter(isShown).map(([stream_id]) => stream_id)
  if (
    ids.some((id, index) => index > 0 && Buffer.from(id).compare(Buffer.from(ids[index - 1])) <= 0)
  ) {
    throw broken('does not have its streams in order.')
  }
  const heads_digest = sha256(Buffer.concat(seal.heads.map(headDigest))).toString('hex')
  if (seal.heads_digest !== undefined && seal.heads_digest !== heads_digest) {
    throw broken('is changed: its digest does not belong to its streams.')
  }
  const hash = sealHash(seal, heads_digest)
  if (hash.toString('hex') !== seal.hash) {
    throw broken('is changed: its hash does not belong to what it says.')
  }
  const known = keys.find(({ id }) => id === seal.key_id)
  if (known === undefined) {
    const ids = keys.map(({ id }) => id).join(', ')
    throw broken(`is signed by the key ${seal.key_id}, which is none of those given (${ids}).`)
  }
  if (!isSignature(null, hash, known.key, Buffer.from(seal.signature, 'hex'))) {
    throw broken(`is not signed by the key ${seal.key_id}, as it says.`)
  }
}

const changedMarks = ({ number }) =>
  new Broken({ seal: number }, 'is changed: its marks are not those it was made with.')

/** What stood where when the seal was made: its signed digest proves it, but for the streams. */
function readMarks(seal) {
  const { events, events_digest, heads, marks } = seal
  if (marks.length !== events * MARK_BYTES) throw changedMarks(seal)
  const expected = Array.from({ length: events }, (_, index) => {
    const start = index * MARK_BYTES
    const position = marks.readUIntBE(start, 6)
    const recorded_at = new Date(marks.readUIntBE(start + 8, 6)).toISOString()
    const hash = marks.toString('hex', start + 14, start + MARK_BYTES)
    const stream_id = heads[marks.readUInt16BE(start + 6)]?.[0]
    if (stream_id === undefined) throw changedMarks(seal)
    return { position, stream_id, hash, digest: eventDigest({ position, recorded_at, hash }) }
  })
  const proof = sha256(Buffer.concat(expected.map(({ digest }) => digest))).toString('hex')
  if (proof !== events_digest) throw changedMarks(seal)
  return expected
}

// ---------------------------------------------------------------------------------------- the export

const KNOWN_SCHEMA = 1
const TEXTS = ['title', 'description']
const SHOWN = [
  ...[
    'position',
    'task_id',
    'version',
    'type',
    'actor',
    'occurred_at',
    'recorded_at',
    'request_id',
  ],
  ...['changes', 'undoes', 'erased', 'hash', 'stored', 'text_keys'],
]
const STORED = ['stream_id', 'event_id', 'schema_version', 'data', 'metadata', 'prev_hash']
const TRAILER = [
  ...['count', 'position', 'exported_at', 'exported_by', 'query', 'parked', 'heads', 'seals'],
]
const SEAL = [
  ...['number', 'position', 'events', 'events_digest', 'heads', 'sealed_at', 'previous', 'hash'],
  ...['key_id', 'signature'],
]

/** What can be asked for, and whether a line is of it. Whose a task is not every event tells. */
const FILTERS = {
  user_id: ({ stored: { stream_id, data } }, id) =>
    stream_id.startsWith('user-')
      ? stream_id === `user-${id}`
      : [data.user_id, ...TEXTS.map((name) => data[name]?.user)].every(
          (user) => user === undefined || user === id,
        ),
  task_id: ({ task_id }, id) => task_id === id,
  actor_id: ({ actor }, id) => actor.user_id === id,
  type: ({ type }, types) => Array.isArray(types) && types.includes(type),
  from: ({ recorded_at }, time) => recorded_at >= time,
  to: ({ recorded_at }, time) => recorded_at < time,
  request_id: ({ request_id }, id) => request_id === id,
}
/** Those that leave out whole streams, or nothing. */
const WHOLE_STREAMS = ['user_id', 'task_id']

const inWords = ([name, value]) => `${name}=${JSON.stringify(value)}`

/**
 * Checks an export; a report, or the error that says what is broken or cannot be checked. `kept`: hashes
 * of seals by number.
 */
export async function verifyExport(file, keys, kept = new Map()) {
  const trailer = await readTrailer(file)
  const filters = Object.entries(trailer.query)
  const complete = filters.every(([name]) => WHOLE_STREAMS.includes(name))
  const hidesStreams = !trailer.seals.every(({ heads }) => heads.every(isShown))
  const parked = new Map(trailer.parked)
  const whole = filters.length === 0 && !hidesStreams && parked.size === 0
  const erasedUsers = new Set()
  let erased = 0
  let unproven = 0
  const trail = follow({
    keys,
    complete,
    whole,
    parked,
    kept,
    inspect({ line }, state) {
      requireKnownForm(line)
      requireAsked(line, filters)
      unproven += requireShown(line, state)
      if (line.erased) erased++
      for (const user of erasedUsersOf(line)) erasedUsers.add(user)
    },
  })
  await walk(trail, readEvents(file), asyncOf(trailer.seals))
  requireHeads(trailer, trail.streams, complete, parked)
  const report = trail.report()
  if (trailer.count !== report.events) {
    const why = `holds ${report.events} events; its trailer counts ${trailer.count}.`
    throw new Broken({}, why)
  }
  if (report.position > trailer.position) {
    throw new Broken(
      {},
      `goes beyond position ${trailer.position}, where its trailer says it ends.`,
    )
  }
  // A user's stream holds nothing but UserErased.
  const doubtful = [...erasedUsers].filter((user) => !trail.streams.has(`user-${user}`)).length
  const { exported_at, exported_by } = trailer
  const said = { exported_at, exported_by, filters, parked: trailer.parked }
  return { ...report, whole, erased, doubtful, unproven, said }
}

/** Only once its hash is known to be right: a changed one is broken, not new. */
function requireKnownForm({ version, stored: { stream_id, schema_version } }) {
  if (schema_version <= KNOWN_SCHEMA) return
  throw new Unreadable(
    `${stream_id} version ${version} has a form (${schema_version}) that this program does not know: ` +
      'take the verify-audit.mjs of the version that made the export.',
  )
}

/** Else a filter that was put into the trailer would excuse what is missing. */
function requireAsked(line, filters) {
  const other = filters.find(([name, value]) => !FILTERS[name](line, value))
  if (other === undefined) return
  const place = { ...placeOf(line), stream_id: line.stored.stream_id }
  throw new Broken(
    place,
    `is none of those that the trailer says were asked for (${inWords(other)}).`,
  )
}

/** Users whose key is said to be gone. */
const erasedUsersOf = ({ stored: { data }, text_keys }) =>
  TEXTS.filter((name) => isEncrypted(data[name]) && text_keys[name] === undefined).map(
    (name) => data[name].user,
  )

async function* asyncOf(values) {
  yield* values
}

/** An end that is cut off shows, also where no seal covers it yet; but the trailer is not signed. */
function requireHeads({ heads }, streams, complete, parked) {
  const heard = new Map(heads.map(([stream_id, version, hash]) => [stream_id, { version, hash }]))
  for (const [stream_id, state] of streams) {
    const head = heard.get(stream_id)
    const last = { stream_id, version: state.version, position: state.position }
    if (head === undefined || head.version < state.version) {
      throw new Broken(last, 'goes beyond the end of its stream in the trailer.')
    }
    if (head.version > state.version && complete) {
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

/**
 * What a line shows is what the stored event says. How many fields there are of which nothing tells what
 * was so before.
 */
function requireShown(line, state) {
  const { stored, changes } = line
  const { stream_id, data } = stored
  const broken = (why) =>
    new Broken({ stream_id, version: line.version, position: line.position }, `is changed: ${why}.`)
  const isStream =
    line.task_id === null ? /^user-\d+$/.test(stream_id) : stream_id === `task-${line.task_id}`
  if (!isStream) throw broken('its task_id is not of its stream')
  if (line.request_id !== stored.metadata.request_id)
    throw broken('its request_id is not the stored one')
  if (canonical(line.undoes ?? null) !== canonical(data.undoes ?? null)) {
    throw broken('its undoes are not the stored ones')
  }
  const encrypted = Object.keys(stored.data).filter((name) => isEncrypted(stored.data[name]))
  requireFields(line, SHOWN, broken)
  requireFields(line.actor, ['user_id'], broken)
  requireFields(stored, STORED, broken)
  requireFields(line.text_keys, encrypted, broken)
  for (const change of Object.values(changes)) requireFields(change, ['from', 'to'], broken)
  if (line.erased !== undefined && line.erased !== true) {
    throw broken('its erased is not what an export writes')
  }

  const to = shouldShow(line, broken)
  const names = Object.keys(to)
  if (canonical(Object.keys(changes).sort()) !== canonical([...names].sort())) {
    throw broken('its changes are not of the fields that it stores')
  }
  let unproven = 0
  for (const name of names) {
    if (canonical(changes[name].to) !== canonical(to[name])) {
      throw broken(`its changes.${name}.to is not what is stored`)
    }
    const from = line.version === 1 ? brief(null) : state.facts?.[name]
    if (from === brief(changes[name].from)) continue
    const mayBeErased = line.erased === true && changes[name].from === null && TEXTS.includes(name)
    if (from !== undefined && !mayBeErased) {
      throw broken(`its changes.${name}.from is not what was so before it`)
    }
    unproven++
  }
  const facts = line.type === 'TaskCreated' ? { ...to, deleted: false } : to
  state.facts ??= {}
  for (const [name, value] of Object.entries(facts)) state.facts[name] = brief(value)
  return unproven
}

/** What nothing covers would pass for checked. */
function requireFields(value, known, broken) {
  const strange = Object.keys(value).find((name) => !known.includes(name))
  if (strange !== undefined) throw broken(`it has a field "${strange}" that no export writes`)
}

/** What changes should say: the stored values, with texts in the clear where their keys are there. */
function shouldShow({ type, stored, text_keys = {}, erased }, broken) {
  const { user_id, undoes, ...data } = stored.data
  const to = Object.entries(data).map(([name, value]) => {
    if (!isEncrypted(value)) return [name, value]
    if (text_keys[name] !== undefined && erased === true)
      throw broken(`it is said to be erased, but its ${name} can be read`)
    if (text_keys[name] !== undefined)
      return [name, decrypt(value, text_keys[name], stored, name, broken)]
    if (erased !== true) throw broken(`the key of its ${name} is missing, and it is not erased`)
    return [name, null]
  })
  if (type === 'TaskDeleted') to.push(['deleted', true])
  if (type === 'TaskRestored') to.push(['deleted', false])
  return Object.fromEntries(to)
}

const UTF_8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const isEncrypted = (value) => typeof value === 'object' && value !== null && 'cipher' in value

/** base64url of salt (16 bytes), ciphertext and tag (16 bytes), AES-256-GCM, each key used once. */
function decrypt({ cipher }, key, { stream_id }, name, broken) {
  try {
    const sealed = Buffer.from(cipher, 'base64url')
    const iv = Buffer.alloc(12)
    const decipher = createDecipheriv('aes-256-gcm', Buffer.from(key, 'base64url'), iv, {
      authTagLength: 16,
    })
    decipher.setAAD(Buffer.from(`${stream_id}/${name}`))
    decipher.setAuthTag(sealed.subarray(-16))
    return UTF_8.decode(
      Buffer.concat([decipher.update(sealed.subarray(16, -16)), decipher.final()]),
    )
  } catch {
    throw broken(`the key of its ${name} does not open the stored text`)
  }
}

/** Enough of a value to know it again. */
function brief(value) {
  const text = canonical(value)
  return text.length <= 32 ? text : sha256(text).toString('base64')
}

// ------------------------------------------------------------------------------------ reading a file

/** `node:readline` would break lines at U+2028 and U+2029 too, which may stand in a title. */
async function* linesOf(file) {
  let begun = []
  for await (const chunk of createReadStream(file, 'utf8')) {
    const [end, ...more] = chunk.split('\n')
    begun.push(end)
    for (const next of more) {
      yield begun.join('').replace(/\r$/, '')
      begun = [next]
    }
  }
  yield begun.join('')
}

/** All lines but the last, which is the trailer: that has been read already, and may be long. */
async function* readEvents(file) {
  let number = 0
  let before = ''
  for await (const text of linesOf(file)) {
    if (text === '') continue
    if (before !== '') yield [readEvent(before, ++number)]
    before = text
  }
}

function readEvent(text, number) {
  const line = parse(text)
  if (isObject(line) && line.stored === null) {
    const { task_id, version, position } = line
    const stream_id = task_id === null ? 'A user' : `task-${task_id}`
    const place = { stream_id, version, position }
    throw new Broken(place, 'is shown, but the log that was exported does not hold it.')
  }
  if (!isEvent(line)) throw new Unreadable(`Line ${number} is no event of an NDJSON export.`)
  const event = eventOf(line)
  requireSingleKeys(text, line, placeOf(event))
  return event
}

function eventOf(line) {
  const { position, version, type, occurred_at, recorded_at, hash, stored } = line
  const shown = { position, version, type, occurred_at, recorded_at, hash }
  return { ...stored, ...shown, actor_id: line.actor.user_id, line }
}

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value)

const isEvent = (line) =>
  isObject(line) &&
  Number.isSafeInteger(line.position) &&
  Number.isSafeInteger(line.version) &&
  ['type', 'occurred_at', 'recorded_at', 'hash'].every((name) => typeof line[name] === 'string') &&
  isObject(line.actor) &&
  isObject(line.changes) &&
  Object.values(line.changes).every(isObject) &&
  isObject(line.stored) &&
  isObject(line.stored.data) &&
  isObject(line.stored.metadata) &&
  isObject(line.text_keys) &&
  ['string', 'undefined'].includes(typeof (line.stored.prev_hash ?? undefined)) &&
  typeof line.stored.stream_id === 'string'

const isHead = (head) =>
  Array.isArray(head) &&
  head.length === 3 &&
  typeof head[0] === 'string' &&
  Number.isSafeInteger(head[1]) &&
  typeof head[2] === 'string'

const isParked = (stream) =>
  Array.isArray(stream) &&
  stream.length === 2 &&
  typeof stream[0] === 'string' &&
  Number.isSafeInteger(stream[1])

const isSeal = (seal) =>
  Array.isArray(seal.heads) &&
  seal.heads.every((head) => (isShown(head) ? isHead(head) : HASH.test(head))) &&
  typeof seal.signature === 'string' &&
  /^([0-9a-f]{2})*$/.test(seal.signature)

const isTrailer = (line) =>
  isObject(line) &&
  isObject(line.trailer) &&
  isObject(line.trailer.query) &&
  Array.isArray(line.trailer.parked) &&
  line.trailer.parked.every(isParked) &&
  Array.isArray(line.trailer.heads) &&
  line.trailer.heads.every(isHead) &&
  Array.isArray(line.trailer.seals) &&
  line.trailer.seals.every((seal) => isObject(seal) && Array.isArray(seal.heads))

/** What stands in it is printed, and decides what is asked of the rest. */
function requireTrailer(text, line) {
  const broken = (why) => new Broken({}, `has a changed trailer: ${why}.`)
  requireSingleKeys(text, line, {})
  requireFields(line, ['trailer'], broken)
  requireFields(line.trailer, TRAILER, broken)
  requireFields(line.trailer.query, Object.keys(FILTERS), broken)
  for (const seal of line.trailer.seals) requireFields(seal, SEAL, broken)
}

function parse(text) {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/**
 * A key twice, or a number that is rounded in reading: a program would read other facts than those
 * that are hashed. What JSON.stringify wrote has neither.
 */
function requireSingleKeys(text, line, place) {
  if (text === JSON.stringify(line)) return
  const stack = []
  let wasKey
  for (const [token] of text.matchAll(/"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\]:]|[^\s"{}[\]:,]+/g)) {
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

const CHUNK = 65_536

/** The trailer is the last line, and what it says is needed from the first on. */
async function readTrailer(file) {
  const unreadable = (error) => {
    if (error.code === undefined) throw error
    throw new Unreadable(`${file} cannot be read (${error.code}).`)
  }
  const handle = await open(file).catch(unreadable)
  try {
    const { size } = await handle.stat()
    if (size === 0) throw new Unreadable(`${file} is empty.`)
    const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, 0)
    if (buffer.toString() !== '{') {
      throw new Unreadable(
        `${file} is no NDJSON export. What was exported as CSV cannot be checked: export it again ` +
          'with "Accept: application/x-ndjson".',
      )
    }
    const text = await lastLine(handle, size)
    const line = parse(text)
    if (!isTrailer(line)) {
      throw new Unreadable(`${file} is cut off: its last line is not the trailer.`)
    }
    requireTrailer(text.trimEnd(), line)
    return line.trailer
  } catch (error) {
    unreadable(error)
  } finally {
    await handle.close()
  }
}

async function lastLine(handle, size) {
  const chunks = []
  for (let end = size; end > 0; end -= CHUNK) {
    const start = Math.max(0, end - CHUNK)
    const chunk = Buffer.alloc(end - start)
    await handle.read(chunk, 0, chunk.length, start)
    // The last byte of all ends the last line.
    const before = chunk.lastIndexOf(10, end === size ? chunk.length - 2 : chunk.length - 1)
    chunks.unshift(before === -1 ? chunk : chunk.subarray(before + 1))
    if (before !== -1) break
  }
  return Buffer.concat(chunks).toString()
}

// -------------------------------------------------------------------------------- the command itself

const USAGE =
  'Usage: node verify-audit.mjs <export.ndjson> --key <public.pem> [--key <older.pem>] ' +
  '[--seal <number>:<hash>]'

/** The files named by `--key`, the seals by `--seal`, and what else stands on the command line. */
export async function readKeys(args) {
  const keys = []
  const kept = new Map()
  const others = []
  const rest = args[Symbol.iterator]()
  for (const arg of rest) {
    if (arg === '--key') keys.push(await readKeyFile(rest.next().value))
    else if (arg === '--seal') kept.set(...readKept(rest.next().value))
    else others.push(arg)
  }
  return { keys, kept, others }
}

async function readKeyFile(file) {
  if (file === undefined) throw new Unreadable('--key needs the file of a public key.')
  const pem = await readFile(file, 'utf8').catch((error) => {
    throw new Unreadable(`The key ${file} cannot be read (${error.code}).`)
  })
  return readKey(pem)
}

/** A seal as somebody noted it. */
function readKept(text = '') {
  const [, number, hash] = /^([1-9]\d{0,14}):([0-9a-f]{64})$/.exec(text) ?? []
  if (hash === undefined)
    throw new Unreadable('--seal needs <number>:<hash>, the hash as 64 hex digits.')
  return [Number(number), hash]
}

/** Of a great many parked streams so many are named. */
const PARKED_NAMED = 10

const count = (number, noun) => `${number.toLocaleString('en')} ${noun}${number === 1 ? '' : 's'}`

/** What is proven and what is not, in lines. */
export function describe({ events, streams, seals, lastSeal, signers, sealed, gaps, position }) {
  const lines = [
    `Nothing is broken: ${count(events, 'event')} of ${count(streams, 'stream')}, up to position ${position}.`,
  ]
  if (lastSeal === null) {
    lines.push(
      'No seal: the chains hold, but no signature proves them. Whoever could write could have written ' +
        'all of it anew.',
    )
  } else {
    const { number, sealed_at, hash } = lastSeal
    const keys = signers.map(
      ({ key_id, first, last }) => `${key_id} (${first === last ? first : `${first} to ${last}`})`,
    )
    lines.push(
      `${count(seals, 'seal')}, the last one is number ${number} of ${sealed_at}, up to position ` +
        `${lastSeal.position}, ${hash}.`,
      `Signed by ${keys.join(', ')}.`,
    )
  }
  lines.push(
    `Sealed: ${count(sealed, 'event')}. Not proven by a seal: ${count(events - sealed, 'event')}.`,
  )
  if (gaps > 0) {
    lines.push(
      `The filter leaves ${count(gaps, 'gap')}: what stands before a gap is not chained to what follows.`,
    )
  }
  return lines
}

function describeExport(report) {
  const { said, erased, doubtful, unproven } = report
  const asked =
    said.filters.length === 0 ? '' : `, asked for ${said.filters.map(inWords).join(' ')}`
  const lines = [
    ...describe(report),
    `It says of itself: exported at ${JSON.stringify(said.exported_at)} by user ` +
      `${JSON.stringify(said.exported_by)}${asked}.`,
    extentOf(report),
  ]
  if (unproven > 0) {
    lines.push(
      `Not proven: ${count(unproven, 'value')} in "from", of which the events before are not there.`,
    )
  }
  if (erased > 0) {
    lines.push(`${count(erased, 'event')} are said to be of erased accounts: their texts are gone.`)
  }
  if (doubtful > 0) {
    lines.push(
      `Of ${count(doubtful, 'account')} among them no UserErased is in the export: nothing proves the ` +
        'erasure.',
    )
  }
  return lines
}

function extentOf({ whole, lastSeal }) {
  if (!whole) {
    return (
      'It is a part of the log. Nothing is said of other events, nor that a stream has none after ' +
      'those that are here; positions and recorded_at are not proven.'
    )
  }
  if (lastSeal === null) return 'It says that it is the whole log; nothing proves that.'
  const { number, position } = lastSeal
  return `It is the whole log up to seal ${number} (position ${position}); nothing proves what is after it.`
}

/**
 * The trailer is not signed: whoever takes events away could say there that they were parked. And of the
 * whole log no stream is hidden.
 */
function requireNoneMissing({ events, position, whole, said: { parked, filters } }) {
  const sound = `${count(events, 'event')} up to position ${position} are not broken, but`
  if (parked.length > 0) {
    const some = parked
      .slice(0, PARKED_NAMED)
      .map(([id, version]) => `${id} from version ${version} on`)
    const more = parked.length > some.length ? ` and more of ${count(parked.length, 'stream')}` : ''
    throw new Incomplete(
      `${sound} others are not in the export: ${some.join(', ')}${more}. It says itself that they ` +
        'were parked, and nothing tells whether that is so: export again when they are resumed.',
    )
  }
  if (filters.length === 0 && !whole) {
    throw new Incomplete(
      `${sound} its seals cover streams that are not in it, though it says that nothing was filtered.`,
    )
  }
}

/** Escapes what a terminal takes for orders, and what is not seen: much of it was written by others. */
const printable = (text) =>
  text.replace(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
    (sign) => `\\u{${sign.codePointAt(0).toString(16)}}`,
  )

/** Runs a check and says what came of it; the exit code. */
export async function conclude(check) {
  try {
    for (const line of await check()) console.log(printable(line))
    return 0
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

async function main(args) {
  const { keys, kept, others } = await readKeys(args)
  const [file] = others
  if (others.length !== 1) throw new Unreadable(USAGE)
  if (keys.length === 0) {
    throw new Unreadable(`No key: nothing can be proven without one. ${USAGE}`)
  }
  const report = await verifyExport(file, keys, kept)
  requireNoneMissing(report)
  return describeExport(report)
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  process.exitCode = await conclude(() => main(process.argv.slice(2)))
}
