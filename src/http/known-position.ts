import { HttpError } from './errors.ts'

/** Error: `validation_failed`, of a position that this log never gave. */
export type RequireKnownPosition = (field: string, position: number) => Promise<void>

/**
 * `last` is the greatest position given so far. One beyond it comes from another log, or from this one before a backup of it was
 * restored. Whoever went on from there would skip what is written until the log is as long again.
 */
export const requireKnownPosition =
  (last: () => Promise<number>): RequireKnownPosition =>
  async (field, position) => {
    if (position <= (await last())) return
    const message = `${field} is beyond the end of the log; start again without it`
    throw new HttpError('validation_failed', { faults: [{ field, message }] })
  }

/** Error: `validation_failed`, of a time that is still to come. */
export type RequirePast = (as_of: string) => Promise<void>

/** By the log's own clock: any time that an answer shows is past, whatever this service's clock says. */
export const requirePast =
  (now: () => Promise<string>): RequirePast =>
  async (as_of) => {
    if (as_of <= (await now())) return
    const faults = [{ field: 'as_of', message: 'as_of must not be in the future' }]
    throw new HttpError('validation_failed', { faults })
  }
