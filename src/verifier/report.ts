import type { ExportReport } from './export.ts'
import { Broken, Incomplete, nameOf } from './failures.ts'
import { inWords } from './filters.ts'
import type { Report, Run } from './trail.ts'

const count = (number: number, noun: string): string =>
  `${number.toLocaleString('en')} ${noun}${number === 1 ? '' : 's'}`

/** The lines of the report: what is proven and what is not. */
export function describe(report: Report): readonly string[] {
  const { events, streams, sealed, gaps, position } = report
  const lines = [
    `Nothing is broken: ${count(events, 'event')} of ${count(streams, 'stream')}, up to position ${position}.`,
    ...describeSeals(report),
    `Sealed: ${count(sealed, 'event')}. Not proven by a seal: ${count(events - sealed, 'event')}.`,
  ]
  if (gaps > 0) {
    lines.push(
      `The filter leaves ${count(gaps, 'gap')}: events before a gap are not chained to those after it.`,
    )
  }
  return lines
}

function describeSeals({ seals, lastSeal, signers }: Report): readonly string[] {
  if (lastSeal === null) {
    return [
      'No seal: the chains hold, but no signature proves them. Anyone with write ' +
        'access could have rewritten all of it.',
    ]
  }
  const { number, sealed_at, position, hash } = lastSeal
  const keys = signers.map(
    ({ key_id, first, last }) => `${key_id} (${first === last ? first : `${first} to ${last}`})`,
  )
  return [
    `${count(seals, 'seal')}, the last one is number ${number} of ${sealed_at}, up to position ` +
      `${position}, ${hash}.`,
    `Signed by ${keys.join(', ')}.`,
  ]
}

export function describeExport(report: ExportReport): readonly string[] {
  const { said, erased } = report
  const asked =
    said.filters.length === 0 ? '' : `, filtered by ${said.filters.map(inWords).join(' ')}`
  const lines = [
    ...describe(report),
    `Its trailer says: exported at ${JSON.stringify(said.exported_at)} by user ` +
      `${JSON.stringify(said.exported_by)}${asked}.`,
    extentOf(report),
  ]
  if (erased > 0) {
    lines.push(`Marked as erased, their texts gone: ${count(erased, 'event')}.`)
  }
  return lines
}

function extentOf({ whole, lastSeal }: ExportReport): string {
  if (!whole) {
    return (
      'It is a part of the log. This proves nothing about other events, not even that its streams end ' +
      'here. For a position it is proven only between which seals it is.'
    )
  }
  if (lastSeal === null) return 'It claims to be the whole log; nothing proves that.'
  const { number, position } = lastSeal
  return `It is the whole log up to seal ${number} (position ${position}); nothing proves what is after it.`
}

/** What is not proven in an export, a line each; empty only if everything is proven. */
export const notProven = (report: ExportReport): readonly string[] => [
  ...report.unsealed.map((run) => `${nameOfRun(run)}: no seal proves it.`),
  ...report.unproven.map(
    ([event, fields]) =>
      `${nameOf(event)}: nothing proves the values before it, "from" of ${fields.join(', ')}.`,
  ),
  ...report.unreadable.map(
    (event) => `${nameOf(event)}: it is marked as unreadable: a text or its key is damaged.`,
  ),
  ...report.doubtful.map(
    (user) => `user-${user}: marked as erased, but the export has no UserErased.`,
  ),
  ...report.said.parked.map(
    ([stream_id, version]) =>
      `${stream_id} from version ${version} on: the trailer says that they were parked, which ` +
      'nothing proves. Export again when they are resumed.',
  ),
  ...notProvenAsAWhole(report),
]

/** The trailer is not signed: whoever removes events could change it too. */
function* notProvenAsAWhole({ lastSeal, whole, said }: ExportReport): Generator<string> {
  if (lastSeal === null)
    yield 'The export: it has no seal, so nothing proves that nothing is missing.'
  if (!whole && said.filters.length === 0 && said.parked.length === 0) {
    yield 'The export: its seals cover streams that are not in it, though it claims to be ' +
      'unfiltered.'
  }
}

function nameOfRun({ stream_id, versions, positions }: Run): string {
  const [first, last] = versions
  if (first === last) return nameOf({ stream_id, version: first, position: positions[0] })
  return `${stream_id} versions ${first} to ${last} (positions ${positions.join(' to ')})`
}

/** Escapes control and invisible characters for a terminal: much of the text was written by others. */
const printable = (text: string): string =>
  text.replace(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
    (sign) => `\\u{${sign.codePointAt(0)?.toString(16)}}`,
  )

/** What a check found, and what is not proven. */
type Conclusion = { readonly says: readonly string[]; readonly notProven: readonly string[] }

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
  if (error instanceof Incomplete) return [3, `NOT PROVEN: ${error.message}`]
  if (error instanceof RangeError) {
    return [2, `Something in it is too long or too deep to be read (${error.message}).`]
  }
  return [2, error instanceof Error ? error.message : String(error)]
}
