import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../../app/ports/process.ts'
import type { VerifierKey } from '../../transparency-log/keys.ts'
import { isMet, type Policy } from '../../transparency-log/policy.ts'
import { type WitnessClient, witnessClient } from './witness-client.ts'
import { WitnessContradicts } from './witness-contradicts.ts'

export type Witnesses = {
  /**
   * Asks all witnesses at once. `note`: with the signatures that came; `met`: they are enough for the policy. The
   * same checkpoint may be sent again. Error: `WitnessContradicts`, until that witness has signed again.
   */
  readonly cosign: (
    note: string,
    size: number,
    prove: (from: number) => Promise<readonly Buffer[]>,
  ) => Promise<{ readonly note: string; readonly met: boolean }>
}

export type WitnessesOptions = {
  readonly log: Log
  /** How long a witness may take. @default 2000 */
  readonly timeoutMs?: number
}

/** When there are enough signatures, the others have this much longer: an absent witness holds nothing up. */
const GRACE_MS = 100

export function witnesses(policy: Policy, { log, timeoutMs = 2_000 }: WitnessesOptions): Witnesses {
  const clients = policy.witnesses.flatMap(({ name, key, url }) =>
    url === null ? [] : [witnessClient({ name, key, url, log })],
  )
  const busy = new Set<WitnessClient>()
  const contradictions = new Map<WitnessClient, WitnessContradicts>()

  return {
    async cosign(note, size, prove) {
      const signed: VerifierKey[] = []
      const lines: string[] = []
      const enough = Promise.withResolvers<void>()
      let isOver = false
      const settleIfMet = () => {
        if (isMet(policy, signed)) enough.resolve()
      }
      settleIfMet()
      const ask = async (client: WitnessClient) => {
        const proveInTime = (from: number) => {
          if (isOver) throw new Error('it did not answer in time')
          return prove(from)
        }
        const signal = AbortSignal.timeout(timeoutMs)
        const line = await client.submit({ note, size, prove: proveInTime, signal })
        if (line === null) return
        contradictions.delete(client)
        signed.push(client.key)
        lines.push(line)
        settleIfMet()
      }
      const asked = clients
        .filter((client) => !busy.has(client))
        .map((client) => {
          busy.add(client)
          return ask(client)
            .catch((error: unknown) => {
              // It may come when nobody waits for it any more.
              if (error instanceof WitnessContradicts) contradictions.set(client, error)
              else throw error
            })
            .finally(() => busy.delete(client))
        })
      const all = Promise.all(asked)
      await Promise.race([all, enough.promise.then(() => sleep(GRACE_MS))])
      isOver = true
      for (const contradiction of contradictions.values()) throw contradiction
      return { note: note + lines.join(''), met: isMet(policy, signed) }
    },
  }
}
