import type { Context } from 'koa'
import getRawBody from 'raw-body'
import { HttpError } from './errors.ts'
import { duplicateKey, isDeeper, MAX_BODY } from './json.ts'

const MAX_DEPTH = 20

/** The parsed JSON; a request without a body counts as one with `{}`. */
export async function readBody(ctx: Context): Promise<unknown> {
  if (!mayHaveBody(ctx)) return {}
  const charset = ctx.request.charset || 'utf-8'
  const coding = ctx.get('Content-Encoding') || 'identity'
  const isPlain = /^utf-?8$/i.test(charset) && /^identity$/i.test(coding)
  if (!ctx.request.is('application/json') || !isPlain) throw new HttpError('unsupported_media_type')
  const bytes = await bytesOf(ctx)
  return bytes.length === 0 ? {} : parse(decode(bytes))
}

/** For calls that take no body: one that was sent would be ignored without a word. */
export async function refuseBody(ctx: Context): Promise<void> {
  if (!mayHaveBody(ctx)) return
  if (ctx.request.length) throw new HttpError('unexpected_body')
  for await (const _ of ctx.req.iterator({ destroyOnReturn: false })) {
    throw new HttpError('unexpected_body')
  }
}

/** Without a length it may still turn out to be empty. */
const mayHaveBody = ({ request: { length, headers } }: Context): boolean =>
  headers['transfer-encoding'] !== undefined || (length !== undefined && length > 0)

async function bytesOf({ req, request: { length } }: Context): Promise<Buffer> {
  try {
    return await getRawBody(req, { length, limit: MAX_BODY.bytes })
  } catch (error) {
    const isTooLarge = error instanceof Error && 'status' in error && error.status === 413
    throw new HttpError(isTooLarge ? 'body_too_large' : 'malformed_body')
  }
}

function decode(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw refused('Body must be UTF-8')
  }
}

function parse(text: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new HttpError('malformed_body')
  }
  if (isDeeper(value, MAX_DEPTH)) throw refused(`Body must be at most ${MAX_DEPTH} levels deep`)
  const twice = duplicateKey(text)
  if (twice !== undefined) throw refused(`${twice} is given more than once`, twice)
  return value
}

const refused = (message: string, field = 'body') =>
  new HttpError('validation_failed', { faults: [{ field, message }] })
