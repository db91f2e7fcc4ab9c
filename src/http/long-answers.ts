import type { Caller } from '../app/ports/authorization.ts'
import { visibleUser } from './audit-access.ts'
import { HttpError } from './errors.ts'
import { places } from './places.ts'

/** How long an export may run before it is cut off, in milliseconds. */
export const LONGEST_EXPORT_MS = 3_600_000
/** Milliseconds in all that a client may read more slowly than it must, or nothing. */
export const GRACE_MS = 30_000
/** Bytes a second: a client that reads an export more slowly holds its place for too long. */
const SLOWEST = 32 * 1024

const EXPORTS_OF_USERS = 2
const EXPORTS_OF_AUDITORS = 2
const EXPORT_WAIT_MS = 1_000

/** One export for each user, out of few in all; some are reserved for auditors. */
export function exportPlaces() {
  const refusal = new HttpError('export_under_way', { retryAfter: 10 })
  const few = { ms: EXPORT_WAIT_MS, refusal, retryAfter: 5 }
  const users = places({ ...few, all: EXPORTS_OF_USERS })
  const auditors = places({ ...few, all: EXPORTS_OF_AUDITORS })
  return (caller: Caller) => (visibleUser(caller) === null ? auditors : users)(caller.user_id)
}

/** The pieces, while the client reads fast enough; otherwise it is cut off. */
export async function* paced<T extends { readonly length: number }>(
  pieces: AsyncIterable<T>,
  cutOff: () => void,
  grace: number,
) {
  let credit = grace
  for await (const piece of pieces) {
    credit = Math.min(grace, credit + (piece.length / SLOWEST) * 1000)
    const began = performance.now()
    const late = setTimeout(cutOff, credit)
    try {
      yield piece
    } finally {
      clearTimeout(late)
    }
    credit -= performance.now() - began
  }
}

/** The same batches; before each one the right to see it is checked again. */
export async function* checked<T>(batches: AsyncIterable<T>, check: () => Promise<void>) {
  for await (const batch of batches) {
    await check()
    yield batch
  }
}
