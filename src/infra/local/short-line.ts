/** What a line of a service's log becomes on the console; null: nothing. */
export type ShortLine = { readonly text: string; readonly isWarning: boolean } | null

/** Requested by machines all the time: whether a service is healthy, a token is valid, a log has grown. */
const INTERNAL =
  /^(?:\/v1)?\/(health|ready|(auth|tasks)\/health|auth\/validate(\/.*)?|worker\/.*|witness\/.*|add-checkpoint)$/

/** Requests in one short line, warnings and worse with their reason; the rest is in the files. */
export function shortLine(service: string, line: string): ShortLine {
  const facts = parsed(line)
  if (facts === null) return { text: `${service}: ${line}`, isWarning: true }
  const { level, msg, err } = facts
  if (msg === 'request') return request(facts)
  if (!['warn', 'error', 'fatal'].includes(String(level))) return null
  const reason = typeof err === 'object' && err !== null ? (err as Facts).message : err
  const why = reason === undefined ? '' : `: ${reason}`
  return { text: `${service} ${level}: ${msg}${why}`, isWarning: true }
}

type Facts = Readonly<Record<string, unknown>>

function request({ method, path, status, response_ms, code, aborted }: Facts): ShortLine {
  if (INTERNAL.test(String(path)) && Number(status) < 500) return null
  const ms = `${Math.round(Number(response_ms))} ms`
  const how = [method, path, status, ms, code, aborted === true ? 'aborted' : undefined]
  return { text: how.filter((word) => word !== undefined).join(' '), isWarning: false }
}

function parsed(line: string): Facts | null {
  try {
    const facts: unknown = JSON.parse(line)
    return typeof facts === 'object' && facts !== null ? (facts as Facts) : null
  } catch {
    return null
  }
}
