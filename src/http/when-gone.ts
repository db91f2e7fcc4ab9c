import type { Context } from 'koa'

/** Aborted when nobody is waiting for the answer any more. */
export function whenGone(ctx: Context): AbortSignal {
  const gone = new AbortController()
  ctx.res.once('close', () => gone.abort())
  // A client that left while the token was checked has already closed.
  if (ctx.res.closed) gone.abort()
  return gone.signal
}
