import type { Context } from 'koa'
import { z } from 'zod'
import { HttpError } from './errors.ts'
import { asWritten } from './versions.ts'

// A cursor names its list and order: with another one it would silently skip entries.
const written = z.tuple([z.string(), z.int().min(1)])

/** The cursor of a list that is ordered by whole numbers: the number of the last entry shown. */
export const writeCursor = (order: string, last: number): string =>
  Buffer.from(JSON.stringify([order, last])).toString('base64url')

/** Undefined without a cursor. Error: `validation_failed`, if it is not of the list in this order. */
export function readCursor(order: string, cursor: string | undefined): number | undefined {
  if (cursor === undefined) return undefined
  try {
    const [of, last] = written.parse(JSON.parse(Buffer.from(cursor, 'base64url').toString()))
    if (of === order) return last
  } catch {
    // Not a cursor at all.
  }
  throw badCursor()
}

export const badCursor = () =>
  new HttpError('validation_failed', {
    faults: [{ field: 'cursor', message: 'cursor must be one that this list gave' }],
  })

/** Adds the link to the next page, which begins after the cursor. */
export function linkNext(ctx: Context, cursor: string, parameter = 'cursor'): void {
  const query = new URLSearchParams(ctx.querystring)
  query.set(parameter, cursor)
  ctx.set('Link', `<${asWritten(ctx)}?${query}>; rel="next"`)
}

export const NEXT_LINK = { Link: 'rel="next": the next page' }
