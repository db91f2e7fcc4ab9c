import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { expect } from 'chai'
import fc from 'fast-check'
import type { AuditExport } from '../../src/app/audit-export.ts'
import type { AuditEvent, AuditTrail, Caller, ExportedEvent } from '../../src/app/ports.ts'
import { auditRoutes } from '../../src/http/audit.ts'
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

async function* nothing() {}

const exportOf = (batches: AsyncIterable<readonly ExportedEvent[]>): AuditExport => ({
  position: 1,
  batches,
  trailer: { count: () => 0, heads: nothing(), seals: nothing() },
})

describe('An export under way', () => {
  let server: Service
  let port: number
  /** Batches read, and exports that have ended. */
  let read = 0
  let ended = 0

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

  beforeEach(async () => {
    ;[read, ended] = [0, 0]
    const router = strictRouter()
    auditRoutes(
      routes(router, async () => CALLER),
      {
        trail: {} as AuditTrail,
        exportAudit: async () => exportOf(endless()),
        look: async () => {},
        copy: async () => {},
        limit: async () => {},
        clock: () => new Date(),
      },
    )
    server = service(router, {
      log: silent,
      newId: () => 'id',
      maxEventLoopDelay: 0,
      spared: [],
    })
    port = (await server.listen(0, '127.0.0.1')).port
  })
  afterEach(() => server.close(100))

  const ask = async (): Promise<IncomingMessage> => {
    const headers = { accept: 'application/x-ndjson' }
    const sent = get({ port, host: '127.0.0.1', path: '/audit/events', headers })
    sent.on('error', () => {})
    const [answer] = await once(sent, 'response')
    return answer
  }

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

  it('has one other beside it; a third is told to come back', async () => {
    const open = [await ask(), await ask()]
    const refused = await ask()
    expect(refused.statusCode).to.equal(503)
    expect(refused.headers['retry-after']).to.equal('5')
    refused.resume()
    for (const answer of open) answer.destroy()
    await until(() => ended === 2, 'the end of the exports')
    const next = await ask()
    expect(next.statusCode).to.equal(200)
    next.destroy()
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

const dangerous = fc
  .tuple(
    fc.constantFrom('', ' ', '\t', '\r', '\n', '\r\n', '\u00a0', ' \t'),
    fc.constantFrom('=', '+', '-', '@', '\uff1d', '\uff0b', '\uff0d', '\uff20', '', '"', ','),
    fc.string({ unit: 'grapheme', maxLength: 10 }),
  )
  .map((parts) => parts.join(''))

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
        expect([value, `'${value}`]).to.include(cell)
      }
    })
    await fc.assert(law, { numRuns: 1_000 })
  })
})
