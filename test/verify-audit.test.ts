import { createCipheriv, randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import canonicalize from 'canonicalize'
import { expect } from 'chai'
import fc from 'fast-check'
import { verifierText } from '../scripts/build-verifier.ts'
import type { TaskEvent } from '../src/domain/task/events.ts'
import type { Photo } from '../src/domain/task/photos.ts'
import type { NoteSigner } from '../src/transparency-log/keys.ts'
import { leafHash } from '../src/transparency-log/tree.ts'
import { verifyExport } from '../src/verifier/export.ts'
import { Broken, Unreadable } from '../src/verifier/failures.ts'
import { canonical, eventHash } from '../src/verifier/formats.ts'
import { verifyProof } from '../src/verifier/proof.ts'
import { notProven } from '../src/verifier/report.ts'
import type { Trust } from '../src/verifier/trust.ts'
import { created, renamed } from './support/appends.ts'
import {
  type Export,
  isEvent,
  type Line,
  logKey,
  ORIGIN,
  otherLogKey,
  type RecordsLine,
  type SyntheticLog,
  signed,
  syntheticLog,
  textOf,
  WITNESSED_AT,
  witness,
  writeExport,
} from './support/exports.ts'
import { startProcess } from './support/processes.ts'
import { photoNumbered } from './support/tasks.ts'

const described = (description: string | null): TaskEvent => ({
  type: 'TaskDescribed',
  data: { description },
})
const completed: TaskEvent = { type: 'TaskCompleted', data: { status: 'completed' } }
const reopened: TaskEvent = { type: 'TaskReopened', data: { status: 'pending', undoes: [2] } }
const deleted: TaskEvent = { type: 'TaskDeleted', data: {} }
const restored: TaskEvent = { type: 'TaskRestored', data: { undoes: [4] } }
const ofUser2 = { type: 'TaskCreated', data: { ...created().data, user_id: 2 } } as TaskEvent
const [alice, bob] = [witness('alice'), witness('bob')]

const hashOf = (text: string): string => leafHash(text).toString('base64')

/** Whoever holds the log's key alone; witnesses and policies as a test needs them. */
const trusting = (keys: readonly NoteSigner[], rest: Partial<Trust> = {}): Trust => ({
  keys: keys.map(({ key }) => key),
  witnesses: [],
  quorum: rest.witnesses?.length ?? 0,
  ...rest,
})

describe('verify-audit.mjs', () => {
  let log: SyntheticLog
  let directory: string
  let file: string
  let whole: Export
  /** Of the first five leaves. */
  let older: string

  // By position, which is the leaf + 1 up to 4, and the leaf after that:
  //   1 task-1 v1   2 v2   3 task-2 v1   4 task-1 v3   (leaf 4: records)
  //   5 task-1 v4   6 v5   7 task-2 v2   8 task-3 v1 (of an erased user)   9 v2   (leaf 10: records)
  //  10 task-2 v3  11 task-1 v6, which no checkpoint covers
  before(async () => {
    log = syntheticLog()
    directory = await mkdtemp(join(tmpdir(), 'tasktrail-verify-'))
    file = join(directory, 'export.ndjson')
    log.write(1, [created({ title: 'Überall ✓', description: 'One' }), completed])
    log.write(2, [created({ title: 'Task 2' })])
    log.write(1, [reopened])
    log.writeRecords()
    older = await log.checkpoint()
    log.write(1, [deleted, restored])
    log.write(2, [described('Two\n"three"')])
    log.write(3, [ofUser2, renamed('gone')], 2)
    log.writeRecords()
    await log.checkpoint([logKey, alice])
    log.write(2, [renamed('Three')])
    log.write(1, [described(null)])
    log.eraseUser(2)
    whole = await log.export()
  })
  after(() => rm(directory, { recursive: true }))

  const own = trusting([logKey])
  const check = async (text: string, trust = own) => {
    await writeFile(file, text)
    return verifyExport(file, trust)
  }
  const outcome = (text: string) =>
    check(text).then(
      () => null,
      (error: unknown) => error,
    )
  /** What is said of a copy that somebody has forged. */
  const broken = async (forge: (copy: Export) => void, from = whole) => {
    const copy = structuredClone(from)
    forge(copy)
    const error = await outcome(textOf(copy))
    if (!(error instanceof Broken)) throw new Error(`not found: ${error}`)
    return error
  }
  const eventsOf = ({ lines }: Export) => lines.filter(isEvent)
  const lineAt = (copy: Export, position: number): Line => {
    const line = eventsOf(copy).find((line) => line.position === position)
    if (line === undefined) throw new Error(`no event at ${position}`)
    return line
  }
  const at = (position: number, forge: (line: Line) => void) => (copy: Export) =>
    forge(lineAt(copy, position))
  const leave = (copy: Export, isLeft: (line: Line | RecordsLine) => boolean) => {
    copy.lines = copy.lines.filter(isLeft)
    copy.trailer.count = eventsOf(copy).length
  }
  const without = (copy: Export, ...positions: number[]) =>
    leave(copy, (line) => !isEvent(line) || !positions.includes(line.position))
  /** A stream's hashes, made to match what its events say. */
  const rehash = (copy: Export, task_id: number) => {
    let previous: string | null = null
    for (const line of eventsOf(copy).filter((line) => line.task_id === task_id)) {
      const { stored, actor, version, type, occurred_at } = line
      stored.prev_hash = previous
      line.hash = eventHash({ ...stored, version, type, occurred_at, actor_id: actor.user_id })
      previous = line.hash
    }
  }
  const ofTask = (id: number) => log.export({ task_id: id }, ({ task_id }) => task_id === id)
  const ofUser1 = () => log.export({ user_id: 1 }, ({ user_id }) => user_id === 1)

  it('finds nothing in an export of the whole log, and says what the log holds of it', async () => {
    const report = await check(textOf(whole))
    expect(report).to.deep.include({ events: 11, streams: 3, logged: 9, gaps: 0, position: 11 })
    expect(report).to.deep.include({ whole: true, erased: 2 })
    expect(report.log).to.include({ origin: ORIGIN, size: 11 })
    expect(report.unlogged).to.deep.equal({ stream_id: 'task-2', version: 3, position: 10 })
  })

  it('knows the photos of a task before and after, and which bytes are meant', async () => {
    const log = syntheticLog()
    const [one, two] = [photoNumbered(1), photoNumbered(2)]
    log.write(1, [
      created({ title: 'Kitchen' }),
      { type: 'PhotoAdded', data: { photos: [one] } },
      { type: 'PhotoAdded', data: { photos: [one, two] } },
      { type: 'PhotoRemoved', data: { photos: [two] } },
      { type: 'PhotoRestored', data: { photos: [one, two], undoes: [4] } },
    ])
    await log.checkpoint()
    const copy = await log.export()
    const report = await check(textOf(copy))
    expect(report).to.deep.include({ events: 5, logged: 5, gaps: 0 })
    const photosAt = (position: number, side: 'from' | 'to') => (forged: Export) => {
      const { photos } = lineAt(forged, position).changes
      if (photos === undefined) throw new Error('no photos')
      const of = photos[side] as Photo[]
      photos[side] = of.map((photo) => ({ ...photo, sha256: '0'.repeat(64) }))
    }
    expect((await broken(photosAt(3, 'to'), copy)).message).to.match(
      /photos.to is not what is stored/,
    )
    expect((await broken(photosAt(3, 'from'), copy)).message).to.match(
      /photos.from is not the value before it/,
    )
    const empty = (forged: Export) => {
      lineAt(forged, 2).changes.photos = { from: null, to: [one] }
    }
    expect((await broken(empty, copy)).message).to.match(/photos.from is not the value before it/)
  })

  it('writes JSON as RFC 8785 says', () => {
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: 'binary' }), (value) => {
        expect(canonical(value)).to.equal(canonicalize(value))
      }),
      { numRuns: 300 },
    )
  })

  const CHANGES: Record<string, (line: Line) => unknown> = {
    type: (line) => Object.assign(line, { type: 'TaskStarted' }),
    version: (line) => Object.assign(line, { version: 7 }),
    actor: (line) => Object.assign(line.actor, { user_id: 2 }),
    occurred_at: (line) => Object.assign(line, { occurred_at: '2026-11-21T10:00:00.001Z' }),
    request_id: (line) => Object.assign(line, { request_id: 'another' }),
    task_id: (line) => Object.assign(line, { task_id: 4 }),
    'task_id, now null': (line) => Object.assign(line, { task_id: null }),
    undoes: (line) => Object.assign(line, { undoes: [1] }),
    'undoes, taken away': (line) => Reflect.deleteProperty(line, 'undoes'),
    hash: (line) => Object.assign(line, { hash: 'ab'.repeat(32) }),
    'changes, what is so': (line) => Object.assign(line.changes.status ?? {}, { to: 'completed' }),
    'changes, what was so': (line) => Object.assign(line.changes.status ?? {}, { from: 'pending' }),
    'changes, one more': (line) =>
      Object.assign(line.changes, { priority: { from: 'low', to: 'high' } }),
    'changes, none': (line) => Object.assign(line, { changes: {} }),
    'a field that is none': (line) => Object.assign(line, { note: 'seen by the board' }),
    'a field of actor': (line) => Object.assign(line.actor, { name: 'Mallory' }),
    'a field of stored': (line) => Object.assign(line.stored, { note: 'seen by the board' }),
    'a field of a change': (line) => Object.assign(line.changes.status ?? {}, { by: 'Mallory' }),
    'a key of no text': (line) => Object.assign(line.text_keys, { status: 'A'.repeat(43) }),
    'erased, in other words': (line) => Object.assign(line, { erased: 'no' }),
    'erased, false': (line) => {
      const { hash, leaf, before, stored, text_keys, ...shown } = line
      for (const name of Object.keys(line)) Reflect.deleteProperty(line, name)
      Object.assign(line, { ...shown, erased: false, hash, leaf, before, stored, text_keys })
    },
    schema_version: (line) => Object.assign(line.stored, { schema_version: 2 }),
    'prev_hash, cut off': ({ stored }) =>
      Object.assign(stored, { prev_hash: stored.prev_hash?.slice(1) }),
    'prev_hash, none at all': ({ stored }) => Reflect.deleteProperty(stored, 'prev_hash'),
    erased: (line) => Object.assign(line.stored.data, { title: { user: 1, cipher: '' } }),
    'what is stored': (line) => Object.assign(line.stored.data, { status: 'completed' }),
    metadata: (line) => Object.assign(line.stored.metadata, { ip: '10.0.0.1' }),
    'session id': (line) => Object.assign(line.stored.metadata, { session_id: null }),
    event_id: (line) => Object.assign(line.stored, { event_id: 'x' }),
    prev_hash: (line) => Object.assign(line.stored, { prev_hash: null }),
    stream_id: (line) => Object.assign(line.stored, { stream_id: 'task-2' }),
  }
  for (const [what, forge] of Object.entries(CHANGES)) {
    it(`names the event that is changed in one thing: ${what}`, async () => {
      const error = await broken(at(4, forge))
      expect(error.place.position, error.message).to.equal(4)
    })
  }

  const TEXT_CHANGES: Record<string, (line: Line) => unknown> = {
    'another text': (line) => Object.assign(line.changes.description ?? {}, { to: 'Four' }),
    'no text': (line) => Object.assign(line.changes.description ?? {}, { to: null }),
    'another text before': (line) => Object.assign(line.changes.description ?? {}, { from: 'x' }),
    'erased, though it can be read': (line) => Object.assign(line, { erased: true }),
    'no key': (line) => Object.assign(line, { text_keys: {} }),
    'another key': (line) => Object.assign(line.text_keys, { description: 'A'.repeat(43) }),
    'half a key': (line) => Object.assign(line.text_keys, { description: 'AAAA' }),
  }
  for (const [what, forge] of Object.entries(TEXT_CHANGES)) {
    it(`names the event that shows ${what}`, async () => {
      expect((await broken(at(7, forge))).place.position).to.equal(7)
    })
  }

  it('takes a text for erased only where the event says so', async () => {
    const error = await broken(at(8, (line) => Reflect.deleteProperty(line, 'erased')))
    expect(error.place).to.include({ stream_id: 'task-3', version: 1 })
    const shown = at(9, (line) => Object.assign(line.changes.title ?? {}, { to: 'invented' }))
    expect((await broken(shown)).place.position).to.equal(9)
  })

  it('names the event that says a thing twice, or a number that is rounded in reading', async () => {
    const text = textOf(whole)
    for (const [from, to] of [
      ['"type":"TaskReopened"', '"type":"TaskDeleted","type":"TaskReopened"'],
      ['"undoes":[2]},"metadata"', '"undoes":[2.00000000000000000001]},"metadata"'],
    ] as const) {
      const error = await outcome(text.replace(from, to))
      expect(error).to.be.instanceOf(Broken)
      expect((error as Broken).place.position).to.equal(4)
    }
    const spaced = await outcome(text.replace('{"position":5,', '{ "position": 5, '))
    expect(spaced).to.be.instanceOf(Broken)
    expect((spaced as Broken).message).to.match(/it is not written as an export writes it/)
  })

  it('reads a text as UTF-8 or not at all', async () => {
    const error = await broken((copy) => {
      at(10, (line) => {
        const key = randomBytes(32)
        const cipher = createCipheriv('aes-256-gcm', key, Buffer.alloc(12))
        cipher.setAAD(Buffer.from('task-2/title'))
        const text = Buffer.concat([cipher.update(Buffer.of(0xff)), cipher.final()])
        const sealed = Buffer.concat([Buffer.alloc(16), text, cipher.getAuthTag()])
        line.stored.data.title = { user: 1, cipher: sealed.toString('base64url') }
        line.text_keys.title = key.toString('base64url')
        Object.assign(line.changes.title ?? {}, { to: '\ufffd' })
      })(copy)
      rehash(copy, 2)
    })
    expect(error.place.position).to.equal(10)
    expect(error.message).to.match(/the key of its title does not open the stored text/)
  })

  it('says of how many erased accounts it has not seen the erasure', async () => {
    expect(await check(textOf(whole))).to.deep.include({ erased: 2, doubtful: [2] })
  })

  it('takes no line but the last for the trailer', async () => {
    const lines = textOf(whole).split('\n')
    const forged = { trailer: 0, ...whole.lines[6], actor: { user_id: 9 } }
    const error = await outcome(lines.toSpliced(6, 0, JSON.stringify(forged)).join('\n'))
    expect(error).to.be.instanceOf(Broken)
    expect((error as Broken).place.position).to.equal(6)
    const two = await outcome(lines.toSpliced(6, 0, lines.at(-2) ?? '').join('\n'))
    expect(two).to.have.property('message', 'Line 7 is not an event of an export.')
  })

  it('finds what no export writes into its trailer', async () => {
    const forgeries: readonly ((copy: Export) => unknown)[] = [
      ({ trailer }) => Object.assign(trailer, { note: 'seen by the board' }),
      ({ trailer }) => Object.assign(trailer, { query: null }),
      ({ trailer }) => Object.assign(trailer.log ?? {}, { note: 'seen by the board' }),
    ]
    for (const forge of forgeries) {
      const { place, message } = await broken((copy) => void forge(copy))
      expect(place).to.deep.equal({ thing: 'The trailer' })
      expect(message).to.equal('The trailer is not one that an export writes.')
    }
    const twice = textOf(whole).replace('"exported_by":1', '"exported_by":2,"exported_by":1')
    expect(await outcome(twice)).to.be.instanceOf(Broken)
  })

  it('names the leaf that is missing, or the version that no checkpoint covers', async () => {
    const middle = await broken((copy) => without(copy, 4))
    expect(middle.message).to.match(/^Leaf 3 is missing, or not in its place: Leaf 4 has leaf 4\.$/)
    const first = await broken((copy) => {
      without(copy, 7)
      at(9, (line) => Object.assign(line.actor, { user_id: 9 }))(copy)
    })
    expect(first.message).to.match(
      /^Leaf 7 is missing, or not in its place: task-3 version 1 \(position 8\) has leaf 8\.$/,
    )
    const lost = await broken((copy) => leave(copy, (line) => line.leaf !== 10))
    expect(lost.message).to.equal(
      'Leaf 10 is missing, or not in its place: the checkpoint covers 11 leaves.',
    )
  })

  it('finds a stream that is left out, with the hashes of it too, if no filter leaves it out', async () => {
    const leaveOut = (copy: Export) => leave(copy, (line) => !isEvent(line) || line.task_id !== 3)
    expect((await broken(leaveOut)).place).to.deep.equal({ leaf: 8 })
    const ofOthers = await log.export({ user_id: 1 }, ({ task_id }) => task_id !== 3)
    expect(await check(textOf(ofOthers))).to.include({ whole: false, gaps: 0 })
    const hidden = await broken((copy) => Object.assign(copy.trailer, { query: {} }), ofOthers)
    expect(hidden.place).to.deep.equal({ leaf: 4 })
    expect(hidden.message).to.match(/is not shown, though the export has no filter\.$/)
  })

  it('finds a version that is missing behind the checkpoint', async () => {
    const later = syntheticLog()
    later.write(1, [created()])
    await later.checkpoint()
    later.write(1, [completed, reopened])
    const gap = await broken((copy) => without(copy, 2), await later.export())
    expect(gap.place).to.deep.equal({ stream_id: 'task-1', version: 2 })
  })

  it('finds events that are exchanged, doubled or put elsewhere', async () => {
    const swap = await broken((copy) => {
      const [one, two] = [copy.lines[2], copy.lines[3]] as [Line, Line]
      copy.lines.splice(2, 2, two, one)
    })
    expect(swap.message).to.match(/^Leaf 2 is missing, or not in its place: .* has leaf 3\.$/)
    const renumbered = await broken((copy) => {
      const [one, two] = [copy.lines[2], copy.lines[3]] as [Line, Line]
      copy.lines.splice(2, 2, { ...two, position: 3, leaf: 2 }, { ...one, position: 4, leaf: 3 })
    })
    expect(renumbered.message).to.match(/^The export is not what its checkpoint signs/)
    const twice = await broken((copy) => void copy.lines.splice(3, 0, copy.lines[2] as Line))
    expect(twice.place.position).to.equal(3)
  })

  it('finds a time of recording that is changed', async () => {
    const error = await broken(
      at(7, (line) => Object.assign(line, { recorded_at: '2020-01-01T00:00:00.000Z' })),
    )
    expect(error.place.position).to.equal(7)
  })

  it('finds a count that is not that of the events', async () => {
    const { place } = await broken((copy) => Object.assign(copy.trailer, { count: 12 }))
    expect(place).to.deep.equal({})
  })

  it('has nothing to find fault with in an export without events', async () => {
    const none = await log.export({ task_id: 4 }, () => false)
    expect(await check(textOf(none))).to.include({ events: 0, streams: 0, whole: false })
  })

  describe('against the log', () => {
    /** Everything in it is in the log. */
    let logged: Export
    before(() => {
      logged = structuredClone(whole)
      without(logged, 10, 11)
    })
    const UNNAMED =
      /^The export is not what its checkpoint signs, though each hash and chain in it is right/

    it('proves the whole log, and what one person sees of it', async () => {
      expect(await check(textOf(logged))).to.include({ events: 9, logged: 9, whole: true })
      const mine = await ofUser1()
      expect(mine.lines.some(({ before }) => before.length > 0)).to.equal(true)
      expect(await check(textOf(mine))).to.include({ whole: false, events: 9, logged: 7 })
      const third = await ofTask(3)
      expect(await check(textOf(third))).to.include({ events: 2, logged: 2 })
    })

    it('finds a stream that was hashed anew from a changed event on', async () => {
      for (const from of [logged, await ofTask(1)]) {
        const error = await broken((copy) => {
          at(4, ({ stored }) => Object.assign(stored.metadata, { ip: '10.0.0.1' }))(copy)
          rehash(copy, 1)
        }, from)
        expect(error.message).to.match(UNNAMED)
      }
    })

    it('finds every event and every line that is changed, removed, doubled or put in', async () => {
      const mine = await ofUser1()
      for (const from of [logged, mine]) {
        for (const [index, line] of from.lines.entries()) {
          if (line.leaf === null) continue
          const forgeries: Record<string, (copy: Export) => unknown> = {
            removed: ({ lines }) => lines.splice(index, 1),
            doubled: ({ lines }) => lines.splice(index, 0, structuredClone(line)),
            'put first': ({ lines }) => lines.unshift(...lines.splice(index || 1, 1)),
            'put last': ({ lines }) => lines.push(...lines.splice(index, 1)),
            'another leaf': ({ lines }) => Object.assign(lines[index] ?? {}, { leaf: index + 1 }),
            'no leaf': ({ lines }) => Object.assign(lines[index] ?? {}, { leaf: null }),
            'records put in': ({ lines }) =>
              lines.splice(index, 0, structuredClone(whole.lines[4] as RecordsLine)),
          }
          for (const [what, forge] of Object.entries(forgeries)) {
            const copy = structuredClone(from)
            forge(copy)
            if (textOf(copy) === textOf(from)) continue
            copy.trailer.count = eventsOf(copy).length
            const error = await outcome(textOf(copy))
            // An event that is taken out of the log is not broken if all behind it are, too; it is named.
            if (error === null && what === 'no leaf') {
              const report = await check(textOf(copy))
              expect(report.logged).to.be.below(
                eventsOf(from).filter(({ leaf }) => leaf !== null).length,
              )
            } else expect(error, `${what} ${index}`).to.be.instanceOf(Broken)
          }
        }
      }
    })

    it('finds a position that is changed, which no hash covers', async () => {
      const moved = await broken((copy) => {
        at(9, (line) => Object.assign(line, { position: 20 }))(copy)
      }, logged)
      expect(moved.message).to.match(UNNAMED)
    })

    it('finds each change of the accesses and security events that the log covers', async () => {
      for (const records of [
        { audit_accesses: 3, security_events: 1 },
        { audit_accesses: 2, security_events: 2 },
        { digest: 'ab'.repeat(32) },
      ]) {
        const error = await broken(({ lines }) => {
          Object.assign((lines[4] as RecordsLine).records, records)
        }, logged)
        expect(error.message).to.match(UNNAMED)
      }
    })

    it('finds each bit that is flipped in the proof of a part', async () => {
      const mine = await ofTask(1)
      const flips = async (
        what: string,
        get: (copy: Export) => string,
        set: (copy: Export, value: string) => void,
        every: number,
      ) => {
        const bytes = Buffer.from(get(mine))
        for (let bit = 0; bit < bytes.length * 8; bit += every) {
          const flipped = Buffer.from(bytes)
          flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
          const copy = structuredClone(mine)
          set(copy, flipped.toString())
          const error = await outcome(textOf(copy))
          expect(error, `${what} ${bit}`).to.be.instanceOf(Error)
          expect(error).to.satisfy((e: unknown) => e instanceof Broken || e instanceof Unreadable)
        }
      }
      const withBefore = mine.lines.findIndex(({ before }) => before.length > 0)
      await flips(
        'before',
        ({ lines }) => lines[withBefore]?.before[0] ?? '',
        ({ lines }, value) => Object.assign(lines[withBefore]?.before ?? [], [value]),
        3,
      )
      const logOf = ({ trailer }: Export) => trailer.log ?? { checkpoint: '', after: [] }
      await flips(
        'after',
        (copy) => logOf(copy).after[0] ?? '',
        (copy, value) => Object.assign(logOf(copy).after, [value]),
        3,
      )
      await flips(
        'checkpoint',
        // The witness's line is not what this trusts.
        (copy) => logOf(copy).checkpoint.split('\n').slice(0, 5).join('\n'),
        (copy, value) => Object.assign(logOf(copy), { checkpoint: `${value}\n` }),
        5,
      )
      for (const [index, { leaf }] of mine.lines.entries()) {
        if (leaf === null) continue
        for (let bit = 0; bit < 40; bit++) {
          const copy = structuredClone(mine)
          const flipped = Math.floor(leaf / 2 ** bit) % 2 === 1 ? leaf - 2 ** bit : leaf + 2 ** bit
          Object.assign(copy.lines[index] ?? {}, { leaf: flipped })
          expect(await outcome(textOf(copy)), `leaf ${flipped}`).to.be.instanceOf(Broken)
        }
      }
    })

    it('names the event whose hashes are too many or too few', async () => {
      const mine = await ofTask(3)
      for (const change of [
        (before: string[]) => before.splice(0, 1, 'x'),
        (before: string[]) => before.push(...before),
      ]) {
        const error = await broken(({ lines }) => void change(lines[0]?.before ?? []), mine)
        expect(error.place.position).to.equal(8)
        expect(error.message).to.match(/needs 1 hashes of what lies before it in the log\.$/)
      }
      const { place } = await broken(({ trailer }) => void trailer.log?.after.push(''), mine)
      expect(place).to.deep.equal({ thing: 'The trailer' })
    })

    it('takes no checkpoint that another key has signed, or that is of another log', async () => {
      const { root, size } = { root: log.root(11), size: 11 }
      const resign = async (facts: object, signers?: readonly NoteSigner[]) => {
        const copy = structuredClone(logged)
        const checkpoint = await signed({ root, size, ...facts }, signers)
        copy.trailer.log = { checkpoint, after: [] }
        return outcome(textOf(copy))
      }
      expect(await resign({})).to.equal(null)
      expect(await resign({}, [logKey, otherLogKey])).to.equal(null)
      for (const error of [
        await resign({}, [otherLogKey]),
        await resign({}, [alice]),
        await resign({ origin: 'another.test/log' }),
      ]) {
        expect(error)
          .to.be.instanceOf(Broken)
          .and.have.property('message')
          .that.matches(
            /is not signed by a key that was given \(tasktrail\.test\/log\+[0-9a-f]{8}\)/,
          )
      }
      // By the known key, of another log.
      expect(await resign({ root: log.root(10) }))
        .to.have.property('message')
        .that.matches(UNNAMED)
      expect(await resign({ size: 10, root: log.root(10) }))
        .to.have.property('message')
        .that.equals('Leaf 10 is not in the log: the checkpoint covers 10 leaves.')
      expect(await resign({ size: 12 })).to.have.deep.property('place', { leaf: 11 })
      const copy = structuredClone(logged)
      const note = `${copy.trailer.log?.checkpoint}`.replace(/(?<=^— tasktrail\S+ \S{10})./m, 'x')
      copy.trailer.log = { checkpoint: note, after: [] }
      expect(await outcome(textOf(copy)))
        .to.have.property('message')
        .that.matches(/is not signed by tasktrail\.test\/log\+[0-9a-f]{8}, though it says so/)
    })

    it('wants the cosignatures of all witnesses that it is told', async () => {
      const proven = async (witnesses: readonly NoteSigner[], signers: readonly NoteSigner[]) => {
        const copy = structuredClone(logged)
        const checkpoint = await signed({ root: log.root(11), size: 11 }, [logKey, ...signers])
        copy.trailer.log = { checkpoint, after: [] }
        const keys = witnesses.map(({ key }) => key)
        return check(textOf(copy), trusting([logKey], { witnesses: keys }))
      }
      const both = await proven([alice, bob], [bob, alice])
      expect(both.log?.cosigned.map(({ at }) => at)).to.deep.equal([WITNESSED_AT, WITNESSED_AT])
      const one = await proven([alice, bob], [alice])
      expect(notProven(one).filter((line) => !/^user-2/.test(line))).to.deep.equal([
        `The checkpoint: the witness bob.test+${bob.key.id.toString('hex')} has not cosigned it.`,
      ])
      // Bob's, but of another checkpoint.
      const other = await signed({ root: log.root(10), size: 10 }, [bob])
      const [, line = ''] = other.split('\n\n')
      const error = await proven([bob], [{ ...bob, sign: async () => line }]).catch((e) => e)
      expect(error).to.be.instanceOf(Broken)
      expect(error.message).to.match(/is not signed by bob\.test\+\S+, though it says so/)
    })

    it('proves no event that the checkpoint does not cover', async () => {
      const said = notProven(await check(textOf(whole)))
      expect(said).to.deep.equal([
        'task-2 version 3 (position 10) and what follows, 2 events in all: not in the log of the checkpoint.',
        'user-2: marked as erased, but the export has no UserErased.',
      ])
      const added = await broken(at(11, (line) => line.before.push(hashOf('x'))))
      expect(added.message).to.match(/\(position 11\) has hashes of the log, but no leaf in it/)
      const early = await broken(at(9, (line) => Object.assign(line, { leaf: null })))
      expect(early.message).to.match(/^Leaf 10 has leaf 10, but comes after an event that has none/)
    })
  })

  describe('of a part of the log', () => {
    const TYPES = ['TaskDeleted', 'TaskRestored', 'TaskDescribed', 'TaskRenamed', 'TaskReopened']
    const ofTypes = (...type: string[]) =>
      log.export({ type }, (event) => type.includes(event.type))

    it('counts previous values that nothing proves', async () => {
      const part = await ofTypes(...TYPES)
      at(4, (line) => Object.assign(line.changes.status ?? {}, { from: 'in_progress' }))(part)
      const { events, unproven } = await check(textOf(part))
      expect([events, unproven.flatMap(([, fields]) => fields).length]).to.deep.equal([7, 6])
      expect((await check(textOf(whole))).unproven).to.deep.equal([])
    })

    it('proves all that is in the log of one task', async () => {
      const part = await ofTask(1)
      const report = await check(textOf(part))
      expect(report).to.include({ whole: false, events: 6, logged: 5, gaps: 0 })
      const cut = await broken((copy) => void copy.lines.splice(2, 1), part)
      expect(cut.message).to.match(/^task-1 version 4 .* needs 2 hashes of what lies before it/)
    })

    it('counts the gaps that a filter leaves, and proves what stands before them, too', async () => {
      const part = await ofTypes('TaskCreated', ...TYPES)
      expect(await check(textOf(part))).to.include({ events: 10, gaps: 1, logged: 8 })
    })

    it('still names a changed event, and one that is not chained to the one before it', async () => {
      const part = await ofTypes(...TYPES)
      expect(await check(textOf(part))).to.include({ events: 7, gaps: 3 })
      const changed = at(5, (line) => Object.assign(line.actor, { user_id: 9 }))
      expect((await broken(changed, part)).place.position).to.equal(5)
      const unchained = at(10, (line) => {
        const { stored, actor, version, type, occurred_at } = line
        stored.prev_hash = 'ab'.repeat(32)
        line.hash = eventHash({ ...stored, version, type, occurred_at, actor_id: actor.user_id })
      })
      const error = await broken(unchained, part)
      expect(error.place.position).to.equal(10)
      expect(error.message).to.match(/is not chained to version 2/)
      const lost = await broken((copy) => void copy.lines.pop(), part)
      expect(lost.place).to.deep.equal({})
    })
  })

  describe('of what was exported while streams were parked', () => {
    /** The whole log, as far as it is shown. */
    const parked = async (stream_id: string, version: number, ...positions: number[]) => {
      const copy = await log.export({}, ({ position }) => !positions.includes(position))
      copy.trailer.parked = [[stream_id, version]]
      return copy
    }

    it('says that something is missing, at the end, in the middle and altogether', async () => {
      for (const [stream_id, version, ...positions] of [
        ['task-2', 2, 7, 10],
        ['task-1', 4, 5, 6],
        ['task-3', 1, 8, 9],
      ] as const) {
        const copy = await parked(stream_id, version, ...positions)
        const events = eventsOf(copy).length
        expect(await check(textOf(copy))).to.include({ whole: false, events })
        copy.trailer.parked = []
        expect(await outcome(textOf(copy))).to.be.instanceOf(Broken)
      }
    })

    it('still names the event that is changed', async () => {
      const copy = await parked('task-2', 2, 7, 10)
      const forge = at(11, (line) => Object.assign(line.actor, { user_id: 9 }))
      expect((await broken(forge, copy)).place.position).to.equal(11)
    })
  })

  describe('on exports that somebody made false', () => {
    /** What is said not to be proven, or to be broken. */
    const found = async (forge: (copy: Export) => void, from = whole) => {
      const copy = structuredClone(from)
      forge(copy)
      return check(textOf(copy)).then(notProven, (error: unknown) => {
        if (error instanceof Broken) return error.message
        throw error
      })
    }
    /** One more event, with a hash of its own, at the end of a stream; it is said to be a leaf or not. */
    const append = (
      copy: Export,
      task_id: number,
      { skipped = 0, leaf = null as number | null } = {},
    ) => {
      const last = eventsOf(copy).findLast((line) => line.task_id === task_id)
      const line = structuredClone(last ?? (whole.lines[0] as Line))
      const version = (last?.version ?? 0) + 1 + skipped
      const position = copy.trailer.position + 1
      const data = { status: 'completed' }
      const from = version === 1 ? null : 'pending'
      const changes = { status: { from, to: 'completed' } }
      Object.assign(line, { task_id, version, position, type: 'TaskCompleted', changes })
      Reflect.deleteProperty(line, 'undoes')
      Object.assign(line, { text_keys: {}, leaf, before: [] })
      const stream_id = `task-${task_id}`
      Object.assign(line.stored, { data, stream_id, prev_hash: last?.hash ?? null })
      const { stored, actor, type, occurred_at } = line
      line.hash = eventHash({ ...stored, version, type, occurred_at, actor_id: actor.user_id })
      copy.lines.push(line)
      copy.trailer.count++
      copy.trailer.position = position
    }

    it('proves no event that was made up', async () => {
      expect(await found((copy) => append(copy, 9))).to.include(
        'task-2 version 3 (position 10) and what follows, 3 events in all: not in the log of the checkpoint.',
      )
      expect(await found((copy) => append(copy, 9, { leaf: 11 }))).to.match(
        /^task-9 version 1 \(position 12\) has leaf 11, but comes after an event that has none/,
      )
    })

    it('proves nothing of which the checkpoint was taken away', async () => {
      const bare = (copy: Export) => {
        leave(copy, isEvent)
        for (const line of copy.lines) Object.assign(line, { leaf: null, before: [] })
        copy.trailer.log = null
      }
      expect(await found(bare)).to.include.members([
        'task-1 version 1 (position 1) and what follows, 11 events in all: not in the log of the checkpoint.',
        'The export: it has no checkpoint, so nothing proves that nothing is missing.',
      ])
      const said = await found((copy) => {
        bare(copy)
        leave(copy, () => false)
        copy.trailer.position = 0
        append(copy, 9)
      })
      expect(said).to.deep.equal([
        'task-9 version 1 (position 1) and what follows, 1 event in all: not in the log of the checkpoint.',
        'The export: it has no checkpoint, so nothing proves that nothing is missing.',
      ])
      expect(await found(({ trailer }) => Object.assign(trailer, { log: null }))).to.equal(
        'Leaf 0 is not in the log: the checkpoint covers 0 leaves.',
      )
    })

    it('proves none that was made up under a filter', async () => {
      const type = ['TaskCompleted', 'TaskDeleted']
      const part = await log.export({ type }, (event) => type.includes(event.type))
      expect(await found((copy) => append(copy, 1, { skipped: 4 }), part)).to.include(
        'task-1 version 9 (position 12) and what follows, 1 event in all: not in the log of the checkpoint.',
      )
    })

    it('finds each field that is missing or of another type, and never fails itself', async () => {
      type Path = readonly (string | number)[]
      const pathsIn = (value: unknown, path: Path = []): Path[] =>
        typeof value !== 'object' || value === null
          ? [path]
          : [
              ...(path.length === 0 ? [] : [path]),
              ...Object.entries(value).flatMap(([key, member]) => pathsIn(member, [...path, key])),
            ]
      const at = (root: unknown, path: Path) =>
        path.reduce<unknown>((value, key) => Reflect.get(value as object, key), root)
      const values = [undefined, null, 0, -1, 1.5, '', 'x', true, [], {}, [null]]
      const some = structuredClone(whole)
      Object.assign(some.trailer, { parked: [['task-9', 1]] })
      const known = notProven(await check(textOf(some))).length
      for (const path of [
        ...pathsIn(some.lines[3], ['lines', 3]),
        ...pathsIn(some.lines[4], ['lines', 4]),
        ...pathsIn(some.lines[7], ['lines', 7]),
        ...pathsIn(some.trailer, ['trailer']),
      ]) {
        const before = at(some, path)
        // What the trailer says of itself and of parked streams nothing can be held against.
        const isSaid = /exported_|parked|position|query/.test(String(path[1]))
        for (const value of values) {
          const copy = structuredClone(some)
          const parent = at(copy, path.slice(0, -1)) as object
          const last = path.at(-1) ?? ''
          if (value === undefined) Reflect.deleteProperty(parent, last)
          else Reflect.set(parent, last, value)
          const same = JSON.stringify(value) === JSON.stringify(before)
          const said = `${path.join('.')} = ${JSON.stringify(value)}`
          const error = await check(textOf(copy)).then(
            (report) => (notProven(report).length > known ? 'not proven' : null),
            (error: unknown) => error,
          )
          if (error === null) expect(same || isSaid, said).to.equal(true)
          else if (error !== 'not proven' && !(error instanceof Unreadable))
            expect(error, said).to.be.instanceOf(Broken)
        }
      }
    })
  })

  describe('as a command', () => {
    /** The node that is installed: an auditor's machine need not have our version. */
    const run = async (args: readonly string[]) => {
      const { ended, out, err } = startProcess('node', ['verify-audit.mjs', ...args])
      return { code: Number((await ended).replace('code ', '')), out, err }
    }
    const key = () => ['--key', join(directory, 'log.key')]
    const put = async (name: string, text: string | Buffer) => {
      await writeFile(join(directory, name), text)
      return join(directory, name)
    }

    let other: SyntheticLog
    /** Of another log of the same key, in which nothing is without proof. */
    let proven: Export
    before(async () => {
      await put('log.key', `${logKey.key.text}\n`)
      other = syntheticLog()
      for (const id of [1, 2]) other.write(id, [created({ title: `Task ${id}` })])
      other.write(1, [renamed('1')])
      await other.checkpoint([logKey, alice])
      proven = await other.export()
    })

    it('reports what is proven', async () => {
      await writeExport(file, proven)
      const { code, out, err } = await run([file, ...key(), '--witness', alice.key.text])
      expect({ code, err }).to.deep.equal({ code: 0, err: [] })
      const root = other.root().toString('base64').replaceAll('+', '\\+')
      expect(out.join('\n'))
        .to.match(/Nothing is broken: 3 events of 2 streams, up to position 3\./)
        .and.match(new RegExp(`The checkpoint of tasktrail.test/log: 3 leaves, root ${root}`))
        .and.match(/Signed by tasktrail\.test\/log\+[0-9a-f]{8}\./)
        .and.match(/Cosigned by alice\.test\+[0-9a-f]{8} at 2026-11-24T12:00:00\.000Z\./)
        .and.match(/In the log: 3 events\. Not proven by it: 0 events\./)
        .and.match(/Its trailer says: exported at "2026-11-24T12:00:00\.000Z" by user 1\./)
        .and.match(/It is the whole log up to leaf 2; nothing proves what is after it\./)
    })

    it('names each event that is not proven, and ends with 3', async () => {
      await writeExport(file, whole)
      const { code, out, err } = await run([file, ...key(), '--witness', bob.key.text])
      expect(code).to.equal(3)
      expect(out.join('\n'))
        .to.match(/In the log: 9 events\. Not proven by it: 2 events\./)
        .and.match(/Marked as erased, their texts gone: 2 events/)
      expect(err).to.deep.equal([
        'NOT PROVEN: task-2 version 3 (position 10) and what follows, 2 events in all: not in the log of the checkpoint.',
        'NOT PROVEN: user-2: marked as erased, but the export has no UserErased.',
        `NOT PROVEN: The checkpoint: the witness bob.test+${bob.key.id.toString('hex')} has not cosigned it.`,
      ])
    })

    it('says of a part what it does not prove', async () => {
      const type = ['TaskCreated', 'TaskReopened']
      await writeExport(file, await log.export({ type }, (event) => type.includes(event.type)))
      const { code, out, err } = await run([file, ...key()])
      expect(code).to.equal(3)
      expect(out.join('\n'))
        .to.match(
          /by user 1, filtered by type=\["TaskCreated","TaskReopened"\]\.\nIt is a part of the log/,
        )
        .and.match(/not even that its streams end here/)
      expect(err).to.deep.equal([
        'NOT PROVEN: task-1 version 3 (position 4): nothing proves the values before it, "from" of status.',
        'NOT PROVEN: user-2: marked as erased, but the export has no UserErased.',
      ])
    })

    it('does not take an empty export for the whole log', async () => {
      const none = structuredClone(proven)
      none.lines = []
      Object.assign(none.trailer, { count: 0, position: 0, log: null })
      await writeExport(file, none)
      const { code, out, err } = await run([file, ...key()])
      expect(code).to.equal(3)
      expect(out.join('\n'))
        .to.match(/No checkpoint: the chains hold, but no signature proves them\./)
        .and.match(/It claims to be the whole log; nothing proves that\./)
      expect(err).to.deep.equal([
        'NOT PROVEN: The export: it has no checkpoint, so nothing proves that nothing is missing.',
      ])
    })

    it('knows how many witnesses are needed', async () => {
      await writeExport(file, proven)
      const both = [alice, bob].flatMap(({ key }) => ['--witness', key.text])
      expect(await run([file, ...key(), ...both, '--quorum', '1'])).to.include({ code: 0 })
      for (const quorum of [[], ['--quorum', '2']]) {
        const { code, err } = await run([file, ...key(), ...both, ...quorum])
        expect(code).to.equal(3)
        expect(err[0]).to.match(/^NOT PROVEN: The checkpoint: the witness bob\.test\S+ has not/)
      }
      for (const wrong of ['0', '3', '1.5', 'all']) {
        const { code, err } = await run([file, ...key(), ...both, '--quorum', wrong])
        expect(code).to.equal(2)
        expect(err[0]).to.equal('--quorum is a number from 1 to that of the witnesses, 2.')
      }
    })

    it('knows several keys, of which one must have signed', async () => {
      await writeExport(file, proven)
      const stranger = otherLogKey.key.text
      expect(await run([file, '--key', stranger, ...key()])).to.include({ code: 0 })
      const both = await put('both.key', `${stranger}\n\n${logKey.key.text}\r\n`)
      expect(await run([file, '--key', both])).to.include({ code: 0 })
      const { code, err } = await run([file, '--key', stranger])
      expect(code).to.equal(1)
      expect(err[0]).to.match(
        /^BROKEN: The checkpoint of tasktrail\.test\/log is not signed by a key that was given/,
      )
    })

    describe('with the proof of an event', () => {
      // Leaf 3 is task-1 version 3, position 4.
      const proofFile = () => put('event.tlog-proof', log.proof(3))

      it('says which event is in which log', async () => {
        const { code, out, err } = await run([await proofFile(), ...key()])
        expect({ code, err }).to.deep.equal({ code: 0, err: [] })
        const { hash } = lineAt(whole, 4)
        expect(out[0]).to.equal(
          `Proven: the log has task-1 version 3 (position 4), hash ${hash}, as its leaf 3.`,
        )
        expect(out[1]).to.match(/^The checkpoint of tasktrail\.test\/log: 11 leaves, root/)
        const records = await run([await put('records', log.proof(4)), ...key()])
        expect(records.code).to.equal(0)
        expect(records.out[0]).to.match(
          /^Proven: the log has the accesses and security events \{"audit_accesses":2,.* as its leaf 4\.$/,
        )
        const unseen = await run([await proofFile(), ...key(), '--witness', bob.key.text])
        expect(unseen.code).to.equal(3)
      })

      it('finds each bit of it that is flipped', async () => {
        const bytes = Buffer.from(log.proof(3))
        // The witness's line is not what this trusts.
        const end = bytes.lastIndexOf('\u2014 alice')
        for (let bit = 0; bit < end * 8; bit += 7) {
          const flipped = Buffer.from(bytes)
          flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
          await writeFile(file, flipped)
          const error = await verifyProof(file, own).catch((error: unknown) => error)
          expect(error, `bit ${bit}`).to.be.instanceOf(Error)
          expect(error).to.satisfy((e: unknown) => e instanceof Broken || e instanceof Unreadable)
        }
      })

      it('compares an event with the proven one', async () => {
        const line = lineAt(whole, 4)
        const compared = async (event: object) => {
          const args = ['--event', await put('event.json', `${JSON.stringify(event)}\n`)]
          return run([await proofFile(), ...key(), ...args])
        }
        const same = await compared(line)
        expect(same.code).to.equal(3)
        expect(same.err).to.deep.equal([
          'NOT PROVEN: task-1 version 3 (position 4): nothing proves the values before it, "from" of status.',
        ])
        for (const [event, expected] of [
          [{ ...line, type: 'TaskStarted' }, /its hash does not match its contents/],
          [{ ...line, changes: {} }, /its changes are not those of its stored fields/],
          [{ ...line, position: 5 }, /is not the proven event, task-1 version 3 \(position 4\)/],
          [{ ...line, hash: 'ab'.repeat(32) }, /is not the proven event/],
          [lineAt(whole, 2), /task-1 version 2 \(position 2\) is not the proven event/],
          [{ events: [] }, /is not an event of an export/],
        ] as const) {
          const { code, err } = await compared(event)
          expect({ code, lines: err.length }, String(expected)).to.deep.equal({ code: 1, lines: 1 })
          expect(err[0]).to.match(expected)
        }
        expect(await compared(whole.lines[4] ?? {})).to.include({ code: 2 })
      })

      it('says what it cannot read', async () => {
        const text = log.proof(3)
        for (const [content, expected] of [
          [text.replace('v1', 'v2'), /is not a proof file/],
          [text.replace(/^extra .*\n/m, ''), /does not say what it proves/],
        ] as const) {
          const { code, err } = await run([await put('x', content), ...key()])
          expect(code).to.equal(2)
          expect(err[0]).to.match(expected)
        }
      })
    })

    describe('with what was kept earlier', () => {
      const extended = async (newer: string, kept: string, ...more: string[]) =>
        run([newer, ...key(), '--extends', kept, ...more])
      const consistency = (from: number, to: number) =>
        put(`${from}-${to}.json`, log.consistency(from, to))
      const newest = () => whole.trailer.log?.checkpoint ?? ''

      it('proves that a whole export extends a checkpoint, an export and a proof', async () => {
        const part = syntheticLog()
        const kept = await put('kept', older)
        await writeExport(file, whole)
        const { code, out } = await extended(file, kept)
        expect(code).to.equal(3)
        expect(out.at(-1)).to.equal(`It extends the log of 5 leaves in ${kept}.`)
        const same = await extended(file, file, '--extends', await put('proof', log.proof(3)))
        expect(same.out.slice(-2)).to.deep.equal([
          `It extends the log of 11 leaves in ${file}.`,
          `It extends the log of 11 leaves in ${join(directory, 'proof')}.`,
        ])
        const empty = await put('empty', await part.checkpoint())
        expect((await extended(file, empty)).out.at(-1)).to.equal(
          `It extends the log of 0 leaves in ${empty}.`,
        )
      })

      it('needs the answer of GET /log/consistency for anything else', async () => {
        const kept = await put('kept', older)
        const newer = [
          await put('part', textOf(await ofTask(3))),
          await put('proof', log.proof(9)),
          await put('checkpoint', newest()),
        ]
        for (const each of newer) {
          const without = await extended(each, kept)
          expect(without.code).to.equal(3)
          expect(without.err.at(-1)).to.equal(
            `NOT PROVEN: Nothing proves that it extends the log of 5 leaves in ${kept}: name the answer of ` +
              'GET /log/consistency?from=5&to=11 with --consistency.',
          )
          const proof = ['--consistency', await consistency(4, 11)]
          expect((await extended(each, kept, ...proof)).err).to.deep.equal(without.err)
          proof.push('--consistency', await consistency(5, 11))
          const { out } = await extended(each, kept, ...proof)
          expect(out.at(-1)).to.equal(`It extends the log of 5 leaves in ${kept}.`)
        }
        const checkpoint = join(directory, 'checkpoint')
        const proof = await consistency(5, 11)
        expect(await extended(checkpoint, kept, '--consistency', proof)).to.include({ code: 0 })
        const wrong = JSON.parse(log.consistency(5, 11))
        wrong.hashes.reverse()
        const file = await put('wrong.json', JSON.stringify(wrong))
        const { code, err } = await extended(checkpoint, kept, '--consistency', file)
        expect(code).to.equal(1)
        expect(err[0]).to.match(/^BROKEN: The checkpoint does not extend .*kept by the given proof/)
      })

      it('finds a log that was rolled back', async () => {
        const late = await put('late', newest())
        const early = await put('early', older)
        const { code, err } = await extended(early, late)
        expect({ code, err }).to.deep.equal({
          code: 1,
          err: [
            `BROKEN: The checkpoint covers 5 leaves, ${late} 11: it is the older one, or the log was rolled back.`,
          ],
        })
        const bare = structuredClone(whole)
        leave(bare, isEvent)
        for (const line of bare.lines) Object.assign(line, { leaf: null, before: [] })
        bare.trailer.log = null
        await writeExport(file, bare)
        const without = await extended(file, early)
        expect(without.code).to.equal(1)
        expect(without.err[0]).to.match(
          /^BROKEN: The export has no checkpoint, but .*early has one/,
        )
        expect(await extended(early, file)).to.include({ code: 2 })
      })

      it('finds a log that was rewritten, at the same size and at another', async () => {
        await writeExport(file, proven)
        for (const [size, root] of [
          [3, log.root(3)],
          [2, log.root(2)],
        ] as const) {
          const kept = await put('kept', await signed({ size, root }))
          const { code, err } = await extended(file, kept)
          expect(code).to.equal(1)
          expect(err[0]).to.match(
            /^BROKEN: The checkpoint contradicts .*kept: both are signed, but/,
          )
        }
      })

      it('says before or behind which kept checkpoint an unnamed change is', async () => {
        const kept = await put('kept', older)
        for (const [position, where] of [
          [4, /It is among leaves 0 to 4\.$/],
          [9, /It is among leaves 5 to 10\.$/],
        ] as const) {
          const copy = structuredClone(whole)
          const line = lineAt(copy, position)
          Object.assign(line.stored.metadata, { ip: '10.0.0.1' })
          rehash(copy, line.task_id ?? 0)
          await writeExport(file, copy)
          const { code, err } = await extended(file, kept)
          expect(code).to.equal(1)
          expect(err[0]).to.match(where)
        }
      })

      it('trusts and compares only what is of the same log and signed', async () => {
        await writeExport(file, proven)
        const forged = await put(
          'forged',
          await signed({ size: 0, root: log.root(0) }, [otherLogKey]),
        )
        const { code, err } = await extended(file, forged)
        expect(code).to.equal(1)
        expect(err[0]).to.match(
          /^BROKEN: The checkpoint in .*forged of tasktrail\.test\/log is not signed/,
        )
      })
    })

    it('writes nothing that a terminal would execute', async () => {
      const orders = '\u001b[1A\r\u009b2K\u202ePROVEN\nAll is proven.'
      const copy = structuredClone(whole)
      copy.trailer.parked = [[orders, 1]]
      await writeExport(file, copy)
      const said = (await run([file, ...key()])).err.join('\n')
      at(3, (line) => Object.assign(line.stored, { stream_id: orders }))(copy)
      await writeExport(file, copy)
      const { code, err } = await run([file, ...key()])
      expect([code, err.length]).to.deep.equal([1, 1])
      for (const text of [said, err.join('\n')]) {
        expect(text)
          .to.match(/PROVEN\S+All is proven/)
          .and.not.match(/[^\P{C}\n]|^All/mu)
      }
    })

    it('says which event is broken, and ends with 1', async () => {
      const copy = structuredClone(whole)
      at(7, (line) => Object.assign(line.actor, { user_id: 9 }))(copy)
      await writeExport(file, copy)
      const { code, out, err } = await run([file, ...key()])
      expect({ code, out }).to.deep.equal({ code: 1, out: [] })
      expect(err).to.deep.equal([
        'BROKEN: task-2 version 2 (position 7) is changed: its hash does not match its contents.',
      ])
    })

    it('says that nothing is proven of what was parked, and ends with 3', async () => {
      const copy = structuredClone(whole)
      copy.trailer.parked = [['task-2', 2]]
      await writeExport(file, copy)
      const { code, err } = await run([file, ...key()])
      expect(code).to.equal(3)
      expect(err.at(-1)).to.equal(
        'NOT PROVEN: ["task-2",2]: the trailer says that this stream was parked from that version on, ' +
          'which nothing proves. Export again when it is resumed.',
      )
    })

    it('reads what editors and other systems make of an export without changing it', async () => {
      const text = textOf(proven)
      for (const [what, copy] of Object.entries({
        'a blank last line': `${text}\n`,
        'blank lines at the end and in between': text.replaceAll('\n', '\n\n \n'),
        'a byte-order mark': `\uFEFF${text}`,
        'carriage returns': text.replaceAll('\n', '\r\n'),
        'carriage returns and a blank last line': `${text}\n`.replaceAll('\n', '\r\n'),
        'no newline at the end': text.trimEnd(),
        'many blank lines at the end': `${text}${'\n'.repeat(200_000)}`,
      })) {
        await writeFile(file, copy)
        const { code, err } = await run([file, ...key()])
        expect({ code, err }, what).to.deep.equal({ code: 0, err: [] })
      }
    })

    it('tells how it is used, and refuses what it does not know', async () => {
      await writeExport(file, whole)
      for (const args of [['--help'], ['-h'], [file, ...key(), '--help']]) {
        const { code, out, err } = await run(args)
        expect({ code, err }).to.deep.equal({ code: 0, err: [] })
        expect(out[0]).to.match(/^Usage: node verify-audit\.mjs <file> --key/)
      }
      for (const [args, expected] of [
        [[], /^An argument is missing\.$/],
        [[...key()], /^An argument is missing\.$/],
        [[file, ...key(), '--verbose'], /^Unknown option '--verbose'\.$/],
        [[file, '--key'], /^Option '--key <value>' argument missing\.$/],
        [[file, file, ...key()], /^Unexpected argument '/],
      ] as const) {
        const { code, out, err } = await run(args)
        expect({ code, out }).to.deep.equal({ code: 2, out: [] })
        expect(err[0]).to.match(expected)
        expect(err[2]).to.match(/^Usage: /)
      }
    })

    it('does not take a pipe for an empty file', async () => {
      await writeExport(file, whole)
      const piped = `cat '${file}' | node verify-audit.mjs /dev/stdin ${key().join(' ')}`
      const { ended, err } = startProcess('bash', ['-c', piped])
      expect(await ended).to.equal('code 2')
      expect(err[0]).to.match(/\/dev\/stdin is not a file: save it first\.$/)
    })

    it('is what its sources make: npm run build:verifier', async () => {
      expect(await readFile('verify-audit.mjs', 'utf8')).to.equal(await verifierText())
    })

    it('says in one sentence why it cannot check, and ends with 2', async () => {
      const text = textOf(whole)
      const cases: readonly [string | Buffer, RegExp][] = [
        ['', /is empty/],
        ['position,task_id\n1,1\n', /CSV/],
        [text.slice(0, -20), /cut off/],
        [text.slice(0, text.lastIndexOf('{"trailer"')), /cut off/],
        ['{}\n', /cut off/],
        [text.replace('{"position":3', '{position:3'), /Line 3 is not a line of an NDJSON export/],
        ['\n\r\n  \n', /is empty/],
        [`${text.slice(0, text.lastIndexOf('{"trailer"'))}\n\n`, /cut off/],
        ['<!doctype html>\n<title>Log in</title>\n', /a page of HTML/],
        ['{"events":[],"next_cursor":null}', /is a page of JSON: export again/],
        [
          '{"error":"Unauthorized","message":"Token has expired","code":"token_expired"}',
          /is an error message, not an export: read it\.$/,
        ],
        [
          JSON.stringify({ type: 'about:blank', title: 'Forbidden', detail: 'Not yours' }, null, 2),
          /is an error message, not an export: read it\.$/,
        ],
        ['[{"position":1}]', /is cut off: its last line is not the trailer/],
        [gzipSync(text), /is compressed with gzip: unpack it first\.$/],
        [zstdCompressSync(text), /is compressed with zstd: unpack it first\.$/],
        [Buffer.from('PK\u0003\u0004rest'), /is compressed with zip/],
        [Buffer.from(`\uFEFF${text}`, 'utf16le'), /is encoded in UTF-16/],
        [Buffer.from(text, 'utf16le'), /is encoded in UTF-16/],
        [Buffer.from(text, 'utf16le').swap16(), /is encoded in UTF-16/],
        [
          Buffer.from(text.replaceAll('\u2014', '\\u2014'), 'latin1'),
          /is not UTF-8: it was saved in another encoding/,
        ],
        [text.replace('"ip"', `"x":${'['.repeat(1e5)}${']'.repeat(1e5)},"ip"`), /too deep/],
        [
          text.replace('"query":{', `"query":{"x":${'['.repeat(1e5)}${']'.repeat(1e5)}`),
          /too deep/,
        ],
      ]
      for (const [content, expected] of cases) {
        await writeFile(file, content)
        const { code, err } = await run([file, ...key()])
        expect({ code, lines: err.length }, String(expected)).to.deep.equal({ code: 2, lines: 1 })
        expect(err[0]).to.match(expected)
      }
      await writeExport(file, whole)
      await writeFile(join(directory, 'no.key'), 'x')
      for (const [args, expected] of [
        [[join(directory, 'none'), ...key()], /cannot be read \(ENOENT\)/],
        [[directory, ...key()], /cannot be read \(EISDIR\)/],
        [[file], /No key/],
        [[file, '--key', join(directory, 'none.key')], /cannot be read \(ENOENT\)/],
        [[file, '--key', join(directory, 'no.key')], /does not hold verifier keys/],
        [[file, '--key', alice.key.text], /is a witness's: name it with --witness/],
        [[file, ...key(), '--witness', logKey.key.text], /is a log's: name it with --key/],
        [[file, ...key(), '--event', file], /--event goes only with a proof/],
        [[file, ...key(), '--extends', join(directory, 'none')], /cannot be read \(ENOENT\)/],
        [[file, ...key(), '--consistency', file], /is not an answer of GET \/log\/consistency/],
      ] as const) {
        const { code, err } = await run(args)
        expect(code).to.equal(2)
        expect(err[0]).to.match(expected)
      }
    })
  })
})
