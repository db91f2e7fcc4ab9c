import type { Claim, Verdict } from './claims.ts'
import { type GoVerifier, goVerifier } from './go.ts'
import { ours } from './ours.ts'
import { sigstore } from './sigstore.ts'

/** A claim, what is said of it (for people), and whether it is true; null: nobody knows. */
export type Question = {
  readonly about: string
  readonly claim: Claim
  readonly isTrue: boolean | null
}

/** Tasktrail, the Go team's packages and npm's @sigstore/verify, who have to agree. */
export type Verifiers = {
  /** Questions on which they do not, or not with what is true: what each said, for people. */
  readonly disagreements: (questions: readonly Question[]) => Promise<readonly string[]>
  readonly close: () => Promise<void>
}

export async function openVerifiers(): Promise<Verifiers> {
  const go: GoVerifier = await goVerifier()

  const disagreements = async (questions: readonly Question[]) => {
    const goSays = go.ask(questions.map(({ claim }) => claim))
    const found: string[] = []
    for (const [at, question] of questions.entries()) {
      const said = {
        ours: await ours(question.claim),
        go: goSays[at] ?? null,
        sigstore: sigstore(question.claim),
      }
      if (!agree(Object.values(said), question.isTrue)) {
        found.push(`${question.about}: ${JSON.stringify(said)}`)
      }
    }
    return found
  }
  return { disagreements, close: go.close }
}

/** They accept the same, with the same words, or all refuse, whatever they say of the reason. */
function agree(said: readonly Verdict[], isTrue: boolean | null): boolean {
  const answers = said.filter((verdict) => verdict !== null)
  const accepted = answers.filter((verdict) => verdict.startsWith('ok'))
  if (accepted.length === 0) return isTrue !== true
  return isTrue !== false && accepted.length === answers.length && new Set(accepted).size === 1
}
