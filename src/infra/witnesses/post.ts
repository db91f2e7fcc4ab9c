export type Response = {
  readonly status: number
  /** '' if it is not said. */
  readonly type: string
  readonly body: string
}

const MAX_ANSWER = 64 * 1024

/** Sends a text. Error: no whole answer came before the signal; the message says why. */
export async function post(url: string, body: string, signal: AbortSignal): Promise<Response> {
  try {
    const headers = { 'content-type': 'text/plain; charset=utf-8', 'user-agent': 'tasktrail' }
    const options = { method: 'POST', headers, body, signal, redirect: 'error' } as const
    const response = await fetch(url, options)
    const type = response.headers.get('content-type') ?? ''
    return { status: response.status, type, body: await textOf(response.body) }
  } catch (error) {
    if (signal.aborted) throw new Error('it did not answer in time')
    // fetch names the reason only there.
    const { cause, message } = error as Error
    throw new Error(cause instanceof Error ? cause.message || message : message)
  }
}

async function textOf(body: AsyncIterable<Uint8Array> | null): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body ?? []) {
    size += chunk.length
    if (size > MAX_ANSWER) throw new Error('its answer is larger than 64 KiB')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}
