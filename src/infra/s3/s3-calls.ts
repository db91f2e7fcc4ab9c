import { S3ServiceException } from '@aws-sdk/client-s3'
import { AppError } from '../../app/errors.ts'

/**
 * Calls S3 within a time, all tries and the whole body included; `signal` ends what is under way. Error:
 * `storage_unavailable`, whose cause says for the log what it was, and has nothing of the SDK's.
 */
export async function within<T>(ms: number, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const timeout = new AbortController()
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => {
    timeout.abort()
    // Not everything heeds the signal: pauses between tries, or the search for credentials.
    reject(new Error(`no answer within ${ms} ms`))
  }, ms)
  try {
    return await Promise.race([call(timeout.signal), late])
  } catch (error) {
    throw new AppError('storage_unavailable', { retryAfter: 1, cause: reasonOf(error) })
  } finally {
    clearTimeout(timer)
  }
}

/** Null in the place of what is not there: neither the key, nor that version, or it is a delete marker. */
export async function orNull<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer
  } catch (error) {
    if (isMissing(error)) return null
    throw error
  }
}

function isMissing(error: unknown): boolean {
  if (!(error instanceof S3ServiceException) || error.name === 'NoSuchBucket') return false
  // HEAD has no body that could name the error. 405: a delete marker, named by its version.
  return [404, 405].includes(error.$metadata.httpStatusCode ?? 0)
}

function reasonOf(error: unknown): Error {
  if (error instanceof S3ServiceException) {
    return new Error(`S3 answers ${error.$metadata.httpStatusCode} ${error.name}`)
  }
  const { name, message } = error instanceof Error ? error : new Error(String(error))
  return new Error(message || name)
}
