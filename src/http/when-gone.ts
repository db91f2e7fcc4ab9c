import type { Context } from 'koa'

/** Aborted when nobody waits for the answer any more. */
export function whenGone(ctx: Context): AbortSignal {
  const gone = new AbortController()
  ctx.res.once('close', () => gone.abort())
  // Whoever left while the token was checked closes nothing any more.
  if (ctx.res.closed) gone.abort()
  return gone.signal
}
