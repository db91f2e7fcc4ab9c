import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import fc from 'fast-check'
import { Broken, Unreadable } from '../../src/verifier/failures.ts'
import { verifyRecordsExport } from '../../src/verifier/records-export.ts'
import { describeRecords, notProvenOfRecords } from '../../src/verifier/report.ts'
import { logKey } from '../support/exports.ts'
import { startProcess } from '../support/processes.ts'
import { type RecordLines, recordsLog, recordsText } from '../support/record-exports.ts'

const TRUST = { keys: [logKey.key], witnesses: [], quorum: 0 }

describe('An export of records, offline', () => {
  let directory: string
  let files = 0
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'tasktrail-records-'))
  })
  after(() => rm(directory, { recursive: true }))

  const check = async (text: string | RecordLines) => {
    const file = join(directory, `export-${files++}.ndjson`)
    await writeFile(file, typeof text === 'string' ? text : recordsText(text))
    const report = await verifyRecordsExport(file, TRUST)
    return { ...report, says: describeRecords(report), open: notProvenOfRecords(report) }
  }
  const verdict = (text: string | RecordLines): Promise<string> =>
    check(text).then(
      ({ open }) => open.join('\n') || 'proven',
      (error) => {
        if (error instanceof Broken) return `BROKEN: ${error.message}`
        if (error instanceof Unreadable || error instanceof RangeError) return 'unreadable'
        throw error
      },
    )

  const sample = () => {
    const log = recordsLog()
    log.event()
    log.records({ security_events: 2, audit_accesses: 1 })
    log.event()
    log.event()
    log.records({ audit_accesses: 2 })
    log.records({ security_events: 3 })
    log.event()
    return log
  }

  it('without filters is proven to have all that its leaves cover', async () => {
    for (const table of ['security_events', 'audit_accesses'] as const) {
      const made = await sample().export(table)
      const { says, open, logged, whole, end } = await check(made)
      expect({ open, logged, whole, leaf: end?.leaf }).to.deep.equal({
        open: [],
        logged: made.trailer.count,
        whole: true,
        leaf: 5,
      })
      expect(says.join('\n')).to.match(
        new RegExp(`It has all of ${table} up to leaf 5 of the log, `),
      )
    }
  })

  it('with filters is proven to show what the log has, and nothing about others', async () => {
    const made = await sample().export(
      'security_events',
      { user_id: 1 },
      ({ user_id }) => user_id === 1,
    )
    const { says, open, logged } = await check(made)
    expect([open, logged]).to.deep.equal([[], made.trailer.count])
    expect(says.join('\n')).to.include(
      'It is a part: it proves what it holds, and nothing about other records.',
    )
  })

  it('names what no checkpoint covers yet', async () => {
    const log = sample()
    const late = log.unlogged('security_events')
    const made = await log.export('security_events', {}, undefined, [late])
    expect(await verdict(made)).to.equal(
      `security_events ${late.id} and what follows, 1 record in all: not in the log of the checkpoint.`,
    )
  })

  it('may lack the oldest when they had expired, and no other', async () => {
    const log = recordsLog()
    log.records({ security_events: 3 })
    log.records({ security_events: 2 }, 25)
    log.records({ security_events: 1 }, 40)
    const made = await log.export('security_events')
    const rows = made.lines.filter((line) => 'row' in line)
    const without = (gone: readonly unknown[]): RecordLines => {
      const lines = made.lines.filter((line) => !gone.includes(line))
      return { lines, trailer: { ...made.trailer, count: rows.length - gone.length } }
    }
    const { removed, open } = await check(without(rows.slice(0, 3)))
    expect([removed, open]).to.deep.equal([3, []])
    const ids = rows.map(({ row }) => (row as { id: number }).id)
    expect(await verdict(without(rows.slice(1, 2)))).to.match(
      new RegExp(`^BROKEN: security_events ${ids[1]} is missing`),
    )
    expect(await verdict(without(rows.slice(0, 4)))).to.match(
      new RegExp(`^BROKEN: security_events ${ids[3]} is missing`),
    )
    expect(await verdict(without(rows))).to.match(/^BROKEN: security_events \d+ is missing/)
  })

  it('is not whole without one of the leaves, though their hashes are there', async () => {
    const log = sample()
    const made = await log.export('security_events')
    const leaves = made.lines.filter((line) => 'leaf' in line)
    for (const skipped of leaves.slice(0, -1)) {
      // Hidden as a filter hides it: behind hashes.
      const hidden = await log.export('security_events', { x: 1 }, (row) => {
        const at = made.lines.findIndex(
          (line) => line.row && (line.row as { id: number }).id === row.id,
        )
        return made.lines.slice(0, at).findLast((line) => 'leaf' in line)?.leaf !== skipped.leaf
      })
      hidden.trailer.query = {}
      expect(await verdict(hidden)).to.match(
        /^BROKEN: Leaf \d follows leaf \d, which is not the one that is shown before it/,
      )
    }
  })

  it('says that leaves of before may be missing, where one does not name the one before it', async () => {
    const log = recordsLog()
    log.records({ security_events: 1 }, 0, false)
    log.records({ security_events: 1 })
    expect(await verdict(await log.export('security_events'))).to.equal(
      'Leaf 0: it names no leaf before it, so nothing proves that none is missing there.',
    )
  })

  it('is what verify-audit.mjs takes, and of two exports it says that they are of one log', async () => {
    const log = sample()
    const older = await log.export('security_events')
    log.event()
    log.records({ security_events: 1 })
    const newer = await log.export('security_events')
    const paths = await Promise.all(
      [older, newer].map(async (made, at) => {
        const path = join(directory, `command-${at}.ndjson`)
        await writeFile(path, recordsText(made))
        return path
      }),
    )
    const [kept = '', file = ''] = paths
    const run = async (...args: string[]) => {
      const started = startProcess(process.execPath, [
        'verify-audit.mjs',
        ...args,
        '--key',
        logKey.key.text,
      ])
      return {
        ended: await started.ended,
        out: started.out.join('\n'),
        err: started.err.join('\n'),
      }
    }
    const proven = await run(file)
    expect(proven.ended, proven.err).to.equal('code 0')
    expect(proven.out).to.match(
      /^Nothing is broken: 6 records of security_events, up to id \d+\.\n/,
    )
    const broken = await run(kept, '--extends', file)
    expect([broken.ended, broken.err]).to.deep.equal([
      'code 1',
      `BROKEN: The checkpoint covers 7 leaves, ${file} 9: it is the older one, or the log was rolled back.`,
    ])
    const open = await run(file, '--extends', kept)
    expect(open.ended).to.equal('code 3')
    expect(open.err).to.include(
      'name the answer of GET /log/consistency?from=7&to=9 with --consistency.',
    )
  })

  const texts = async () => {
    const log = sample()
    return [
      await log.export('security_events'),
      await log.export('audit_accesses'),
      await log.export('security_events', { user_id: 1 }, ({ user_id }) => user_id === 1),
    ]
  }

  it('is not proven any more with any bit changed, but in what its trailer only says', async () => {
    const made = (await texts()).map((each) => Buffer.from(recordsText(each)))
    const said = /"last":\d+,"exported_at":"[^"]*","exported_by":\d+,"query":\{[^}]*\}/
    await fc.assert(
      fc.asyncProperty(fc.nat(2), fc.nat(2 ** 20), fc.nat(7), async (which, place, bit) => {
        const bytes = Buffer.from(made[which] as Buffer)
        const at = place % bytes.length
        const from = bytes.toString('latin1').search(said)
        const length = said.exec(bytes.toString('latin1'))?.[0].length ?? 0
        fc.pre(at < from || at >= from + length)
        bytes[at] = (bytes[at] ?? 0) ^ (1 << bit)
        // A line break is as good as another blank line, and blanks at the end of a line are nothing.
        fc.pre(!/^\s$/.test(String.fromCharCode(bytes[at] ?? 0)) || bytes[at] === 0x0a)
        const outcome = await verdict(bytes.toString('utf8'))
        expect(outcome, bytes.toString('utf8', at - 30, at + 20)).not.to.equal('proven')
      }),
      { numRuns: 1_500 },
    )
  })

  it('is not proven with a line removed, doubled, added or moved', async () => {
    const made = await texts()
    await fc.assert(
      fc.asyncProperty(
        fc.nat(2),
        fc.nat(50),
        fc.nat(50),
        fc.nat(3),
        async (which, one, other, how) => {
          const { lines, trailer } = structuredClone(made[which] as RecordLines)
          const [from, to] = [one % lines.length, other % lines.length]
          const line = lines[from] as Record<string, unknown>
          if (how === 0) lines.splice(from, 1)
          if (how === 1) lines.splice(to, 0, line)
          if (how === 2) {
            fc.pre(from !== to)
            lines.splice(from, 1)
            lines.splice(to, 0, line)
          }
          if (how === 3) {
            const id = 1 + other
            const row = lines.findLast((each) => 'row' in each)?.row as Record<string, unknown>
            lines.splice(to, 0, {
              table: trailer.table,
              row: { ...row, id, request_id: 'invented' },
            })
          }
          trailer.count = lines.filter((each) => 'row' in each).length
          const isFiltered = which === 2 && how === 0 && 'row' in line
          const outcome = await verdict({ lines, trailer })
          // What a filter leaves out is not proven by anything.
          if (!isFiltered) expect(outcome).not.to.equal('proven')
        },
      ),
      { numRuns: 500 },
    )
  })
})
