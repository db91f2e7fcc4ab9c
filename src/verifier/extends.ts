import { hashes } from '../transparency-log/lines.ts'
import { readProofFile } from '../transparency-log/proof-file.ts'
import { EMPTY_ROOT, isConsistent, isSize } from '../transparency-log/tree.ts'
import { openCheckpoint, type SignedCheckpoint } from './checkpoints.ts'
import { readExport, type TrailerFacts, trailerOfEvents } from './export.ts'
import { Broken, Unreadable } from './failures.ts'
import { isObject, kindOf, parse, textIn } from './files.ts'
import { trailerOfRecords } from './records-export.ts'
import type { Conclusion } from './report.ts'
import type { Trust } from './trust.ts'

/** An older checkpoint, and the file that it is in. */
export type Kept = { readonly file: string; readonly log: SignedCheckpoint }

/** That the log of `to` leaves extends that of `from`; as GET /log/consistency answers. */
export type Consistency = {
  readonly from: number
  readonly to: number
  readonly proof: readonly Buffer[]
}

/** From a checkpoint, an export or a proof file. Error: `Unreadable`, `Broken`. */
export async function readKept(file: string, trust: Trust): Promise<Kept> {
  const note = await noteIn(file)
  if (note === undefined) throw new Unreadable(`${file} has no checkpoint to compare with.`)
  return { file, log: openCheckpoint(note, trust, `The checkpoint in ${file}`) }
}

async function noteIn(file: string): Promise<string | undefined> {
  const kind = await kindOf(file)
  if (kind === 'export' || kind === 'records') {
    const trailerOf = kind === 'export' ? trailerOfEvents : trailerOfRecords
    return (await readExport<TrailerFacts>(file, () => {}, trailerOf)).log?.checkpoint
  }
  const text = await textIn(file, 'The file')
  return kind === 'checkpoint' ? text : readProofFile(text)?.checkpoint
}

/** Error: `Unreadable`. */
export async function readConsistency(file: string): Promise<Consistency> {
  const answer = parse(await textIn(file, 'The proof'))
  const { from, to, hashes: given } = isObject(answer) ? answer : {}
  const proof = Array.isArray(given) ? hashes(given) : null
  if (isSize(from) && isSize(to) && proof) return { from, to, proof }
  throw new Unreadable(`${file} is not an answer of GET /log/consistency.`)
}

/**
 * Whether a log extends each one that was kept. `roots`: of this log at smaller sizes, as far as they are
 * known; elsewhere one of the proofs must show it. Error: `Broken`, `Unreadable`.
 */
export function compare(
  log: SignedCheckpoint | null,
  kept: readonly Kept[],
  roots: ReadonlyMap<number, Buffer>,
  proofs: readonly Consistency[],
): Conclusion {
  const says: string[] = []
  const notProven: string[] = []
  for (const old of kept) {
    if (log === null) throw new Broken({}, `has no checkpoint, but ${old.file} has one.`)
    requireLater(log, old)
    const isProven = requireExtends(log, old, roots, proofs)
    const extended = `extends the log of ${old.log.size} leaves in ${old.file}`
    if (isProven) says.push(`It ${extended}.`)
    else {
      const asked = `GET /log/consistency?from=${old.log.size}&to=${log.size}`
      notProven.push(
        `Nothing proves that it ${extended}: name the answer of ${asked} with --consistency.`,
      )
    }
  }
  return { says, notProven }
}

const contradicts = (why: string) => new Broken({ thing: 'The checkpoint' }, why)

function requireLater(log: SignedCheckpoint, { file, log: old }: Kept): void {
  if (old.origin !== log.origin) {
    throw new Unreadable(`${file} is of another log, ${old.origin} and not ${log.origin}.`)
  }
  if (old.size > log.size) {
    const sizes = `covers ${log.size} leaves, ${file} ${old.size}`
    throw contradicts(`${sizes}: it is the older one, or the log was rolled back.`)
  }
}

/** False: nothing tells. */
function requireExtends(
  log: SignedCheckpoint,
  { file, log: old }: Kept,
  roots: ReadonlyMap<number, Buffer>,
  proofs: readonly Consistency[],
): boolean {
  const known = new Map([...roots, [0, EMPTY_ROOT], [log.size, log.root]])
  const root = known.get(old.size)
  if (root !== undefined) {
    if (root.equals(old.root)) return true
    const first = old.size === log.size ? 'are not the same' : 'do not begin with the same leaves'
    throw contradicts(
      `contradicts ${file}: both are signed, but their logs ${first}. The log was rewritten, and the two ` +
        'files prove it: keep both.',
    )
  }
  const proof = proofs.find(({ from, to }) => from === old.size && to === log.size)
  if (proof === undefined) return false
  if (isConsistent({ ...proof, fromRoot: old.root, toRoot: log.root })) return true
  throw contradicts(
    `does not extend ${file} by the given proof: the proof was changed, or the log rewritten.`,
  )
}
