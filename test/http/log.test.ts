import { expect } from 'chai'
import pg from 'pg'
import { logWriter } from '../../src/infra/postgres/transparency-log/log-writer.ts'
import { parseCheckpoint } from '../../src/transparency-log/checkpoint.ts'
import { readBundle } from '../../src/transparency-log/entry-bundle.ts'
import { parseVerifierKey } from '../../src/transparency-log/keys.ts'
import { readProofFile } from '../../src/transparency-log/proof-file.ts'
import { readNote, verifiedBy } from '../../src/transparency-log/signed-note.ts'
import { bundlePath, grownTiles, tilePath, widthAt } from '../../src/transparency-log/tiles.ts'
import {
  growingTree,
  isConsistent,
  leafHash,
  rootOfInclusion,
} from '../../src/transparency-log/tree.ts'
import { eventEntry } from '../../src/verifier/entries.ts'
import { type OpenLog, ORIGIN, openLog, signer } from '../support/open-log.ts'
import { testDatabase } from '../support/postgres.ts'
import { giveRole } from '../support/roles.ts'
import { type Answer, type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>

/** Nobody who can log in. */
const OTHER = 1_000_000
const FOREVER = 'max-age=31536000, immutable'

describe('The log over HTTP', () => {
  let system: System
  let log: OpenLog
  let sql: pg.Client
  let ann: User
  let bob: User
  let auditor: User
  /** Of a task of Ann's. */
  let task: number
  before(async () => {
    const database = await testDatabase()
    // Looks are recorded once a minute.
    const now = new Date()
    system = await startSystem({}, () => now, database)
    log = await openLog(database)
    sql = new pg.Client(system.database.url)
    await sql.connect()
    ann = await system.newUser()
    bob = await system.newUser()
    auditor = await newAuditor()
    const { body } = await system.call('POST', '/tasks', {
      token: ann.token,
      body: { title: 'One' },
    })
    task = body.task.id
  })
  after(async () => {
    await sql.end()
    await system.stop()
    await log.stop()
  })

  const newAuditor = async () => {
    const user = await system.newUser()
    await giveRole(sql, user.id, 'auditor')
    return user
  }
  const get = (path: string, user: User | null = ann, headers: Record<string, string> = {}) =>
    system.call('GET', path, { token: user?.token, headers })
  const refusal = ({ status, body, headers }: Answer) => [
    status,
    body.code,
    headers.get('cache-control'),
  ]
  /** What no text could hold. */
  const bytesAt = async (path: string, user = ann) => {
    const headers = { authorization: `Bearer ${user.token}` }
    const answer = await fetch(system.urls.task + path, { headers })
    expect(answer.status, path).to.equal(200)
    expect(answer.headers.get('content-type')).to.equal('application/octet-stream')
    const bytes = Buffer.from(await answer.arrayBuffer())
    return { bytes, cached: answer.headers.get('cache-control') }
  }
  const checkpoint = async () => {
    const { body } = await get('/log/checkpoint')
    const found = parseCheckpoint(readNote(body)?.text ?? '')
    if (found === null) throw new Error(`no checkpoint: ${body}`)
    return found
  }
  const accesses = async () =>
    (await sql.query(`select query from audit_accesses order by id`)).rows.map(({ query }) => query)
  /** Every leaf's entry, as bundles have them. */
  const entries = async (size: number) => {
    const found: Buffer[] = []
    for (let n = 0; n * 256 < size; n++) {
      const path = bundlePath({ n, width: widthAt(size, 0, n) })
      const { bytes } = await bytesAt(`/log/tile/${path}`, auditor)
      found.push(...(readBundle(bytes) ?? []))
    }
    return found
  }

  it('has nothing before the first checkpoint', async () => {
    for (const path of ['checkpoint', 'key']) {
      expect(refusal(await get(`/log/${path}`))).to.deep.equal([
        404,
        'checkpoint_not_found',
        'no-store',
      ])
    }
    for (const path of ['0/000.p/1', 'entries/000.p/1', '0/000']) {
      expect(refusal(await get(`/log/tile/${path}`, auditor))).to.deep.equal([
        404,
        'tile_not_found',
        'no-store',
      ])
    }
    const { body, status } = await get('/log/consistency?from=0&to=0')
    expect([status, body]).to.deep.equal([200, { from: 0, to: 0, hashes: [] }])
    expect((await get('/log/consistency?from=0&to=1')).body.code).to.equal('size_not_found')
    const began = performance.now()
    const proof = await get('/audit/events/2/proof')
    expect(refusal(proof)).to.deep.equal([503, 'proof_not_ready', 'no-store'])
    expect(proof.headers.get('retry-after')).to.equal('1')
    expect(performance.now() - began).to.be.below(1_000)
  })

  it('is empty at first', async () => {
    await log.writer.write(log.session)
    expect(await checkpoint()).to.include({ origin: ORIGIN, size: 0 })
    expect((await get('/log/tile/0/000.p/1')).status).to.equal(404)
  })

  it('needs a token for everything', async () => {
    await log.log()
    for (const path of [
      '/log/checkpoint',
      '/log/key',
      '/log/tile/0/000.p/1',
      '/log/tile/entries/000.p/1',
      '/log/consistency?from=0&to=0',
      '/audit/events/1/proof',
    ]) {
      expect(refusal(await get(path, null)), path).to.deep.equal([401, 'token_missing', 'no-store'])
    }
  })

  it('shows a checkpoint that its key has signed', async () => {
    await log.log()
    const keys = await get('/log/key')
    expect(keys.body).to.equal(`${signer.key.text}\n`)
    const key = parseVerifierKey(keys.body.trimEnd())
    const note = await get('/log/checkpoint')
    expect(verifiedBy(note.body, key ? [key] : [])).to.have.length(1)
    for (const { headers } of [keys, note]) {
      expect(headers.get('content-type')).to.equal('text/plain; charset=utf-8')
      expect(headers.get('cache-control')).to.equal('public, max-age=1')
    }
  })

  it('answers what it has not got, and what nobody would ask for', async () => {
    for (const [path, status, code] of [
      ['/log', 404, 'route_not_found'],
      ['/log/', 404, 'route_not_found'],
      ['/log/tile', 404, 'route_not_found'],
      ['/log/tile/0/000', 404, 'tile_not_found'],
      ['/log/tile/7/000.p/1', 404, 'tile_not_found'],
      ['/log/tile/63/000.p/1', 404, 'tile_not_found'],
      ['/log/tile/64/000.p/1', 400, 'validation_failed'],
      ['/log/tile/0/0', 400, 'validation_failed'],
      ['/log/tile/0/000.p/0', 400, 'validation_failed'],
      ['/log/tile/0/000.p/256', 400, 'validation_failed'],
      ['/log/tile/0/000.p/01', 400, 'validation_failed'],
      ['/log/tile/00/000.p/1', 400, 'validation_failed'],
      ['/log/tile/0/x000/000.p/1', 400, 'validation_failed'],
      ['/log/tile/0/000.p/1/', 400, 'validation_failed'],
      ['/log/tile/0/000.p/1?x=1', 400, 'validation_failed'],
      ['/log/tile/0/x009/x007/x199/x254/x740/991', 404, 'tile_not_found'],
      ['/log/tile/0/%ff', 400, 'validation_failed'],
      ['/log/tile/entries/0', 400, 'validation_failed'],
      ['/log/tile/entries/001', 404, 'tile_not_found'],
      ['/log/consistency', 400, 'validation_failed'],
      ['/log/consistency?from=1', 400, 'validation_failed'],
      ['/log/consistency?from=1&to=0', 400, 'validation_failed'],
      ['/log/consistency?from=-1&to=1', 400, 'validation_failed'],
      ['/log/consistency?from=01&to=1', 400, 'validation_failed'],
      ['/log/consistency?from=0&to=9007199254740992', 400, 'validation_failed'],
      ['/log/consistency?from=0&to=9007199254740991', 404, 'size_not_found'],
      ['/audit/events/0/proof', 400, 'validation_failed'],
      ['/audit/events/x/proof', 400, 'validation_failed'],
      ['/audit/events/1000000/proof', 404, 'event_not_found'],
      ['/audit/events/9007199254740991/proof', 404, 'event_not_found'],
      ['/audit/events/1', 404, 'route_not_found'],
    ] as const) {
      expect(refusal(await get(path, auditor)), path).to.deep.equal([status, code, 'no-store'])
    }
    for (const path of ['/log/checkpoint', '/log/tile/0/000.p/1', '/audit/events/1/proof']) {
      const { status, headers } = await system.call('POST', path, { token: ann.token })
      expect([status, headers.get('allow')]).to.deep.equal([405, 'HEAD, GET, OPTIONS'])
      expect((await get(path, ann, { accept: 'image/png' })).status).to.equal(406)
    }
  })

  it('has tiles of the hashes of its entries, up to the root that is signed', async () => {
    // Three bundles: with what other tests have written, two full ones and one that grows.
    for (let n = 0; n < 560; n++) await log.write(1_000_000 + (n % 7), undefined, OTHER)
    await sql.query(`select nextval('events_position_seq')`)
    await log.write(1_000_000, undefined, OTHER)
    await log.log()
    const { size, root } = await checkpoint()
    expect(size).to.be.above(560)
    const tree = growingTree()
    const leaves = (await entries(size)).map(leafHash)
    expect(leaves).to.have.length(size)
    for (const leaf of leaves) tree.addLeaf(leaf)
    expect(tree.root()).to.deep.equal(root)

    const tiles = grownTiles(0, size)
    expect(tiles.map(tilePath)).to.include.members(['0/000', '0/001', '1/000.p/2'])
    for (const { level, n, width } of tiles) {
      const { bytes, cached } = await bytesAt(`/log/tile/${tilePath({ level, n, width })}`)
      if (level === 0) {
        expect(bytes).to.deep.equal(Buffer.concat(leaves.slice(n * 256, n * 256 + width)))
      }
      expect(bytes.length).to.equal(width * 32)
      expect(cached).to.equal(width === 256 ? `public, ${FOREVER}` : 'public, max-age=1')
      for (const less of [1, 2, width - 1].filter((each) => each > 0 && each < width)) {
        const { bytes: some } = await bytesAt(`/log/tile/${tilePath({ level, n, width: less })}`)
        expect(some).to.deep.equal(bytes.subarray(0, less * 32))
      }
      if (width === 256) continue
      const wider = await get(`/log/tile/${tilePath({ level, n, width: width + 1 })}`)
      expect(refusal(wider)).to.deep.equal([404, 'tile_not_found', 'no-store'])
    }
  })

  it('shows entries to auditors alone, and records that', async () => {
    await log.log()
    const { size } = await checkpoint()
    const path = '/log/tile/entries/000'
    expect(refusal(await get(path))).to.deep.equal([403, 'auditors_only', 'no-store'])
    const before = (await accesses()).length
    const { bytes, cached } = await bytesAt('/log/tile/entries/001', auditor)
    expect(cached).to.equal(`private, ${FOREVER}`)
    expect((await accesses()).slice(before)).to.deep.equal([])
    const { bytes: begin } = await bytesAt('/log/tile/entries/001.p/7', auditor)
    expect(readBundle(begin)).to.deep.equal(readBundle(bytes)?.slice(0, 7))
    expect((await accesses()).slice(before)).to.deep.equal([{ log: 'entries/001.p/7' }])
    const n = Math.floor(size / 256)
    const last = bundlePath({ n, width: size % 256 })
    expect((await bytesAt(`/log/tile/${last}`, auditor)).cached).to.equal('private, max-age=1')
    const wider = bundlePath({ n, width: (size % 256) + 1 })
    expect((await get(`/log/tile/${wider}`, auditor)).status).to.equal(404)
  })

  it('proves that each size of it extends each smaller one', async () => {
    await log.log()
    const { size, root } = await checkpoint()
    const leaves = (await entries(size)).map(leafHash)
    const rootAt = (length: number) => {
      const tree = growingTree()
      for (const leaf of leaves.slice(0, length)) tree.addLeaf(leaf)
      return tree.root()
    }
    for (const [from, to] of [
      [0, size],
      [1, size],
      [size - 1, size],
      [size, size],
      [3, 7],
      [255, 257],
      [256, 512],
      [100, 300],
    ] as const) {
      const { body, headers } = await get(`/log/consistency?from=${from}&to=${to}`)
      expect(headers.get('cache-control')).to.equal(`public, ${FOREVER}`)
      expect([body.from, body.to]).to.deep.equal([from, to])
      const proof = body.hashes.map((hash: string) => Buffer.from(hash, 'base64'))
      const [fromRoot, toRoot] = [rootAt(from), rootAt(to)]
      if (to === size) expect(toRoot).to.deep.equal(root)
      expect(isConsistent({ from, fromRoot, to, toRoot, proof }), `${from} ${to}`).to.equal(true)
    }
  })

  it('shows nothing before it is published', async () => {
    await log.log()
    const { size } = await checkpoint()
    const writer = logWriter({ origin: ORIGIN, signers: [signer], witnessed: true })
    await log.write(1_000_000, undefined, OTHER)
    const { position } = (await sql.query(`select max(position)::int as position from events`))
      .rows[0]
    await writer.write(log.session)
    const path = `/log/tile/${tilePath({ level: 0, n: Math.floor(size / 256), width: (size % 256) + 1 })}`
    expect((await checkpoint()).size).to.equal(size)
    expect((await get(path)).status).to.equal(404)
    expect((await get(path.replace('tile/0', 'tile/entries'), auditor)).status).to.equal(404)
    expect((await get(`/log/consistency?from=0&to=${size + 1}`)).status).to.equal(404)
    const proof = get(`/audit/events/${position}/proof`, auditor)
    const last = await writer.last(log.session)
    if (last === null) throw new Error('nothing is written')
    await writer.publish(log.session, last)
    expect((await proof).status).to.equal(200)
    expect((await get(path)).status).to.equal(200)
  })

  describe('proves an event', () => {
    const proven = async (position: number, user = ann) => {
      const { status, body, headers } = await get(`/audit/events/${position}/proof`, user)
      expect(status, body).to.equal(200)
      const file = readProofFile(body)
      if (file === null || file.extra === null) throw new Error(body)
      const { index, extra, proof } = file
      const signed = parseCheckpoint(readNote(file.checkpoint)?.text ?? '')
      if (signed === null) throw new Error(body)
      expect(verifiedBy(file.checkpoint, [signer.key])).to.have.length(1)
      const { size, root } = signed
      const found = rootOfInclusion({ index, size, leaf: leafHash(extra), proof })
      expect(found).to.deep.equal(root)
      return { entry: extra.toString(), headers }
    }

    it('to its owner, with a file', async () => {
      await log.log()
      const { body } = await get(`/tasks/${task}/history`)
      for (const { position, version, hash } of body.events) {
        const { entry, headers } = await proven(position)
        const event = { hash, position, stream_id: `task-${task}`, version }
        expect(entry).to.equal(eventEntry(event))
        expect(headers.get('content-type')).to.equal('text/plain; charset=utf-8')
        expect(headers.get('content-disposition')).to.equal(
          `attachment; filename="tasktrail-event-${position}.tlog-proof"`,
        )
        expect(headers.get('cache-control')).to.equal('no-store')
      }
    })

    it('wherever it is in the log', async () => {
      await log.log()
      const { rows } = await sql.query(
        `select position::int from events where position % 37 = 0 or position in (1, 2, 254, 255, 256, 257)`,
      )
      expect(rows.length).to.be.above(15)
      for (const { position } of rows) await proven(position, auditor)
    })

    it('to nobody else but auditors, whose look is recorded', async () => {
      await log.log()
      const [{ position }] = (await get(`/tasks/${task}/history`)).body.events
      const refused = await get(`/audit/events/${position}/proof`, bob)
      const unknown = await get('/audit/events/1000000/proof', bob)
      expect(refusal(refused)).to.deep.equal([404, 'event_not_found', 'no-store'])
      const text = (answer: Answer) => ({
        ...answer.body,
        request_id: '',
        message: answer.body.message.replace(/\d+/, ''),
      })
      expect(text(refused)).to.deep.equal(text(unknown))
      const before = (await accesses()).length
      await proven(position)
      expect(await accesses()).to.have.length(before)
      await proven(position, await newAuditor())
      expect((await accesses()).slice(before)).to.deep.equal([{ position, proof: true }])
    })

    it('of a deleted task, and of a user', async () => {
      const { token } = bob
      const made = await system.call('POST', '/tasks', { token, body: { title: 'Bob’s' } })
      await system.call('DELETE', `/tasks/${made.body.task.id}`, { token })
      await log.log()
      const { body } = await get(`/tasks/${made.body.task.id}/history`, bob)
      expect(body.events).to.have.length(2)
      for (const { position } of body.events) await proven(position, bob)
      const gone = await system.newUser()
      const erased = await system.call('DELETE', '/auth/me', {
        token: gone.token,
        body: { password: gone.password },
      })
      expect(erased.status).to.equal(204)
      await log.log()
      const { rows } = await sql.query('select position::int from events where stream_id = $1', [
        `user-${gone.id}`,
      ])
      expect(rows).to.have.length(1)
      expect((await proven(rows[0].position, auditor)).entry).to.include(`"user-${gone.id}"`)
      expect((await get(`/audit/events/${rows[0].position}/proof`, ann)).status).to.equal(404)
    })

    it('right after it was written, once the log has it', async () => {
      await log.log()
      const { body } = await system.call('POST', '/tasks', {
        token: ann.token,
        body: { title: 'New' },
      })
      const [{ position }] = (await get(`/tasks/${body.task.id}/history`)).body.events
      const asked = [proven(position), proven(position)]
      await log.log()
      for (const each of asked) await each
      const began = performance.now()
      await proven(position)
      expect(performance.now() - began).to.be.below(1_000)
    })

    it('or says within seconds that it has not got it yet', async () => {
      const { body } = await system.call('POST', '/tasks', {
        token: ann.token,
        body: { title: 'Newer' },
      })
      const [{ position }] = (await get(`/tasks/${body.task.id}/history`)).body.events
      const began = performance.now()
      const answer = await get(`/audit/events/${position}/proof`)
      expect(refusal(answer)).to.deep.equal([503, 'proof_not_ready', 'no-store'])
      expect(answer.headers.get('retry-after')).to.equal('1')
      expect(performance.now() - began).to.be.within(1_900, 4_000)
    })
  })

  it('answers HEAD like GET', async () => {
    await log.log()
    const [{ position }] = (await get(`/tasks/${task}/history`)).body.events
    for (const path of [
      '/log/checkpoint',
      '/log/key',
      '/log/tile/0/000',
      '/log/consistency?from=1&to=2',
      `/audit/events/${position}/proof`,
    ]) {
      const { status, headers, body } = await system.call('HEAD', path, { token: ann.token })
      const got = await get(path)
      expect([status, body], path).to.deep.equal([200, ''])
      for (const name of ['content-type', 'content-length', 'cache-control', 'vary']) {
        expect(headers.get(name), `${path} ${name}`).to.equal(got.headers.get(name))
      }
    }
  })
})
