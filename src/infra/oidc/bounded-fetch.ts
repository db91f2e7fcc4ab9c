import type { CustomFetch } from 'openid-client'

/** A provider's documents and answers have some KiB, its keys some more. */
const MAX_BYTES = 256 * 1024
const WITHOUT_BODY = [204, 205, 304]

/** As `fetch`, but that no answer fills the memory. */
export const boundedFetch: CustomFetch = async (url, options) => {
  const { status, headers, body } = await fetch(url, options as RequestInit)
  const read = await bytesOf(body)
  return new Response(WITHOUT_BODY.includes(status) ? null : read, { status, headers })
}

async function bytesOf(body: AsyncIterable<Uint8Array> | null): Promise<Buffer<ArrayBuffer>> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body ?? []) {
    size += chunk.length
    if (size > MAX_BYTES) throw new TypeError(`the answer is larger than ${MAX_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
