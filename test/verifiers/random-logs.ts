import { createHash } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { logSigner, witnessSigner } from '../../src/transparency-log/keys.ts'
import { type Grown, writeLog } from './written-log.ts'

/** A log in a directory of its own, with all checkpoints that it has had. */
export type RandomLog = {
  readonly name: string
  readonly directory: string
  readonly steps: readonly [Grown, ...Grown[]]
  /** Verifier keys of all who have signed, in the order of their signatures. */
  readonly keys: readonly string[]
}

const sizes = fc.oneof(
  { weight: 3, arbitrary: fc.nat({ max: 600 }) },
  { weight: 2, arbitrary: fc.integer({ min: 250, max: 262 }) },
  { weight: 1, arbitrary: fc.integer({ min: 505, max: 520 }) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 10 }) },
)
const plans = fc.record({
  seed: fc.nat(),
  sizes: fc.uniqueArray(sizes, { minLength: 1, maxLength: 4 }),
})
/** One log reaches the third level of tiles. */
const HIGH = { seed: 1, sizes: [65_535, 65_537] }

const sha256 = (text: string) => createHash('sha256').update(text).digest()
const moment = () => Date.parse('2026-11-28T12:00:00.000Z')

/** Different entries: like those of events, of no byte, and of as many as a bundle can hold. */
function entryAt(seed: number, index: number): Buffer {
  const hash = sha256(`${seed} ${index}`)
  if (index === 3) return Buffer.alloc(0)
  if (index === 7) return Buffer.alloc(0xffff, hash)
  if (index % 5 === 0) return Buffer.alloc(33 + (hash[0] ?? 0), hash)
  const stream = `task-${hash[1]}`
  return Buffer.from(
    JSON.stringify({ hash: hash.toString('hex'), position: index, stream_id: stream, version: 1 }),
  )
}

/** Writes that many logs below the directory. */
export async function randomLogs(
  directory: string,
  count: number,
  seed: number,
): Promise<readonly RandomLog[]> {
  const samples = [HIGH, ...fc.sample(plans, { numRuns: count - 1, seed })]
  const logs: RandomLog[] = []
  for (const [number, plan] of samples.entries()) {
    logs.push(await written(join(directory, String(number)), number, plan))
  }
  return logs
}

async function written(
  directory: string,
  number: number,
  plan: { readonly seed: number; readonly sizes: readonly number[] },
): Promise<RandomLog> {
  await mkdir(directory)
  const ascending = plan.sizes.toSorted((a, b) => a - b)
  const entries = Array.from({ length: ascending.at(-1) ?? 0 }, (_, at) => entryAt(plan.seed, at))
  const log = logSigner(`log-${number}.example/log`, sha256(`log ${plan.seed}`))
  const witness = witnessSigner('witness.example', sha256(`witness ${plan.seed}`), moment)
  const signers = [log, witness]
  const [first, ...more] = await writeLog({ directory, entries, sizes: ascending, signers })
  if (!first) throw new Error('A log without a size')
  const name = `log ${number} of ${ascending.join(', ')} leaves`
  return { name, directory, steps: [first, ...more], keys: signers.map(({ key }) => key.text) }
}
