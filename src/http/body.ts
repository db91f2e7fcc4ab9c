import type { Context } from 'koa'
import { HttpMethodEnum, koaBody } from 'koa-body'
import { HttpError } from './errors.ts'
import { duplicateKey, isDeeper, MAX_BODY } from './json.ts'

const MAX_DEPTH = 20

const { POST, PUT, PATCH, DELETE } = HttpMethodEnum

// As Latin-1 each byte stays itself: koa-body would replace broken UTF-8, and its JSON parser hides a key
// that occurs twice.
const read = koaBody({
  parsedMethods: [POST, PUT, PATCH, DELETE],
  text: true,
  textTypes: ['application/json'],
  textLimit: MAX_BODY.bytes,
  encoding: 'latin1',
  json: false,
  urlencoded: false,
  multipart: false,
  onError: (error) => {
    const isTooLarge = 'status' in error && error.status === 413
    throw new HttpError(isTooLarge ? 'body_too_large' : 'malformed_body')
  },
})

/** The parsed JSON; a missing body counts as `{}`. */
export async function readBody(ctx: Context): Promise<unknown> {
  if (!mayHaveBody(ctx)) return {}
  const charset = ctx.request.charset || 'utf-8'
  const coding = ctx.get('Content-Encoding') || 'identity'
  const isPlain = /^utf-?8$/i.test(charset) && /^identity$/i.test(coding)
  if (!ctx.request.is('application/json') || !isPlain) throw new HttpError('unsupported_media_type')
  const bytes = await bytesOf(ctx)
  return bytes.length === 0 ? {} : parse(decode(bytes))
}

/** For calls that take no body: one that was sent would be silently ignored. */
export async function refuseBody(ctx: Context): Promise<void> {
  if (!mayHaveBody(ctx)) return
  if (ctx.request.length) throw new HttpError('unexpected_body')
  for await (const _ of ctx.req.iterator({ destroyOnReturn: false })) {
    throw new HttpError('unexpected_body')
  }
}

/** Without a length it may still be empty. */
const mayHaveBody = ({ request: { length, headers } }: Context): boolean =>
  headers['transfer-encoding'] !== undefined || (length !== undefined && length > 0)

async function bytesOf(ctx: Context): Promise<Buffer> {
  // co-body keeps a length in 32 bits: it takes 4 GiB for 0.
  if ((ctx.request.length ?? 0) > MAX_BODY.bytes) throw new HttpError('body_too_large')
  // koa-body knows only lower-case `identity`; nothing else gets this far.
  delete ctx.req.headers['content-encoding']
  await read(ctx as Parameters<typeof read>[0], async () => {})
  return Buffer.from(String(ctx.request.body), 'latin1')
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
