/** What EventBridge tells of an object that S3 has stored. */
export type ObjectCreated = {
  readonly detail: { readonly object: { readonly key: string; readonly 'version-id'?: string } }
}

/** For one answer; task-service looks at the object meanwhile. */
const PATIENCE_MS = 10_000

/** Nobody waits for this upload any more: another version was it, or the photo or its user is gone. */
const IN_VAIN: readonly number[] = [404, 409, 410]

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
  const { status } = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-internal-api-key': apiKey },
    body: JSON.stringify({ key: object.key, version: object['version-id'] }),
    // Following it would send the key elsewhere.
    redirect: 'manual',
    signal: AbortSignal.timeout(patienceMs),
  }).catch((error: Error) => {
    throw new Error(`POST ${url}: ${reason(error, patienceMs)}`)
  })
  if (status === 401) return false
  if ((status >= 200 && status < 300) || IN_VAIN.includes(status)) return true
  throw new Error(`POST ${url} answered ${status} for ${object.key}`)
}

/** The message of `fetch` itself says only that it failed. */
const reason = ({ name, message, cause }: Error, patienceMs: number): string =>
  name === 'TimeoutError'
    ? `no answer within ${patienceMs} ms`
    : ((cause as { code?: string } | undefined)?.code ?? message)
