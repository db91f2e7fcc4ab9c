import type { ServerResponse } from 'node:http'
import type { Context, Next } from 'koa'
import { HttpError } from './errors.ts'
import { byAddress } from './rate-limit.ts'

export type Unsent = {
  /** Bytes of large answers that may wait in this process until their clients take them. */
  readonly all: number
  /** Those of one user. */
  readonly each: number
  /** A client that takes fewer bytes a second is cut off, after a while. */
  readonly slowest: number
  /** Milliseconds that every client has besides. */
  readonly grace: number
}

const MIB = 1024 * 1024
const UNSENT: Unsent = { all: 64 * MIB, each: 16 * MIB, slowest: 32 * 1024, grace: 10_000 }

/** The buffers of a connection take less than this, and a process holds as much for every connection. */
const LARGE = 64 * 1024
const RETRY_AFTER = 5

/**
 * An answer is in memory until its client has taken it. Those of clients that take nothing end after a
 * time, and until then new large answers are refused rather than kept: never one of a write, which is done.
 */
export function unsentBytes({ all, each, slowest, grace }: Unsent = UNSENT) {
  const open = new Map<ServerResponse, { readonly whose: string; readonly bytes: number }>()
  const unsent = (whose?: string) =>
    [...open]
      .filter(([, answer]) => whose === undefined || answer.whose === whose)
      .reduce((sum, [res, { bytes }]) => sum + (res.headersSent ? res.writableLength : bytes), 0)

  return async (ctx: Context, next: Next) => {
    await next()
    const body = ctx.method === 'GET' ? bufferOf(ctx.body) : null
    if (body === null) return
    ctx.body = body
    if (body.length < LARGE) return
    const whose = String(ctx.state.user_id ?? byAddress(ctx))
    const refused =
      (unsent(whose) + body.length > each && 'too_many_requests') ||
      (unsent() + body.length > all && 'overloaded')
    if (refused) {
      for (const header of ['ETag', 'Link']) ctx.remove(header)
      throw new HttpError(refused, { retryAfter: RETRY_AFTER })
    }
    open.set(ctx.res, { whose, bytes: body.length })
    const late = setTimeout(() => ctx.res.destroy(), grace + (body.length / slowest) * 1000)
    ctx.res.once('close', () => {
      clearTimeout(late)
      open.delete(ctx.res)
    })
  }
}

/** Null: nothing, or a stream, which makes no more than its client takes. */
function bufferOf(body: unknown): Buffer | null {
  if (typeof body === 'string') return Buffer.from(body)
  if (Buffer.isBuffer(body)) return body
  const isPlain = typeof body === 'object' && body !== null && !('pipe' in body)
  return isPlain ? Buffer.from(JSON.stringify(body)) : null
}
