import type { ExportReport } from './export.ts'
import { Broken, Incomplete } from './failures.ts'
import { inWords } from './filters.ts'
import type { Report } from './trail.ts'

/** Of a great many parked streams so many are named. */
const PARKED_NAMED = 10

const count = (number: number, noun: string): string =>
  `${number.toLocaleString('en')} ${noun}${number === 1 ? '' : 's'}`

/** What is proven and what is not, in lines. */
export function describe(report: Report): readonly string[] {
  const { events, streams, sealed, gaps, position } = report
  const lines = [
    `Nothing is broken: ${count(events, 'event')} of ${count(streams, 'stream')}, up to position ${position}.`,
    ...describeSeals(report),
    `Sealed: ${count(sealed, 'event')}. Not proven by a seal: ${count(events - sealed, 'event')}.`,
  ]
  if (gaps > 0) {
    lines.push(
      `The filter leaves ${count(gaps, 'gap')}: what stands before a gap is not chained to what follows.`,
    )
  }
  return lines
}

function describeSeals({ seals, lastSeal, signers }: Report): readonly string[] {
  if (lastSeal === null) {
    return [
      'No seal: the chains hold, but no signature proves them. Whoever could write could have written ' +
        'all of it anew.',
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

function extentOf({ whole, lastSeal }: ExportReport): string {
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
export function requireNoneMissing(report: ExportReport): void {
  const { events, position, unreadable, whole, said } = report
  const { parked, filters } = said
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
  if (unreadable > 0) {
    throw new Incomplete(
      `${sound} ${count(unreadable, 'event')} of them it says to be unreadable: a text or its key is ` +
        'damaged, and nothing tells what stood there.',
    )
  }
  if (filters.length === 0 && !whole) {
    throw new Incomplete(
      `${sound} its seals cover streams that are not in it, though it says that nothing was filtered.`,
    )
  }
}

/** Escapes what a terminal takes for orders, and what is not seen: much of it was written by others. */
const printable = (text: string): string =>
  text.replace(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
    (sign) => `\\u{${sign.codePointAt(0)?.toString(16)}}`,
  )

/** Runs a check and says what came of it; the exit code. */
export async function conclude(check: () => Promise<readonly string[]>): Promise<number> {
  try {
    for (const line of await check()) console.log(printable(line))
    return 0
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
