import { ZxcvbnFactory } from '@zxcvbn-ts/core'
import { adjacencyGraphs, dictionary as common } from '@zxcvbn-ts/language-common'
import { dictionary as english, translations } from '@zxcvbn-ts/language-en'
import type { Strength } from '../../app/ports/passwords.ts'

/** What is strong so far stays strong, and what is weak is a repetition. */
const LOOKED_AT = 32
/** Of letters that digits stand for. The library's 100 take ten times as long, for the same verdicts. */
const SUBSTITUTIONS = 10
/** It takes some hours of a fast machine to try all that score less. */
const STRONG = 3

const cut = (text: string): string => [...text].slice(0, LOOKED_AT).join('')

/** Takes up to 30 ms and 80 MB: for a thread of its own. */
export function passwordStrength(): (password: string, own: readonly string[]) => Strength {
  const estimator = new ZxcvbnFactory({
    dictionary: { ...common, ...english },
    graphs: adjacencyGraphs,
    translations,
    l33tMaxSubstitutions: SUBSTITUTIONS,
  })

  return (password, own) => {
    const { score, guesses, feedback, sequence } = estimator.check(cut(password), own.map(cut))
    const hasOwn = sequence.some(({ dictionaryName }) => dictionaryName === 'userInputs')
    const { warning, suggestions } = feedback
    return { score, guesses, warning, suggestions, isOwn: hasOwn && score < STRONG }
  }
}
