import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { expect } from 'chai'
import fc from 'fast-check'
import type { AuditExport } from '../../src/app/audit-export.ts'
import { AppError } from '../../src/app/errors.ts'
import type { AuditEvent, AuditTrail, ExportedEvent } from '../../src/app/ports/audit.ts'
import type { Caller } from '../../src/app/ports/authorization.ts'
import { auditRoutes } from '../../src/http/audit.ts'
import { sendExport } from '../../src/http/audit-exports.ts'
import { csv } from '../../src/http/audit-formats.ts'
import { routes } from '../../src/http/endpoint.ts'
import { type Service, service, strictRouter } from '../../src/http/server.ts'
import { silent } from '../support/log.ts'
import { until } from '../support/processes.ts'

const CALLER: Caller = {
  user_id: 1,
  username: 'ann',
  email: 'ann@example.com',
  role: 'auditor',
  session_id: '0d2f5e0e-5a3b-4a43-a6f1-5d1d8bb6d4a1',
  iat: 0,
  exp: 0,
  auth_time: 0,
  amr: ['pwd'],
}

const EVENT: AuditEvent = {
  position: 1,
  task_id: 1,
  user_id: 1,
  version: 1,
  type: 'TaskRenamed',
  actor_id: 1,
  occurred_at: '2026-01-01T00:00:00.000Z',
  recorded_at: '2026-01-01T00:00:00.000Z',
  request_id: 'r-1',
  changes: {},
  hash: '00',
}

async function* placed(batches: AsyncIterable<readonly ExportedEvent[]>) {
  for await (const batch of batches) {
    yield batch.map((event) => ({ ...event, leaf: null, before: [] }))
  }
}

const exportOf = (batches: AsyncIterable<readonly ExportedEvent[]>): AuditExport => ({
  position: 1,
  parked: [],
  checkpoint: null,
  batches,
  lines: placed(batches),
  trailer: { count: () => 0, after: async () => [] },
})

describe('Of what is asked of the audit trail', () => {
  let server: Service
  let port: number
  /** Batches read, and exports that have ended. */
  let read = 0
  let ended = 0
  /** Whether the session is over. */
  let over = false
  /** Pages asked for, each answered by its `resolve`. */
  let pages: { user_id: number | null; resolve: () => void }[] = []

  async function* endless() {
    const changes = { title: { from: 'x'.repeat(2_000), to: 'y' } }
    const batch = Array.from({ length: 100 }, () => {
      return { event: { ...EVENT, changes }, stored: null, text_keys: {} }
    })
    try {
      for (;;) {
        read++
        yield batch
      }
    } finally {
      ended++
    }
  }

  async function serve(longestExportMs: number, graceMs = 30_000) {
    ;[read, ended, pages, over] = [0, 0, [], false]
    const router = strictRouter()
    const find: AuditTrail['find'] = ({ user_id }) =>
      new Promise((resolve) => {
        const none = { events: [], next: null, position: 1, parked: [] }
        pages.push({ user_id, resolve: () => resolve(none) })
      })
    auditRoutes(
      routes(router, async (ctx) => ({
        ...CALLER,
        role: Number(ctx.get('x-user')) > 100 ? 'auditor' : 'user',
        user_id: Number(ctx.get('x-user')),
      })),
      {
        trail: { find } as AuditTrail,
        facets: () => Promise.reject(new Error('nobody counts here')),
        exportAudit: async () => exportOf(endless()),
        look: async () => {},
        limit: async () => {},
        send: sendExport({
          longestExportMs,
          copy: async () => {},
          limit: async () => {},
          clock: () => new Date(),
          graceMs,
          recheck: async () => {
            if (over) throw new AppError('session_ended')
          },
        }),
      },
    )
    server = service(router, {
      log: silent,
      newId: () => 'id',
      maxEventLoopDelay: 0,
      spared: [],
    })
    port = (await server.listen(0, '127.0.0.1')).port
  }
  beforeEach(() => serve(60_000))
  afterEach(() => server.close(100))

  const ask = async (user_id = 1, accept = 'application/x-ndjson'): Promise<IncomingMessage> => {
    const headers = { accept, 'x-user': user_id }
    const sent = get({ port, host: '127.0.0.1', path: '/audit/events', headers })
    sent.on('error', () => {})
    const [answer] = await once(sent, 'response')
    return answer
  }

  describe('a page', () => {
    it('is the only one of its user that is under way; the next one waits, and then is refused', async () => {
      const first = ask(1, 'application/json')
      await until(() => pages.length === 1, 'the first page')
      const waiting = ask(1, 'application/json')
      const other = ask(2, 'application/json')
      await until(() => pages.length === 2, 'the page of another user')
      expect(pages.map(({ user_id }) => user_id)).to.deep.equal([1, 2])
      const refused = await waiting
      expect([refused.statusCode, refused.headers['retry-after']]).to.deep.equal([429, '1'])
      const next = ask(1, 'application/json')
      for (const { resolve } of pages) resolve()
      await until(() => pages.length === 3, 'the next page')
      pages[2]?.resolve()
      for (const asked of [first, other, next]) expect((await asked).statusCode).to.equal(200)
    })
  })

  describe('an export', () => {
    it('reads no further than its client does', async () => {
      const answer = await ask()
      await once(answer, 'readable')
      // What fits into the buffers on the way is some megabytes; a batch has a fifth of one.
      let before = -1
      await until(async () => {
        if (read === before) return true
        before = read
        for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate)
        return false
      }, 'the export to wait')
      expect(read).to.be.below(200)
      expect(ended).to.equal(0)
      answer.destroy()
    })

    it('stops when its client is gone', async () => {
      const answer = await ask()
      await once(answer, 'readable')
      answer.destroy()
      await until(() => ended === 1, 'the end of the export')
    })

    it('is the only one of its user; another one is told to come back', async () => {
      const answer = await ask()
      const refused = await ask()
      expect(refused.statusCode).to.equal(429)
      expect(refused.headers['retry-after']).to.equal('10')
      const { code } = JSON.parse((await refused.setEncoding('utf8').toArray()).join(''))
      expect(code).to.equal('export_under_way')
      const other = await ask(2)
      expect(other.statusCode).to.equal(200)
      answer.destroy()
      await until(() => ended === 1, 'the end of the first')
      const next = await ask()
      expect(next.statusCode).to.equal(200)
      for (const open of [other, next]) open.destroy()
    })

    it('is cut off when its client takes it too slowly, though it takes something', async () => {
      await server.close(0)
      await serve(60_000, 500)
      const answer = await ask()
      const taking = setInterval(() => answer.read(50), 10)
      await until(() => ended === 1, 'the end of the export')
      clearInterval(taking)
      answer.destroy()
    })

    it('goes on for a client that is fast, however long it takes', async () => {
      await server.close(0)
      await serve(60_000, 200)
      const answer = await ask()
      answer.resume()
      const began = performance.now()
      await until(() => performance.now() - began > 600, 'three times as long')
      expect([answer.destroyed, ended]).to.deep.equal([false, 0])
      answer.destroy()
    })

    it('ends once its session is over, or its role another one, with the next batch', async () => {
      const answer = await ask()
      answer.resume()
      await until(() => read > 10, 'a part of it')
      over = true
      const before = read
      await once(answer, 'error')
      expect(read - before).to.be.at.most(1)
      expect(answer.complete).to.equal(false)
      await until(() => ended === 1, 'the end of the export')
    })

    it('is cut off when it takes too long, though its client goes on reading', async () => {
      await server.close(0)
      await serve(500)
      const answer = await ask()
      answer.resume()
      const [error] = await once(answer, 'error')
      expect([error.code, answer.complete]).to.deep.equal(['ECONNRESET', false])
      await until(() => ended === 1, 'the end of the export')
    })

    it('has one other beside it; a third is told to come back, unless it is an auditor’s', async () => {
      const open = [await ask(1), await ask(2)]
      const refused = await ask(3)
      expect(refused.statusCode).to.equal(503)
      expect(refused.headers['retry-after']).to.equal('5')
      refused.resume()
      for (const auditor of [101, 102]) {
        const answer = await ask(auditor)
        expect(answer.statusCode).to.equal(200)
        answer.destroy()
      }
      await until(() => ended === 2, 'the end of the auditors’ exports')
      ended = 0
      for (const answer of open) answer.destroy()
      await until(() => ended === 2, 'the end of the exports')
      const next = await ask()
      expect(next.statusCode).to.equal(200)
      next.destroy()
    })
  })
})

/** The cells of RFC 4180. */
function cellsOf(text: string): string[][] {
  const rows: string[][] = []
  let row: string[] = []
  for (const [, quoted, plain = '', end] of text.matchAll(
    /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/g,
  )) {
    row.push(quoted?.replaceAll('""', '"') ?? plain)
    if (end === ',') continue
    rows.push(row)
    row = []
  }
  return rows
}

const part = fc
  .tuple(
    fc.constantFrom('', ' ', '\t', '\r', '\n', '\r\n', '\u00a0', ' \t'),
    fc.constantFrom('=', '+', '-', '@', '\uff1d', '\uff0b', '\uff0d', '\uff20', '', '"', ','),
    fc.string({ unit: 'grapheme', maxLength: 10 }),
  )
  .map((parts) => parts.join(''))
const dangerous = fc
  .array(fc.tuple(fc.constantFrom('', ';', '\t', '\n', '; "', ';;'), part), {
    minLength: 1,
    maxLength: 3,
  })
  .map(([first, ...more]) => [first?.[1], ...more.flat()].join(''))

const BEGINS_FORMULA = /^[\s"]*[=+\-@\uff1d\uff0b\uff0d\uff20]/
/** Without the apostrophes that may have been put before what would be a formula. */
const undone = (text: string) => text.replace(/^'|'(?=[=+\-@\uff1d\uff0b\uff0d\uff20])/g, '')

describe('An export as CSV', () => {
  it('carries every text to a spreadsheet, and none of them as a formula', async () => {
    const law = fc.asyncProperty(dangerous, fc.option(dangerous), async (from, to) => {
      const event = { ...EVENT, changes: { title: { from, to } } }
      async function* batches() {
        yield [{ event, stored: null, text_keys: {} }]
      }
      const facts = { exported_at: EVENT.occurred_at, exported_by: 1, query: {} }
      let text = ''
      for await (const piece of csv(exportOf(batches()), facts)) text += piece
      const [header, row = [], trailer = []] = cellsOf(text.slice(1))
      expect(text[0]).to.equal('\ufeff')
      expect([row.length, trailer.length]).to.deep.equal([header?.length, header?.length])
      for (const [cell, value] of [
        [row[9] ?? '', from],
        [row[10] ?? '', to ?? ''],
      ] as const) {
        expect(cell).to.not.match(/^\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r\n]/)
        expect(undone(cell)).to.equal(undone(value))
      }
      // Programs that begin cells elsewhere, and heed no quotes of a cell that does not begin with them.
      for (const separators of [/[;\r\n]/, /[\t\r\n]/]) {
        for (const cell of text.split(separators)) expect(cell).to.not.match(BEGINS_FORMULA)
      }
    })
    await fc.assert(law, { numRuns: 1_000 })
  })

  it('takes no longer for a text that is made of blanks', async () => {
    const [tabs, blanks] = ['\t'.repeat(10_000), ' '.repeat(9_990)]
    async function* batches() {
      const event = { ...EVENT, changes: { title: { from: `x${blanks}中`, to: `${tabs}=1` } } }
      for (let n = 0; n < 20; n++) yield [{ event, stored: null, text_keys: {} }]
    }
    const facts = { exported_at: EVENT.occurred_at, exported_by: 1, query: {} }
    const began = performance.now()
    for await (const piece of csv(exportOf(batches()), facts)) expect(piece).to.be.a('string')
    expect(performance.now() - began).to.be.below(1_000)
  })
})
