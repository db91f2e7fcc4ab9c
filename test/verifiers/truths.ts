import { writeProofFile } from '../../src/transparency-log/proof-file.ts'
import type { RandomLog } from './random-logs.ts'
import { proofFileClaims, servedLog } from './served-log.ts'
import type { Question } from './verifiers.ts'

/** What is true of a log at each size that it has had, and of its leaves there (some, if they are many). */
export async function truthsOf(log: RandomLog, pick: number): Promise<readonly Question[]> {
  const questions: Question[] = []
  for (const { size, note } of log.steps) {
    const served = await servedLog(log.directory, note)
    const { keys } = log
    const claims = [...served.claims(keys)]
    for (const index of leavesOf(size, pick)) {
      const inclusion = await served.inclusion(index)
      const file = { ...inclusion, extra: inclusion.entry, checkpoint: note }
      claims.push(inclusion)
      if (inclusion.entry.length > 0) claims.push(...proofFileClaims(writeProofFile(file), keys))
    }
    for (const from of earlierSizes(log, size, pick)) claims.push(await served.consistency(from))
    const about = (kind: string) => `${log.name}, ${kind} at ${size}`
    questions.push(...claims.map((claim) => ({ about: about(claim.kind), claim, isTrue: true })))
  }
  return questions
}

const leavesOf = (size: number, pick: number): readonly number[] =>
  size === 0 ? [] : [...new Set([0, size - 1, pick % size])]

/** From 1 on: Go's packages know no proof from the empty tree, which needs none. */
const earlierSizes = ({ steps }: RandomLog, size: number, pick: number): readonly number[] => {
  const earlier = [...steps.map((step) => step.size), 1 + (pick % Math.max(1, size))]
  return [...new Set(earlier)].filter((from) => from > 0 && from <= size)
}
