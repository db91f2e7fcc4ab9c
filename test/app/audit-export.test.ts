import { expect } from 'chai'
import fc from 'fast-check'
import { type ExportLine, exportAudit } from '../../src/app/audit-export.ts'
import type { AuditTrail, ExportedEvent } from '../../src/app/ports/audit.ts'
import type { LeafRange, TransparencyLog } from '../../src/app/ports/transparency-log.ts'

/** What a leaf is: the event at a position, which the trail may lack, or accesses and security events. */
const leaf = fc.constantFrom('event', 'event', 'missing', 'records')

const eventAt = (position: number): ExportedEvent => ({
  event: {
    position,
    task_id: 1,
    user_id: 1,
    version: position,
    type: 'TaskRenamed',
    actor_id: 1,
    occurred_at: '',
    recorded_at: '',
    request_id: '',
    changes: {},
    hash: '',
  },
  stored: null,
  text_keys: {},
})

const RECORDS = { audit_accesses: 1, digest: '', security_events: 1 }

/** Of a range of leaves, in the place of their hashes. */
const named = ([from, to]: LeafRange): readonly Buffer[] =>
  from === to ? [] : [Buffer.from(`${from}-${to}`)]

describe('An export', () => {
  const law = (isWhole: boolean) =>
    fc.asyncProperty(
      fc.array(leaf, { maxLength: 60 }),
      fc.integer({ min: 1, max: 7 }),
      fc.integer({ min: 0, max: 5 }),
      async (leaves, atOnce, more) => {
        const kinds = leaves.entries().toArray()
        const events = kinds.flatMap(([at, kind]) => (kind === 'event' ? [eventAt(at + 1)] : []))
        const uncovered = Array.from({ length: more }, (_, n) => eventAt(leaves.length + n + 1))
        const all = [...events, ...uncovered]
        async function* batches() {
          for (let at = 0; at < all.length; at += atOnce) yield all.slice(at, at + atOnce)
        }
        const trail: Pick<AuditTrail, 'read'> = {
          read: async () => ({
            position: leaves.length + more,
            parked: [],
            batches: batches(),
          }),
        }
        const size = leaves.length
        const log: Partial<TransparencyLog> = {
          checkpointAt: async () => ({ size, position: size, note: '' }),
          leavesOf: async (positions) =>
            positions.map((position) => (position > size ? null : position - 1)),
          recordsIn: async ([from, to]) =>
            kinds
              .filter(([at, kind]) => kind === 'records' && at >= from && at < to)
              .slice(0, 2)
              .map(([at]) => ({ leaf: at, records: RECORDS })),
          hashesOf: async (ranges) => ranges.map(named),
        }
        const { lines, trailer } = await exportAudit(
          trail as AuditTrail,
          log as TransparencyLog,
        )({ user_id: isWhole ? null : 1 })
        const read: ExportLine[] = []
        for await (const batch of lines) read.push(...batch)
        expect(trailer.count()).to.equal(all.length)
        const positions = read.flatMap((line) => ('event' in line ? [line.event.position] : []))
        expect(positions).to.deep.equal(all.map(({ event }) => event.position))
        const shown = read.flatMap(({ leaf }) => (leaf === null ? [] : [leaf]))
        let next = 0
        for (const { leaf, before } of read) {
          expect(before).to.deep.equal(leaf === null ? [] : named([next, leaf]))
          next = leaf === null ? next : leaf + 1
        }
        expect(await trailer.after()).to.deep.equal(named([next, size]))
        const wanted = kinds.flatMap(([at, kind]) =>
          kind === 'event' || (kind === 'records' && isWhole) ? [at] : [],
        )
        expect(shown).to.deep.equal(wanted)
      },
    )
  it('of everything has every leaf in order, then what is none yet, and what lies between', async () => {
    await fc.assert(law(true), { numRuns: 300 })
  })

  it('of a part has no leaf that is not an event', async () => {
    await fc.assert(law(false), { numRuns: 300 })
  })

  it('is read again while the log is ahead of the trail, so that no leaf is missing', async () => {
    let reached = 0
    const trail: Pick<AuditTrail, 'read'> = {
      read: async () => {
        reached++
        const shown = Array.from({ length: reached }, (_, n) => eventAt(n + 1))
        const batches = (async function* () {
          yield shown
        })()
        return { position: reached, parked: [], batches }
      },
    }
    const log: Partial<TransparencyLog> = {
      checkpointAt: async () => ({ size: 3, position: 3, note: '' }),
      leavesOf: async (positions) => positions.map((position) => position - 1),
      recordsIn: async () => [],
      hashesOf: async (ranges) => ranges.map(named),
    }
    const exported = await exportAudit(
      trail as AuditTrail,
      log as TransparencyLog,
    )({ user_id: null })
    expect(exported.position).to.equal(3)
    const shown: unknown[] = []
    for await (const batch of exported.lines) shown.push(...batch)
    expect(shown).to.have.length(3)
  })
})
