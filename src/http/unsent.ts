import type { ServerResponse } from 'node:http'
import type { Context, Next } from 'koa'
import { HttpError } from './errors.ts'
import { byAddress } from './rate-limit.ts'

export type Unsent = {
  /** Bytes of large answers that may wait in this process for their clients to read them. */
  readonly all: number
  /** The same for one user. */
  readonly each: number
  /** A client that reads fewer bytes a second is cut off after a while. */
  readonly slowest: number
  /** Milliseconds that every client has in addition. */
  readonly grace: number
}

const MIB = 1024 * 1024
const UNSENT: Unsent = { all: 64 * MIB, each: 16 * MIB, slowest: 32 * 1024, grace: 10_000 }

/** Less fits into a connection's buffers, and a process holds as much for every connection. */
const LARGE = 64 * 1024
const RETRY_AFTER = 5

/**
 * An answer is in memory until its client has read it. Answers to clients that do not read are cut off after
 * a while, and until then new large answers are refused rather than kept; never the answer to a write, which
 * has been done.
 */
export function unsentBytes({ all, each, slowest, grace }: Unsent = UNSENT) {
  const open = new Map<ServerResponse, { readonly whose: string; readonly bytes: number }>()
  const unsent = (whose?: string) =>
    [...open]
      .filter(([, answer]) => whose === undefined || answer.whose === whose)
      .reduce((sum, [res, { bytes }]) => sum + (res.headersSent ? res.writableLength : bytes), 0)

  return async (ctx: Context, next: Next) => {
    await next()
    if (ctx.method !== 'GET' || isSmall(ctx.body)) return
    const body = bufferOf(ctx.body)
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

/** A text so short that it goes out with the headers, in one piece. */
const isSmall = (body: unknown): boolean => typeof body === 'string' && body.length * 3 < LARGE

/** Null: nothing, or a stream, which produces only as much as its client reads. */
function bufferOf(body: unknown): Buffer | null {
  if (typeof body === 'string') return Buffer.from(body)
  if (Buffer.isBuffer(body)) return body
  const isPlain = typeof body === 'object' && body !== null && !('pipe' in body)
  return isPlain ? Buffer.from(JSON.stringify(body)) : null
}
