import { HttpError } from './errors.ts'

/** Error: `validation_failed`, for a position that this log never gave. */
export type RequireKnownPosition = (field: string, position: number) => Promise<void>

/**
 * `last` is the greatest position given so far. A greater one comes from another log, or from this one
 * before it was restored from a backup. A client that continued from it would miss all events until the log
 * is that long again.
 */
export const requireKnownPosition =
  (last: () => Promise<number>): RequireKnownPosition =>
  async (field, position) => {
    if (position <= (await last())) return
    const message = `${field} is beyond the end of the log; start again without it`
    throw new HttpError('validation_failed', { faults: [{ field, message }] })
  }

/** Error: `validation_failed`, for a time in the future. */
export type RequirePast = (as_of: string) => Promise<void>

/**
 * By the log's own clock: a time that an answer shows is always past, whatever this service's clock says.
 */
export const requirePast =
  (now: () => Promise<string>): RequirePast =>
  async (as_of) => {
    if (as_of <= (await now())) return
    const faults = [{ field: 'as_of', message: 'as_of must not be in the future' }]
    throw new HttpError('validation_failed', { faults })
  }
