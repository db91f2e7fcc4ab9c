import { type Fault, HttpError } from './errors.ts'

/**
 * Null: not percent-encoded as RFC 3986 requires, or not UTF-8. `URLSearchParams` would turn it into
 * U+FFFD, and the request would mean something that nobody wrote. (Node refuses bytes beyond ASCII.)
 */
function decode(encoded: string): string | null {
  try {
    return decodeURIComponent(encoded)
  } catch {
    return null
  }
}

const notEncoded = (field: string): Fault => ({
  field,
  message: `${field} must be UTF-8, percent-encoded`,
})

/** Error: `validation_failed`. */
export function requireEncoded(path: string): void {
  if (decode(path) === null)
    throw new HttpError('validation_failed', { faults: [notEncoded('path')] })
}

/** The parameters of a query. Those that cannot be read, or occur twice, become faults. */
export function readQuery(query: string, faults: Fault[]): Record<string, string> {
  const values = new Map<string, string>()
  for (const pair of query.replaceAll('+', '%20').split('&')) {
    if (pair === '') continue
    const [encoded = '', rest = ''] = pair.split(/=(.*)/s)
    const name = decode(encoded)
    const value = decode(rest)
    if (name === null || value === null) {
      faults.push(notEncoded(name ?? encoded))
      continue
    }
    if (values.has(name)) faults.push({ field: name, message: `${name} is given more than once` })
    values.set(name, value)
  }
  return Object.fromEntries(values)
}
