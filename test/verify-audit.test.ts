import { createCipheriv, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import canonicalize from 'canonicalize'
import { expect } from 'chai'
import fc from 'fast-check'
import pg from 'pg'
import { verifierText } from '../scripts/build-verifier.ts'
import type { StreamHead } from '../src/app/ports/audit.ts'
import type { TaskEvent } from '../src/domain/task/events.ts'
import { digestOf, headDigest, sealHash } from '../src/infra/postgres/audit/seal-signer.ts'
import { postgresSealer } from '../src/infra/postgres/audit/sealer.ts'
import { openDatabase } from '../src/infra/postgres/connection/database.ts'
import { verifyExport } from '../src/verifier/export.ts'
import { Broken, Incomplete, Unreadable } from '../src/verifier/failures.ts'
import { canonical, eventHash, readKey } from '../src/verifier/formats.ts'
import { notProven } from '../src/verifier/report.ts'
import { created, renamed } from './support/appends.ts'
import { type Export, exportOf, type Line, textOf, writeExport } from './support/exports.ts'
import { silent } from './support/log.ts'
import { startProcess } from './support/processes.ts'
import { projectAudit } from './support/project-audit.ts'
import { logKey, openLog, type SealedLog, signer } from './support/sealed-log.ts'
import { type System, startSystem } from './support/system.ts'

const described = (description: string | null): TaskEvent => ({
  type: 'TaskDescribed',
  data: { description },
})
const completed: TaskEvent = { type: 'TaskCompleted', data: { status: 'completed' } }
const reopened: TaskEvent = { type: 'TaskReopened', data: { status: 'pending', undoes: [2] } }
const deleted: TaskEvent = { type: 'TaskDeleted', data: {} }
const restored: TaskEvent = { type: 'TaskRestored', data: { undoes: [4] } }
const ofUser2 = { type: 'TaskCreated', data: { ...created().data, user_id: 2 } } as TaskEvent

describe('verify-audit.mjs', () => {
  let log: SealedLog
  let directory: string
  let file: string
  let whole: Export

  // By position:  1 task-1 v1   2 v2   3 task-2 v1   4 task-1 v3   | seal 1
  //               5 task-1 v4   6 v5   7 task-2 v2   8 task-3 v1 (of an erased user)   9 v2 | seal 2
  //              10 task-2 v3  11 task-1 v6
  before(async () => {
    log = await openLog()
    directory = await mkdtemp(join(tmpdir(), 'tasktrail-verify-'))
    file = join(directory, 'export.ndjson')
    await writeFile(join(directory, 'public.pem'), signer.publicKey)
    await log.write(1, [created({ title: 'Überall ✓', description: 'One' }), completed])
    await log.write(2)
    await log.write(1, [reopened])
    await log.sealer.seal()
    await log.write(1, [deleted, restored])
    await log.write(2, [described('Two\n"three"')])
    await log.write(3, [ofUser2, renamed('gone')], 2)
    await log.sealer.seal()
    await log.write(2, [renamed('Three')])
    await log.write(1, [described(null)])
    await log.root.query(
      `update user_keys set wrapped_key = null, wrapped_by = null, destroyed_at = now()
       where user_id = 2`,
    )
    whole = await exportOf(log)
  })
  after(async () => {
    await log.stop()
    await rm(directory, { recursive: true })
  })

  const check = async (text: string) => {
    await writeFile(file, text)
    return verifyExport(file, [logKey])
  }
  const outcome = (text: string) =>
    check(text).then(
      () => null,
      (error: unknown) => error,
    )
  /** The place that is said to be broken in a copy that somebody has forged. */
  const broken = async (forge: (copy: Export) => void, from = whole) => {
    const copy = structuredClone(from)
    forge(copy)
    const error = await outcome(textOf(copy))
    if (!(error instanceof Broken)) throw new Error(`not found: ${error}`)
    return error
  }
  const at = (position: number, forge: (line: Line) => void) => (copy: Export) => {
    const line = copy.lines.find((line) => line.position === position)
    if (line === undefined) throw new Error(`no event at ${position}`)
    forge(line)
  }
  /** A stream's hashes and its end in the trailer, made to match what its events say. */
  const rehash = (copy: Export, task_id: number) => {
    let previous: string | null = null
    for (const line of copy.lines.filter((line) => line.task_id === task_id)) {
      const { stored, actor, version, type, occurred_at } = line
      stored.prev_hash = previous
      line.hash = eventHash({ ...stored, version, type, occurred_at, actor_id: actor.user_id })
      previous = line.hash
    }
    copy.trailer.heads.find(([id]) => id === `task-${task_id}`)?.splice(2, 1, previous ?? '')
  }

  it('finds nothing in an export of the whole log, and says what is sealed', async () => {
    const report = await check(textOf(whole))
    expect(report).to.deep.include({ events: 11, streams: 3, sealed: 9, seals: 2, gaps: 0 })
    expect(report).to.deep.include({ whole: true, erased: 2, position: 11 })
    expect(report.lastSeal).to.include({ number: 2, position: 9 })
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
    'changes, one more': (line) => Object.assign(line.changes, { priority: { from: 1, to: 2 } }),
    'changes, none': (line) => Object.assign(line, { changes: {} }),
    'a field that is none': (line) => Object.assign(line, { note: 'seen by the board' }),
    'a field of actor': (line) => Object.assign(line.actor, { name: 'Mallory' }),
    'a field of stored': (line) => Object.assign(line.stored, { note: 'seen by the board' }),
    'a field of a change': (line) => Object.assign(line.changes.status ?? {}, { by: 'Mallory' }),
    'a key of no text': (line) => Object.assign(line.text_keys, { status: 'A'.repeat(43) }),
    'erased, in other words': (line) => Object.assign(line, { erased: 'no' }),
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
    expect(
      await outcome(text.replaceAll('\n', '\r\n').replace('{"position":5,', '{ "position": 5, ')),
    ).to.equal(null)
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
    const forged = { trailer: 0, ...whole.lines[5], actor: { user_id: 9 } }
    const error = await outcome(lines.toSpliced(5, 0, JSON.stringify(forged)).join('\n'))
    expect(error).to.be.instanceOf(Broken)
    expect((error as Broken).place.position).to.equal(6)
    const two = await outcome(lines.toSpliced(5, 0, lines.at(-2) ?? '').join('\n'))
    expect(two).to.have.property(
      'message',
      'Line 6 is not an event of an export: it lacks position.',
    )
  })

  it('finds what no export writes into its trailer', async () => {
    const forgeries: readonly ((copy: Export) => unknown)[] = [
      ({ trailer }) => Object.assign(trailer, { note: 'seen by the board' }),
      ({ trailer }) => Object.assign(trailer.query, { x: 1 }),
      ({ trailer }) => Object.assign(trailer.seals[0] ?? {}, { note: 'seen by the board' }),
    ]
    for (const forge of forgeries) {
      const { place, message } = await broken((copy) => void forge(copy))
      expect(place).to.deep.equal({})
      expect(message).to.match(/^The export has a changed trailer: it has a field "/)
    }
    const twice = textOf(whole).replace('"exported_by":1', '"exported_by":2,"exported_by":1')
    expect(await outcome(twice)).to.be.instanceOf(Broken)
  })

  it('names what is missing in the middle of a stream, and at its end', async () => {
    const without = (position: number) => (copy: Export) => {
      copy.lines = copy.lines.filter((line) => line.position !== position)
    }
    const middle = await broken(without(4))
    expect(middle.place).to.deep.equal({ stream_id: 'task-1', version: 3 })
    const end = await broken(without(10))
    expect(end.place).to.deep.equal({ stream_id: 'task-2', version: 3 })
  })

  it('finds an end that is cut off though the trailer was rewritten to match', async () => {
    const error = await broken((copy) => {
      copy.lines = copy.lines.filter(({ position }) => position !== 7 && position !== 10)
      const { hash = '' } = copy.lines.find(({ position }) => position === 3) ?? {}
      copy.trailer.heads = copy.trailer.heads.map((head) =>
        head[0] === 'task-2' ? ['task-2', 1, hash] : head,
      )
      copy.trailer.count -= 2
    })
    expect(error.place).to.deep.equal({ stream_id: 'task-2', version: 2 })
  })

  it('finds a stream that is left out, whatever the trailer says', async () => {
    const leaveOut = (copy: Export) => {
      copy.lines = copy.lines.filter(({ task_id }) => task_id !== 3)
      copy.trailer.heads = copy.trailer.heads.filter(([id]) => id !== 'task-3')
      copy.trailer.count -= 2
    }
    expect((await broken(leaveOut)).place).to.deep.equal({ stream_id: 'task-3', version: 1 })

    // Its head hidden as if it were another's: then the export does not pass for the whole log.
    const hidden = structuredClone(whole)
    leaveOut(hidden)
    for (const seal of hidden.trailer.seals) {
      seal.heads = seal.heads.map((head) =>
        head[0] === 'task-3' ? headDigest(head as StreamHead).toString('hex') : head,
      )
    }
    expect(await check(textOf(hidden))).to.include({ whole: false })
  })

  it('finds events that are exchanged, doubled or put elsewhere', async () => {
    const swap = await broken((copy) => {
      const [one, two] = [copy.lines[2], copy.lines[3]] as [Line, Line]
      copy.lines.splice(2, 2, two, one)
    })
    expect(swap.place.position).to.equal(3)
    const renumbered = await broken((copy) => {
      const [one, two] = [copy.lines[2], copy.lines[3]] as [Line, Line]
      copy.lines.splice(2, 2, { ...two, position: 3 }, { ...one, position: 4 })
    })
    expect(renumbered.place).to.deep.equal({ seal: 1 })
    const twice = await broken((copy) => void copy.lines.splice(3, 0, copy.lines[2] as Line))
    expect(twice.place.position).to.equal(3)
  })

  it('finds a time of recording that is changed', async () => {
    const error = await broken(
      at(7, (line) => Object.assign(line, { recorded_at: '2020-01-01T00:00:00.000Z' })),
    )
    expect(error.place.position).to.equal(7)
  })

  it('finds a stream that was hashed anew from a changed event on, by the seal', async () => {
    const error = await broken((copy) => {
      at(4, ({ stored }) => Object.assign(stored.metadata, { ip: '10.0.0.1' }))(copy)
      rehash(copy, 1)
    })
    expect(error.place).to.deep.equal({ stream_id: 'task-1', version: 3, position: 4 })
    expect(error.message).to.match(/seal 1/)
  })

  it('names the seal that is changed, taken away, or made by somebody else', async () => {
    const seal = (copy: Export, index: number) =>
      copy.trailer.seals[index] as Export['trailer']['seals'][0]
    const forgeries: readonly [number, (copy: Export) => unknown][] = [
      [1, (copy) => Object.assign(seal(copy, 0), { sealed_at: '2020-01-01T00:00:00.000Z' })],
      [2, (copy) => Object.assign(seal(copy, 1), { signature: seal(copy, 0).signature })],
      [2, (copy) => Object.assign(seal(copy, 1), { signature: '' })],
      [
        1,
        (copy) => Object.assign(seal(copy, 0), { signature: `${seal(copy, 0).signature} (Eve)` }),
      ],
      [2, (copy) => copy.trailer.seals.shift()],
      [2, (copy) => copy.trailer.seals.reverse()],
      [1, (copy) => seal(copy, 0).heads.pop()],
      [1, (copy) => Object.assign(seal(copy, 0), { events: 3 })],
      [2, (copy) => Object.assign(seal(copy, 1), { previous: null })],
    ]
    for (const [number, forge] of forgeries) {
      const { place } = await broken((copy) => void forge(copy))
      expect(place).to.deep.equal({ seal: number })
    }
    const unchained = structuredClone(whole)
    const second = { ...seal(unchained, 1), previous: null }
    const heads_digest = digestOf((second.heads as StreamHead[]).map(headDigest)).toString('hex')
    const hash = sealHash({ ...second, heads_digest })
    const signature = (await signer.sign(hash)).toString('hex')
    unchained.trailer.seals[1] = { ...second, hash: hash.toString('hex'), signature }
    const again = await outcome(textOf(unchained))
    expect(again)
      .to.have.property('message')
      .that.matches(/^Seal 2 is not chained/)
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const key_id = readKey(publicKey.export({ format: 'pem', type: 'spki' }).toString()).id
    const stranger = await broken((copy) => {
      const first = seal(copy, 0)
      const heads_digest = digestOf((first.heads as StreamHead[]).map(headDigest)).toString('hex')
      const hash = sealHash({ ...first, heads_digest, key_id })
      const signature = sign(null, hash, privateKey).toString('hex')
      Object.assign(first, { key_id, hash: hash.toString('hex'), signature })
    })
    expect(stranger.place).to.deep.equal({ seal: 1 })
    expect(stranger.message).to.contain(key_id).and.to.contain(logKey.id)
  })

  it('takes no event for one that came later because a seal hides its stream', async () => {
    const mine = await exportOf(log, { user_id: 1 }, ({ user_id }) => user_id === 1)
    for (const from of [whole, mine]) {
      const error = await broken((copy) => {
        const second = copy.trailer.seals[1]
        if (second === undefined) throw new Error('no second seal')
        second.heads = second.heads.map((head) =>
          head[0] === 'task-1' ? headDigest(head as StreamHead).toString('hex') : head,
        )
        at(5, ({ stored }) => Object.assign(stored.metadata, { ip: '10.0.0.1' }))(copy)
        rehash(copy, 1)
      }, from)
      expect(error.place).to.deep.equal({ stream_id: 'task-1', version: 4, position: 5 })
      expect(error.message).to.match(/its stream is not in that seal/)
    }
  })

  it('compares the seals with those that were kept elsewhere', async () => {
    const [first, second] = whole.trailer.seals.map(({ hash }) => hash)
    const verify = async (
      made: Export,
      kept: readonly (readonly [number, string | undefined])[],
    ) => {
      await writeExport(file, made)
      const known = new Map(kept.map(([number, hash = '']) => [number, hash]))
      return verifyExport(file, [logKey], known).catch((error: unknown) => error)
    }
    const both = [[1, first] as const, [2, second] as const]
    expect(await verify(whole, both)).to.include({ seals: 2 })
    expect(await verify(whole, [[1, second]]))
      .to.be.instanceOf(Broken)
      .and.have.deep.property('place', { seal: 1 })
    const cut = structuredClone(whole)
    cut.trailer.seals.pop()
    expect(await verify(cut, both))
      .to.be.instanceOf(Broken)
      .and.have.deep.property('place', { seal: 2 })
    const third = await exportOf(log, { task_id: 3 }, ({ task_id }) => task_id === 3)
    expect(await verify(third, [[2, second]])).to.include({ seals: 1 })
    expect(await verify(third, both)).to.be.instanceOf(Incomplete)
  })

  it('finds a count that is not that of the events', async () => {
    const { place } = await broken((copy) => Object.assign(copy.trailer, { count: 12 }))
    expect(place).to.deep.equal({})
  })

  describe('of a part of the log', () => {
    const TYPES = ['TaskDeleted', 'TaskRestored', 'TaskDescribed', 'TaskRenamed', 'TaskReopened']
    const ofTypes = (...type: string[]) =>
      exportOf(log, { type }, (event) => type.includes(event.type))

    it('does not accept a filter as an excuse for what it would not leave out', async () => {
      for (const [position, query] of [
        [2, { type: ['TaskCreated'] }],
        [8, { user_id: 1 }],
        [8, { actor_id: 1 }],
        [3, { task_id: 1 }],
        [1, { request_id: 'another' }],
        [1, { from: '2999-01-01T00:00:00.000Z' }],
        [1, { to: '2020-01-01T00:00:00.000Z' }],
      ] as const) {
        const error = await broken((copy) => Object.assign(copy.trailer, { query }))
        expect(error.place.position, JSON.stringify(query)).to.equal(position)
        expect(error.message).to.match(/does not match the filters in the trailer/)
      }
      const error = await broken((copy) => {
        copy.lines = copy.lines.filter(({ position }) => position !== 4)
        Object.assign(copy.trailer, { count: 10, query: { type: ['TaskCreated'] } })
      })
      expect(error.place.position).to.equal(2)
    })

    it('has no seal that covers nothing of it', async () => {
      const part = await exportOf(log, { task_id: 3 }, ({ task_id }) => task_id === 3)
      const error = await broken((copy) => {
        const [first] = structuredClone(whole).trailer.seals
        if (first === undefined) throw new Error('no seal')
        first.heads = first.heads.map((head) => headDigest(head as StreamHead).toString('hex'))
        copy.trailer.seals.unshift(first)
      }, part)
      expect(error.place).to.deep.equal({ seal: 1 })
      const long = await broken(({ trailer: { seals } }) => {
        for (const seal of seals) {
          seal.heads = seal.heads.map((head) => (typeof head === 'string' ? `${head} x` : head))
        }
      }, part)
      expect(long.place).to.deep.equal({ seal: 2 })
    })

    it('counts previous values that nothing proves', async () => {
      const part = await ofTypes(...TYPES)
      at(4, (line) => Object.assign(line.changes.status ?? {}, { from: 'in_progress' }))(part)
      const { events, unproven } = await check(textOf(part))
      expect([events, unproven.flatMap(([, fields]) => fields).length]).to.deep.equal([7, 6])
      expect((await check(textOf(whole))).unproven).to.deep.equal([])
    })

    it('proves the streams of one task from end to end', async () => {
      const part = await exportOf(log, { task_id: 1 }, ({ task_id }) => task_id === 1)
      const report = await check(textOf(part))
      expect(report).to.include({ whole: false, events: 6, sealed: 5, gaps: 0 })
      const cut = await broken((copy) => void copy.lines.splice(2, 1), part)
      expect(cut.place).to.deep.equal({ stream_id: 'task-1', version: 3 })
    })

    it('proves what one person sees of it', async () => {
      const part = await exportOf(log, { user_id: 1 }, ({ user_id }) => user_id === 1)
      expect(part.trailer.seals[1]?.heads.map((head) => typeof head)).to.include('string')
      expect(await check(textOf(part))).to.include({ whole: false, events: 9, sealed: 7 })
      const cut = await broken((copy) => {
        copy.lines = copy.lines.filter(({ position }) => position !== 7 && position !== 10)
      }, part)
      expect(cut.place).to.deep.equal({ stream_id: 'task-2', version: 2 })
    })

    it('counts the gaps that a filter leaves, and does not take what stands before them for sealed', async () => {
      const part = await ofTypes('TaskCreated', ...TYPES)
      const report = await check(textOf(part))
      expect(report).to.include({ events: 10, gaps: 1, sealed: 7 })
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
    const without = (...positions: number[]) => {
      const copy = structuredClone(whole)
      copy.lines = copy.lines.filter(({ position }) => !positions.includes(position))
      copy.trailer.count = copy.lines.length
      return copy
    }

    it('takes for missing what the trailer says, at the end, in the middle and altogether', async () => {
      for (const [stream_id, version, ...positions] of [
        ['task-2', 2, 7, 10],
        ['task-1', 4, 5, 6],
        ['task-3', 1, 8, 9],
      ] as const) {
        const copy = without(...positions)
        copy.trailer.parked = [[stream_id, version]]
        expect(await check(textOf(copy))).to.include({ whole: false, events: copy.lines.length })
        copy.trailer.parked = [[stream_id, version + 1]]
        const error = await outcome(textOf(copy))
        expect(error).to.be.instanceOf(Broken)
        expect((error as Broken).place).to.deep.equal({ stream_id, version })
      }
    })

    it('still names the event that is changed', async () => {
      const copy = without(7, 10)
      copy.trailer.parked = [['task-2', 2]]
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
    const mine = () => exportOf(log, { user_id: 1 }, ({ user_id }) => user_id === 1)
    /** One more event, with a hash of its own, at the end of a stream. */
    const append = (copy: Export, task_id: number, skipped = 0) => {
      const of = (line: Line) => line.task_id === task_id
      const last = copy.lines.findLast(of)
      const line = structuredClone(last ?? whole.lines[0]) as Line
      const version = (last?.version ?? 0) + 1 + skipped
      const position = copy.trailer.position + 1
      const data = { status: 'completed' }
      const from = version === 1 ? null : 'pending'
      const changes = { status: { from, to: 'completed' } }
      Object.assign(line, { task_id, version, position, type: 'TaskCompleted', changes })
      Reflect.deleteProperty(line, 'undoes')
      Object.assign(line, { text_keys: {} })
      Object.assign(line.stored, {
        data,
        stream_id: `task-${task_id}`,
        prev_hash: last?.hash ?? null,
      })
      const { stored, actor, type, occurred_at } = line
      line.hash = eventHash({ ...stored, version, type, occurred_at, actor_id: actor.user_id })
      copy.lines.push(line)
      copy.trailer.count++
      copy.trailer.position = position
      copy.trailer.heads = [
        ...copy.trailer.heads.filter(([id]) => id !== `task-${task_id}`),
        [`task-${task_id}`, version, line.hash],
      ]
    }
    const without = (copy: Export, ...positions: number[]) => {
      copy.lines = copy.lines.filter(({ position }) => !positions.includes(position))
      copy.trailer.count = copy.lines.length
    }

    it('proves no event that was made up', async () => {
      expect(await found((copy) => append(copy, 9))).to.include(
        'task-9 version 1 (position 12): no seal proves it.',
      )
      const part = await mine()
      expect(await found((copy) => append(copy, 2), part)).to.include(
        'task-2 versions 3 to 4 (positions 10 to 12): no seal proves it.',
      )
    })

    it('proves none that was made up and of which the seals were taken away', async () => {
      const said = await found((copy) => {
        without(copy, ...copy.lines.map(({ position }) => position))
        Object.assign(copy.trailer, { position: 0, heads: [], seals: [] })
        append(copy, 9)
      })
      expect(said).to.deep.equal([
        'task-9 version 1 (position 1): no seal proves it.',
        'The export: it has no seal, so nothing proves that nothing is missing.',
      ])
    })

    it('proves nothing of which the seals were taken away', async () => {
      expect(await found(({ trailer }) => void trailer.seals.pop())).to.include.members([
        'task-1 versions 4 to 6 (positions 5 to 11): no seal proves it.',
        'task-2 versions 2 to 3 (positions 7 to 10): no seal proves it.',
        'task-3 versions 1 to 2 (positions 8 to 9): no seal proves it.',
      ])
    })

    it('takes no filter that nobody can ask for', async () => {
      for (const query of [
        { from: '0' },
        { from: 0 },
        { from: '2020-01-01' },
        { from: null },
        { to: 'z' },
        { to: '9999-99-99T00:00:00.000Z' },
        { type: 'TaskCreated' },
        { type: [1] },
        { user_id: '1' },
        { task_id: 0 },
        { actor_id: 1.5 },
        { request_id: '' },
        { request_id: ['r-1'] },
      ]) {
        const said = await found((copy) => {
          without(copy, 4)
          Object.assign(copy.trailer, { query })
        })
        expect(said, JSON.stringify(query)).to.match(
          /^The export has a changed trailer: its query\./,
        )
      }
    })

    it('lets a time leave out the beginnings and the ends of streams, and nothing between', async () => {
      const [from, to] = ['1970-01-01T00:00:00.000Z', '9999-01-01T00:00:00.000Z']
      const asked =
        (query: object, ...positions: number[]) =>
        (copy: Export) => {
          without(copy, ...positions)
          Object.assign(copy.trailer, { query })
        }
      for (const query of [{ from }, { to }, { from, to }]) {
        expect(await found(asked(query, 4))).to.match(/^task-1 version 3 is missing/)
      }
      expect(await found(asked({ to }, 3))).to.match(/^task-2 version 1 is missing/)
      expect(await found(asked({ from }, 7, 10))).to.match(/^task-2 version 2 is missing/)
      expect(await found(asked({ from }, 3))).to.include(
        'task-2 version 2 (position 7): nothing proves the values before it, "from" of description.',
      )
    })

    it('names what stands before a gap that another filter explains', async () => {
      const said = await found(
        (copy) => {
          without(copy, 4)
          Object.assign(copy.trailer, { query: { actor_id: 1 } })
        },
        await mine(),
      )
      expect(said).to.include('task-1 versions 1 to 2 (positions 1 to 2): no seal proves it.')
    })

    it('proves none that was made up under a filter', async () => {
      const type = ['TaskCompleted', 'TaskDeleted']
      const part = await exportOf(log, { type }, (event) => type.includes(event.type))
      expect(await found((copy) => append(copy, 1, 4), part))
        .to.be.an('array')
        .and.include.members([
          'task-1 version 2 (position 2): no seal proves it.',
          'task-1 version 9 (position 12): no seal proves it.',
        ])
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
        ...pathsIn(some.lines[6], ['lines', 6]),
        ...pathsIn(some.trailer, ['trailer']),
      ]) {
        const before = at(some, path)
        // What the trailer says of itself and of parked streams nothing can be held against.
        const isSaid = /exported_|parked|position/.test(String(path[1]))
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

  it('has nothing to find fault with in an export without events', async () => {
    const none = await exportOf(log, { task_id: 4 }, () => false)
    expect(await check(textOf(none))).to.include({ events: 0, streams: 0, seals: 0 })
  })

  describe('on what the service exports', () => {
    let system: System
    before(async () => {
      system = await startSystem()
    })
    after(() => system.stop())

    it('proves it, all of it and each part', async () => {
      const { database, call, newUser } = system
      const [auditor, ann, bob] = [await newUser(), await newUser(), await newUser()]
      const sql = new pg.Client(database.url)
      await sql.connect()
      await sql.query(`update users set role = 'auditor' where id = $1`, [auditor.id])
      await sql.end()
      const worker = openDatabase({ ...database.config, role: 'tasktrail_worker', log: silent })
      const { seal } = postgresSealer(signer, () => new Date())

      for (const { token } of [ann, bob, ann]) {
        const body = { title: 'Überall ✓ <&>', description: 'One\n\u2028"two"', priority: 'low' }
        const { id } = (await call('POST', '/tasks', { token, body })).body.task
        await call('PUT', `/tasks/${id}`, { token, body: { title: 'Two', status: 'completed' } })
        await seal(worker.query)
        await call('POST', `/tasks/${id}/undo`, { token, body: {} })
        await call('DELETE', `/tasks/${id}`, { token })
        await call('POST', `/tasks/${id}/restore`, { token, body: {} })
      }
      await projectAudit(database)

      const ask = async (query: string, token: string) => {
        const headers = { Accept: 'application/x-ndjson' }
        const answer = await fetch(`${system.urls.task}/audit/events${query}`, {
          headers: { ...headers, Authorization: `Bearer ${token}` },
        })
        return check(await answer.text())
      }
      const all = await ask('', auditor.token)
      expect(all).to.include({ whole: true, events: 21, streams: 3, seals: 3, gaps: 0 })
      // The last events, and then the exports that are on record alone.
      expect(await seal(worker.query)).to.include({ number: 4, events: 4 })
      await ask('', auditor.token)
      expect(await seal(worker.query)).to.include({ number: 5, events: 0 })
      await worker.close()
      const again = await ask('', auditor.token)
      expect(again).to.include({ whole: true, sealed: 21, seals: 5 })
      expect(notProven(again)).to.deep.equal([])
      expect(await ask('', ann.token)).to.include({ whole: false, events: 14, gaps: 0, sealed: 14 })
      const some = await ask('?type=TaskCreated,TaskDeleted', auditor.token)
      expect(some).to.include({ events: 6, gaps: 3 })
      for (const query of [
        '?request_id=none',
        `?actor_id=${ann.id}&from=2020-01-01T01:00:00%2B01:00&to=2999-01-01T00:00:00Z`,
      ]) {
        await ask(query, auditor.token)
      }

      const body = { password: bob.password }
      const erased = await call('DELETE', '/auth/me', { token: bob.token, body })
      expect(erased.status).to.equal(204)
      await projectAudit(database)
      const after = await ask('', auditor.token)
      expect(after).to.deep.include({ whole: true, events: 22, doubtful: [], unproven: [] })
      expect(after.erased).to.be.above(0)
    })
  })

  describe('as a command', () => {
    /** The node that is installed: an auditor's machine need not have our version. */
    const run = async (args: readonly string[]) => {
      const { ended, out, err } = startProcess('node', ['verify-audit.mjs', ...args])
      return { code: Number((await ended).replace('code ', '')), out, err }
    }
    const key = () => ['--key', join(directory, 'public.pem')]

    let sealed: Export
    before(async () => {
      const other = await openLog()
      for (const id of [1, 2]) await other.write(id)
      await other.sealer.seal()
      await other.write(1)
      await other.sealer.seal()
      sealed = await exportOf(other)
      await other.stop()
    })

    it('reports what is proven', async () => {
      await writeExport(file, sealed)
      const { code, out, err } = await run([file, ...key()])
      expect({ code, err }).to.deep.equal({ code: 0, err: [] })
      expect(out.join('\n'))
        .to.match(/Nothing is broken: 3 events of 2 streams/)
        .and.match(/2 seals, the last one is number 2 of \S+Z, up to position 3/)
        .and.match(/Sealed: 3 events\. Not proven by a seal: 0 events\./)
        .and.match(/Signed by [0-9a-f]{16} \(1 to 2\)\./)
        .and.match(/Its trailer says: exported at "2026-11-24T12:00:00\.000Z" by user 1\./)
        .and.match(
          /It is the whole log up to seal 2 \(position 3\); nothing proves what is after it\./,
        )
    })

    it('names each event that is not proven, and ends with 3', async () => {
      await writeExport(file, whole)
      const { code, out, err } = await run([file, ...key()])
      expect(code).to.equal(3)
      expect(out.join('\n'))
        .to.match(/Sealed: 9 events\. Not proven by a seal: 2 events\./)
        .and.match(/Marked as erased, their texts gone: 2 events/)
      expect(err).to.deep.equal([
        'NOT PROVEN: task-1 version 6 (position 11): no seal proves it.',
        'NOT PROVEN: task-2 version 3 (position 10): no seal proves it.',
        'NOT PROVEN: user-2: marked as erased, but the export has no UserErased.',
      ])
    })

    it('says of a part what it does not prove', async () => {
      const type = ['TaskCreated', 'TaskReopened']
      await writeExport(file, await exportOf(log, { type }, (event) => type.includes(event.type)))
      const { code, out, err } = await run([file, ...key()])
      expect(code).to.equal(3)
      expect(out.join('\n'))
        .to.match(
          /by user 1, filtered by type=\["TaskCreated","TaskReopened"\]\.\nIt is a part of the log/,
        )
        .and.match(/not even that its streams end here/)
      expect(err).to.deep.equal([
        'NOT PROVEN: task-1 version 1 (position 1): no seal proves it.',
        'NOT PROVEN: task-3 version 1 (position 8): no seal proves it.',
        'NOT PROVEN: task-1 version 3 (position 4): nothing proves the values before it, "from" of status.',
        'NOT PROVEN: user-2: marked as erased, but the export has no UserErased.',
      ])
    })

    it('does not believe a mere claim to be the whole log', async () => {
      const unsealed = structuredClone(sealed)
      unsealed.trailer.seals = []
      await writeExport(file, unsealed)
      const { code, out, err } = await run([file, ...key()])
      expect(code).to.equal(3)
      expect(out.join('\n'))
        .to.match(/No seal: the chains hold, but no signature proves them\./)
        .and.match(/It claims to be the whole log; nothing proves that\./)
      expect(err).to.deep.equal([
        'NOT PROVEN: task-1 versions 1 to 2 (positions 1 to 3): no seal proves it.',
        'NOT PROVEN: task-2 version 1 (position 2): no seal proves it.',
        'NOT PROVEN: The export: it has no seal, so nothing proves that nothing is missing.',
      ])

      const hidden = structuredClone(whole)
      hidden.lines = hidden.lines.filter(({ task_id }) => task_id !== 3)
      Object.assign(hidden.trailer, {
        count: 9,
        heads: hidden.trailer.heads.filter(([id]) => id !== 'task-3'),
      })
      for (const seal of hidden.trailer.seals) {
        seal.heads = seal.heads.map((head) =>
          head[0] === 'task-3' ? headDigest(head as StreamHead).toString('hex') : head,
        )
      }
      await writeExport(file, hidden)
      const cut = await run([file, ...key()])
      expect(cut.code).to.equal(3)
      expect(cut.err.at(-1)).to.match(
        /^NOT PROVEN: The export: its seals cover streams that are not in it/,
      )
    })

    it('does not take an empty export for the whole log', async () => {
      const none = structuredClone(sealed)
      none.lines = []
      Object.assign(none.trailer, { count: 0, position: 0, heads: [], seals: [] })
      await writeExport(file, none)
      const { code, err } = await run([file, ...key()])
      expect(code).to.equal(3)
      expect(err).to.deep.equal([
        'NOT PROVEN: The export: it has no seal, so nothing proves that nothing is missing.',
      ])
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
      copy.lines = copy.lines.filter(({ position }) => position !== 7 && position !== 10)
      Object.assign(copy.trailer, { count: 9, parked: [['task-2', 2]] })
      await writeExport(file, copy)
      const { code, err } = await run([file, ...key()])
      expect(code).to.equal(3)
      expect(err.at(-1)).to.equal(
        'NOT PROVEN: task-2 from version 2 on: the trailer says that they were parked, ' +
          'which nothing proves. Export again when they are resumed.',
      )
    })

    it('reads what editors and other systems make of an export without changing it', async () => {
      const text = textOf(sealed)
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
        expect(out[0]).to.match(/^Usage: node verify-audit\.mjs <export\.ndjson> --key/)
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
      expect(err[0]).to.match(/is not a regular file: an export is read twice, so save it first\.$/)
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
        ['{"events":[],"next_cursor":null}', /a page of JSON, not an export: export it again/],
        [
          '{"error":"Unauthorized","message":"Token has expired","code":"token_expired"}',
          /a refusal of one: "Token has expired"\.$/,
        ],
        [
          JSON.stringify({ type: 'about:blank', title: 'Forbidden', detail: 'Not yours' }, null, 2),
          /a refusal of one: "Not yours"\.$/,
        ],
        ['[{"position":1}]', /not an NDJSON export: it does not begin with/],
        [gzipSync(text), /is compressed with gzip: unpack it first\.$/],
        [zstdCompressSync(text), /is compressed with zstd: unpack it first\.$/],
        [Buffer.from('PK\u0003\u0004rest'), /is compressed with zip/],
        [Buffer.from(`\uFEFF${text}`, 'utf16le'), /is encoded in UTF-16/],
        [Buffer.from(text, 'utf16le'), /is encoded in UTF-16/],
        [Buffer.from(text, 'utf16le').swap16(), /is encoded in UTF-16/],
        [Buffer.from(text, 'latin1'), /Line 1 is not UTF-8/],
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
      await writeFile(join(directory, 'no.pem'), 'x')
      for (const [args, expected] of [
        [[join(directory, 'none'), ...key()], /cannot be read \(ENOENT\)/],
        [[directory, ...key()], /cannot be read \(EISDIR\)/],
        [[file], /No key/],
        [[file, ...key(), '--seal', '2'], /--seal needs <number>:<hash>/],
        [[file, '--key', join(directory, 'none.pem')], /cannot be read \(ENOENT\)/],
        [[file, '--key', join(directory, 'no.pem')], /not a public key/],
      ] as const) {
        const { code, err } = await run(args)
        expect(code).to.equal(2)
        expect(err[0]).to.match(expected)
      }
    })

    it('finds that a seal which was kept is another, and ends with 1', async () => {
      await writeExport(file, sealed)
      const [first, second] = sealed.trailer.seals.map(({ hash }) => hash)
      const kept = (number: number, hash = '') => ['--seal', `${number}:${hash}`]
      expect(await run([file, ...key(), ...kept(1, first), ...kept(2, second)])).to.include({
        code: 0,
      })
      const { code, err } = await run([file, ...key(), ...kept(2, first)])
      expect({ code, err }).to.deep.equal({
        code: 1,
        err: [`BROKEN: Seal 2 is not the one that was kept: ${first}.`],
      })
    })

    it('knows several keys, of which each seal names its own', async () => {
      const { publicKey } = generateKeyPairSync('ed25519')
      const other = join(directory, 'other.pem')
      await writeFile(other, publicKey.export({ format: 'pem', type: 'spki' }))
      await writeExport(file, sealed)
      expect(await run([file, '--key', other, ...key()])).to.include({ code: 0 })
      const { code, err } = await run([file, '--key', other])
      expect(code).to.equal(1)
      expect(err[0]).to.match(
        /^BROKEN: Seal 1 is signed by the key [0-9a-f]{16}, which is not among/,
      )
    })
  })
})
