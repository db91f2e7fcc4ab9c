import type { SignedCheckpoint } from './checkpoints.ts'
import type { ExportReport, TrailerFacts } from './export.ts'
import { Broken, nameOf, placeOf } from './failures.ts'
import { fromOf, type ProofReport } from './proof.ts'
import type { RecordsReport } from './records-export.ts'
import type { Report } from './trail.ts'

// What Node has for it would take as long to load as all the rest.
const grouped = (number: number): string => String(number).replace(/\B(?=(\d{3})+$)/g, ',')

const count = (number: number, noun: string): string =>
  `${grouped(number)} ${noun}${number === 1 ? '' : 's'}`

/** What hashes and chains say of events. */
export function describe({ events, streams, gaps, position }: Report): readonly string[] {
  const all = `${count(events, 'event')} of ${count(streams, 'stream')}`
  const lines = [`Nothing is broken: ${all}, up to position ${position}.`]
  if (gaps > 0) {
    const what = 'events before a gap are not chained to those after it'
    lines.push(`Its streams have ${count(gaps, 'gap')}: ${what}.`)
  }
  return lines
}

/** Who signed a checkpoint, and of what. */
export const describeLog = (log: SignedCheckpoint): readonly string[] => [
  `The checkpoint of ${log.origin}: ${grouped(log.size)} leaves, root ${log.root.toString('base64')}.`,
  `Signed by ${log.signers.join(', ')}.`,
  ...log.cosigned.map(({ by, at }) => `Cosigned by ${by} at ${at}.`),
]

export const lackingIn = ({ lacking }: SignedCheckpoint): readonly string[] =>
  lacking.map((what) => `The checkpoint: ${what}`)

export function describeExport(report: ExportReport): readonly string[] {
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

function saysOf({ exported_at, exported_by, query }: TrailerFacts): string {
  const filters = Object.entries(query).map(([name, value]) => `${name}=${JSON.stringify(value)}`)
  const asked = filters.length === 0 ? '' : `, filtered by ${filters.join(' ')}`
  return (
    `Its trailer says: exported at ${JSON.stringify(exported_at)} by user ` +
    `${JSON.stringify(exported_by)}${asked}.`
  )
}

const NO_LOG_OF_RECORDS = 'No checkpoint: nothing proves any of it.'
const NO_LOG =
  'No checkpoint: the chains hold, but no signature proves them. Anyone with write access could have ' +
  'rewritten all of it.'

function extentOf({ whole, log }: ExportReport): string {
  if (!whole) {
    return (
      'It is a part of the log. This proves nothing about other events, not even that its streams end ' +
      'here.'
    )
  }
  if (log === null) return 'It claims to be the whole log; nothing proves that.'
  return `It is the whole log up to leaf ${log.size - 1}; nothing proves what is after it.`
}

export const describeProof = ({ log, index, event, entry }: ProofReport): readonly string[] => [
  event === null
    ? `Proven: the log has the accesses and security events ${entry} as its leaf ${index}.`
    : `Proven: the log has ${nameOf(placeOf(event))}, hash ${event.hash}, as its leaf ${index}.`,
  ...describeLog(log),
]

export function describeRecords(report: RecordsReport): readonly string[] {
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

function extentOfRecords({ whole, end, trailer: { table } }: RecordsReport): string {
  if (!whole) return 'It is a part: it proves what it holds, and nothing about other records.'
  if (end === null) return `It claims to have all of ${table}; nothing proves that.`
  return (
    `It has all of ${table} up to leaf ${end.leaf} of the log, whose records go up to ${end.recorded_at}; nothing ` +
    'proves what is after it.'
  )
}

/** The same for an export of records. */
export const notProvenOfRecords = ({
  trailer: { table, count: all },
  logged,
  unlogged,
  unlinked,
  log,
}: RecordsReport): readonly string[] => [
  ...(unlogged === null
    ? []
    : [
        `${table} ${unlogged} and what follows, ${count(all - logged, 'record')} in all: not in the log of the ` +
          'checkpoint.',
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
export const notProven = (report: ExportReport): readonly string[] => [
  ...(report.unlogged === null
    ? []
    : [
        `${nameOf(report.unlogged)} and what follows, ${count(report.events - report.logged, 'event')} in ` +
          'all: not in the log of the checkpoint.',
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
      `${JSON.stringify(stream)}: the trailer says that this stream was parked from that version on, which ` +
      'nothing proves. Export again when it is resumed.',
  ),
  ...(report.log === null
    ? ['The export: it has no checkpoint, so nothing proves that nothing is missing.']
    : lackingIn(report.log)),
]

/** Escapes control and invisible characters for a terminal: much of the text was written by others. */
const printable = (text: string): string =>
  text.replace(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
    (sign) => `\\u{${sign.codePointAt(0)?.toString(16)}}`,
  )

/** What a check found, and what is not proven. */
export type Conclusion = { readonly says: readonly string[]; readonly notProven: readonly string[] }

/** Runs a check and prints its result; returns the exit code. */
export async function conclude(check: () => Promise<Conclusion>): Promise<number> {
  try {
    const { says, notProven } = await check()
    for (const line of says) console.log(printable(line))
    for (const line of notProven) console.error(printable(`NOT PROVEN: ${line}`))
    return notProven.length === 0 ? 0 : 3
  } catch (error) {
    const [code, why] = verdictOf(error)
    console.error(printable(why))
    return code
  }
}

function verdictOf(error: unknown): readonly [code: number, why: string] {
  if (error instanceof Broken) return [1, `BROKEN: ${error.message}`]
  if (error instanceof RangeError) {
    return [2, `Something in it is too long or too deep to be read (${error.message}).`]
  }
  return [2, error instanceof Error ? error.message : String(error)]
}
