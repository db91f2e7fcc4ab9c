/** What EventBridge tells of an object that S3 has stored. */
export type ObjectCreated = {
  readonly detail: { readonly object: { readonly key: string; readonly 'version-id'?: string } }
}

/** For one answer; task-service looks at the object meanwhile. */
const PATIENCE_MS = 10_000

/**
 * No other try would change that: it is no image, or not what was promised, or too much for its user; another
 * version was it already, or photo, task or user are gone.
 */
const IN_VAIN: readonly number[] = [403, 404, 409, 410, 422]
/** The same status, but another try may. */
const FOR_NOW = 'write_conflict'

/**
 * Tells task-service of an upload. False: it does not know the key, which may have been replaced since. Error:
 * anything else that another try may change, as one line without the key.
 */
export async function reportUpload(
  url: string,
  apiKey: string,
  { detail: { object } }: ObjectCreated,
  patienceMs = PATIENCE_MS,
): Promise<boolean> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-internal-api-key': apiKey },
    body: JSON.stringify({ key: object.key, version: object['version-id'] }),
    // Following it would send the key elsewhere.
    redirect: 'manual',
    signal: AbortSignal.timeout(patienceMs),
  }).catch((error: Error) => {
    throw new Error(`POST ${url}: ${reason(error, patienceMs)}`)
  })
  const { ok, status } = response
  const code = ok ? '' : await codeOf(response)
  if (code === 'internal_key_required') return false
  if (ok || (IN_VAIN.includes(status) && code !== FOR_NOW)) return true
  throw new Error(`POST ${url} answered ${status} ${code} for ${object.key}`)
}

const codeOf = (response: Response): Promise<string> =>
  response.json().then(
    (body) => String(Object(body).code ?? ''),
    () => '',
  )

/** The message of `fetch` itself says only that it failed. */
const reason = ({ name, message, cause }: Error, patienceMs: number): string =>
  name === 'TimeoutError'
    ? `no answer within ${patienceMs} ms`
    : ((cause as { code?: string } | undefined)?.code ?? message)
