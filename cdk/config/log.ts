import { isLogKey, isWitnessKey, parseVerifierKey } from '../../src/transparency-log/keys.ts'
import { NAMESPACE, SERVICE_PORT, WITNESS } from '../names.ts'
import type { Environment } from './schema.ts'

type Named = Pick<Environment, 'name' | 'log'>

/** The log's name in every checkpoint. It is never derived from what may change: another name is another log. */
export const originOf = ({ name, log }: Named): string =>
  log.origin ?? `${name}.tasktrail.local/log`

/** The witness's name beside each of its signatures. */
export const witnessNameOf = (environment: Named): string =>
  `${originOf(environment).replace(/\/log$/, '')}/witness`

/** What the worker and the witness must know of each other; null until it is known. */
export function witnessing({ log }: Named) {
  const { verifierKey, witnessVerifierKey } = log
  if (verifierKey === undefined || witnessVerifierKey === undefined) return null
  const url = `http://${WITNESS}.${NAMESPACE}:${SERVICE_PORT}`
  const policy = `witness own ${witnessVerifierKey} ${url};quorum own`
  return { logs: verifierKey, policy }
}

/** What is wrong with the verifier keys, or ''. */
export const LOG_RULES: readonly ((environment: Named) => string)[] = [
  ({ log: { verifierKey, witnessVerifierKey } }) => {
    if ((verifierKey === undefined) === (witnessVerifierKey === undefined)) return ''
    return verifierKey === undefined
      ? 'log.verifierKey is missing: the witness would not know the log that is to have its signature'
      : 'log.witnessVerifierKey is missing: the worker would not know the witness that knows its log'
  },
  (environment) => {
    const { verifierKey } = environment.log
    const key = verifierKey === undefined ? null : parseVerifierKey(verifierKey)
    if (verifierKey === undefined || (key && isLogKey(key) && key.name === originOf(environment))) {
      return ''
    }
    return `log.verifierKey must be the verifier key of the log ${originOf(environment)}, as log:key prints it`
  },
  (environment) => {
    const { witnessVerifierKey: text } = environment.log
    const key = text === undefined ? null : parseVerifierKey(text)
    const name = witnessNameOf(environment)
    if (text === undefined || (key && isWitnessKey(key) && key.name === name)) return ''
    return `log.witnessVerifierKey must be the verifier key of the witness ${name}, as witness:key prints it`
  },
]
