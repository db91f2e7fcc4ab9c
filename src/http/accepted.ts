import type { Context } from 'koa'

const MAX_LENGTH = 256

/**
 * Which of `types` the client likes best, the first one if it does not say; false: none of them. A
 * longer Accept than any client writes counts as none: to read it takes the square of its length.
 */
export function accepted<T extends string>(
  ctx: Context,
  ...types: readonly [T, ...T[]]
): T | false {
  if (ctx.get('Accept').length > MAX_LENGTH) return types[0]
  return ctx.accepts(...types) as T | false
}
