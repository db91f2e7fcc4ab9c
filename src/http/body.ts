import { isUtf8 } from 'node:buffer'
import type { Context } from 'koa'
import { HttpMethodEnum, koaBody } from 'koa-body'
import { HttpError } from './errors.ts'

const LIMIT = 64 * 1024
const MAX_DEPTH = 20

const { POST, PUT, PATCH, DELETE } = HttpMethodEnum

const parse = koaBody({
  parsedMethods: [POST, PUT, PATCH, DELETE],
  json: true,
  jsonTypes: ['application/json'],
  jsonLimit: LIMIT,
  jsonStrict: true,
  text: false,
  urlencoded: false,
  multipart: false,
  patchNode: false,
  patchKoa: true,
  onError: (error) => {
    throw 'status' in error && error.status === 413
      ? new HttpError('body_too_large')
      : new HttpError('malformed_body')
  },
})

/** Leaves the parsed JSON in `ctx.request.body`; a request without a body counts as `{}`. */
export async function readBody(ctx: Context): Promise<void> {
  ctx.request.body = {}
  const { length } = ctx.request
  // `is` answers null when there is no body at all.
  if (ctx.request.is('application/json') === null || length === 0) return
  const encoded = ctx.get('Content-Encoding') || 'identity'
  const charset = ctx.request.charset || 'utf-8'
  const acceptable = encoded === 'identity' && charset.toLowerCase() === 'utf-8'
  if (!ctx.request.is('application/json') || !acceptable)
    throw new HttpError('unsupported_media_type')
  // co-body computes with 32 bits: to it 4 GiB are 0.
  if (length !== undefined && length > LIMIT) throw new HttpError('body_too_large')

  // koa-body decodes broken UTF-8 to replacement characters: what was sent would be lost silently.
  const chunks: Buffer[] = []
  const keep = (chunk: Buffer) => chunks.push(chunk)
  ctx.req.on('data', keep)
  try {
    await parse(ctx as Parameters<typeof parse>[0], async () => {})
  } finally {
    ctx.req.off('data', keep)
  }
  if (!isUtf8(Buffer.concat(chunks)) || isTooDeep(ctx.request.body)) {
    throw new HttpError('malformed_body')
  }
}

function isTooDeep(body: object): boolean {
  let level = [body]
  for (let depth = 0; depth < MAX_DEPTH; depth++) {
    level = level.flatMap((container) => Object.values(container)).filter(isContainer)
  }
  return level.length > 0
}

const isContainer = (value: unknown): value is object => typeof value === 'object' && value !== null
