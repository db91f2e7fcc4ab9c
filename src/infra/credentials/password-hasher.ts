import { createHmac, randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { E_TIMEOUT, Semaphore, withTimeout } from 'async-mutex'
import bcrypt from 'bcrypt'
import { AppError } from '../../app/errors.ts'
import type { PasswordHasher } from '../../app/ports/accounts.ts'

const MAX_WAIT_MS = 1_000
/** libuv has four threads; DNS look-ups and files need one of them. */
const THREADS = 3

/**
 * bcrypt over HMAC-SHA-256 of the password with a pepper: bcrypt itself ignores everything after the 72nd
 * byte, and a stolen table alone is useless. Passwords that look the same are equal (NFKC). Runs as many
 * hashes at once as there are processors: more would only wait for each other.
 */
export function bcryptPasswordHasher(pepper: string, cost: number): PasswordHasher {
  const slots = withTimeout(new Semaphore(Math.min(availableParallelism(), THREADS)), MAX_WAIT_MS)
  const peppered = (password: string) =>
    createHmac('sha256', pepper).update(password.normalize('NFKC')).digest('base64')

  const inSlot = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await slots.runExclusive(work)
    } catch (error) {
      if (error === E_TIMEOUT) throw new AppError('hashing_busy', { retryAfter: 2 })
      throw error
    }
  }
  const nobody = bcrypt.hash(randomBytes(32).toString('base64'), cost)

  return {
    hash: (password) => inSlot(() => bcrypt.hash(peppered(password), cost)),

    async verify(password, hash) {
      const against = hash ?? (await nobody)
      const equal = await inSlot(() => bcrypt.compare(peppered(password), against))
      return equal && hash !== null
    },

    isOutdated: (hash) => bcrypt.getRounds(hash) !== cost,
  }
}
