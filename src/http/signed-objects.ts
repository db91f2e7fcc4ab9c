import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Busboy, type BusboyInstance } from '@fastify/busboy'
import type { SignedAccess, SignedRefusal } from '../app/ports/object-storage.ts'

type Failure = SignedRefusal | 'malformed_form' | 'method_not_allowed' | 'storage_unavailable'

/** Codes and statuses as S3 has them, so that a client need not know which storage it is. */
const FAILURES = {
  not_signed: [403, 'AccessDenied'],
  expired: [403, 'AccessDenied'],
  too_large: [400, 'EntityTooLarge'],
  too_small: [400, 'EntityTooSmall'],
  wrong_checksum: [400, 'BadDigest'],
  malformed_form: [400, 'MalformedPOSTRequest'],
  not_found: [404, 'NoSuchKey'],
  method_not_allowed: [405, 'MethodNotAllowed'],
  storage_unavailable: [503, 'ServiceUnavailable'],
} as const satisfies Record<Failure, readonly [status: number, code: string]>

/** The fields of a form hold one token. */
const LIMITS = { fields: 20, fieldNameSize: 100, fieldSize: 8_192, files: 1, headerPairs: 20 }

/**
 * Serves forms and URLs of a storage that has no server of its own, under a path: POST to the path itself, GET for
 * what is one word below it. For the local gateway.
 */
export function signedObjects(path: string, access: SignedAccess): RequestListener {
  const answer = async (req: IncomingMessage, res: ServerResponse) => {
    const own = req.url?.replace(/\?.*/s, '') ?? ''
    if (own === path && req.method === 'POST') return upload(access, req, res)
    const isBelow = own.startsWith(`${path}/`)
    if (isBelow && req.method === 'GET') return download(access, own.slice(path.length + 1), res)
    return refuse(res, isBelow || own === path ? 'method_not_allowed' : 'not_found')
  }
  return (req, res) => {
    answer(req, res).catch(() => {
      // A client that is gone is nobody to tell.
      if (res.headersSent || res.destroyed) res.destroy()
      else refuse(res, 'storage_unavailable')
    })
  }
}

async function upload(access: SignedAccess, req: IncomingMessage, res: ServerResponse) {
  const failure = await received(access, req)
  // The rest of a refused form: a client hears no answer while it still sends.
  if (failure !== null && !req.complete) await pipeline(req, async (rest) => drain(rest))
  if (failure !== null) return refuse(res, failure)
  res.writeHead(204).end()
}

async function drain(rest: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of rest);
}

function received(access: SignedAccess, req: IncomingMessage): Promise<Failure | null> {
  const { promise, resolve, reject } = Promise.withResolvers<Failure | null>()
  const form = formOf(req)
  if (form === null) return Promise.resolve('malformed_form')
  const fields = new Map<string, string>()
  let file: Readable | null = null
  const end = (failure: Failure | null) => {
    req.unpipe(form)
    file?.destroy()
    resolve(failure)
  }
  const interrupt = () => {
    const error = new Error('the upload was interrupted')
    // Whoever reads the bytes then removes what there is, before it answers.
    if (file === null) reject(error)
    else file.destroy(error)
  }
  form.on('field', (name, value) => {
    if (fields.has(name)) end('malformed_form')
    fields.set(name, value)
  })
  form.on('file', (name, bytes) => {
    bytes.on('error', interrupt)
    if (name !== 'file' || file !== null) return end('malformed_form')
    file = bytes
    access.receive(fields, bytes).then(end, reject)
  })
  form.on('finish', () => file === null && end('malformed_form'))
  form.on('error', () => (file === null ? end('malformed_form') : interrupt()))
  req.on('close', () => req.complete || interrupt())
  req.pipe(form)
  return promise
}

/** Null: that is no form. */
function formOf({ headers }: IncomingMessage): BusboyInstance | null {
  const { 'content-type': type = '' } = headers
  if (!/^multipart\/form-data\s*;/i.test(type)) return null
  try {
    return new Busboy({ headers: { 'content-type': type }, limits: LIMITS })
  } catch {
    return null
  }
}

async function download(access: SignedAccess, token: string, res: ServerResponse) {
  const found = await access.open(token)
  if (typeof found === 'string') return refuse(res, found)
  res.writeHead(200, {
    'Content-Type': found.contentType,
    'Content-Disposition': found.contentDisposition,
    'Content-Length': found.size,
    'Cache-Control': 'private, no-store',
    'X-Content-Type-Options': 'nosniff',
    // Whatever it holds, a browser runs none of it as a page of ours.
    'Content-Security-Policy': "sandbox; default-src 'none'",
  })
  await pipeline(found.bytes, res)
}

function refuse(res: ServerResponse, failure: Failure): void {
  const [status, code] = FAILURES[failure]
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code></Error>`
  if (status === 503) res.setHeader('Retry-After', '1')
  res.writeHead(status, { 'Content-Type': 'application/xml', 'Cache-Control': 'no-store' })
  res.end(body)
}
