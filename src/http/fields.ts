import { z } from 'zod'
import type { Fault } from './errors.ts'

// Characters are counted as JSON Schema counts them: Unicode code points, not UTF-16 units.
const codePoints = (text: string): number => {
  let count = 0
  for (const _ of text) count++
  return count
}

/** Nothing visible, or only U+2800, a braille pattern without dots. */
const INVISIBLE = /^[\p{White_Space}\p{Default_Ignorable_Code_Point}\p{Cf}\u2800]*$/u
const NOT_IN_A_LINE = /[\p{Cc}\u2028\u2029]/u
const NOT_IN_LINES = /[^\P{Cc}\t\n\r]/u

type TextRules = {
  readonly trim?: boolean
  /** May have tabs and line breaks. */
  readonly lines?: boolean
  /** May consist of blanks alone, as a password may. */
  readonly blank?: boolean
  /** The message for an empty text. */
  readonly empty?: string
}

/**
 * Text as people write it, which UTF-8 can encode (no half of a surrogate pair) and PostgreSQL can store
 * (no NUL). If it must not be empty, it has to contain something visible.
 */
export const text = (
  min: number,
  max: number,
  { trim = false, lines = false, blank = min === 0, empty = 'must not be empty' }: TextRules = {},
) =>
  (trim ? z.string().trim() : z.string())
    .refine((value) => value.isWellFormed(), {
      error: 'must not contain half of a surrogate pair',
      abort: true,
    })
    .refine((value) => !(lines ? NOT_IN_LINES : NOT_IN_A_LINE).test(value), {
      error: lines
        ? 'must not contain control characters other than tabs and line breaks'
        : 'must not contain line breaks, tabs or other control characters',
      abort: true,
    })
    .refine((value) => min === 0 || value !== '', { error: empty, abort: true })
    .refine((value) => blank || !INVISIBLE.test(value), {
      error: 'must contain a visible character',
      abort: true,
    })
    .refine((value) => codePoints(value) >= min, `must have at least ${min} characters`)
    .refine((value) => codePoints(value) <= max, `must have at most ${max} characters`)
    .meta({ minLength: min, maxLength: max })

const TIME = 'must be an ISO 8601 time with Z or an offset, such as 2026-01-31T09:00:00Z'
const TIME_SHAPE = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/

/** What is wrong with a text that is not a time. */
function timeFault(sent: unknown): string {
  if (typeof sent !== 'string' || !TIME_SHAPE.test(sent)) return TIME
  const day = sent.slice(0, 10)
  return utc(`${day}T00:00:00Z`).startsWith(day)
    ? 'must have a time from 00:00:00 to 23:59:59 and an offset up to 23:59'
    : 'must be a day of the calendar'
}

/** A time with any offset, in the years 1 to 9999; converted to UTC with milliseconds. */
export const time = z.iso
  .datetime({ offset: true, error: ({ input }) => timeFault(input), abort: true })
  .refine((value) => /^(?!0000)\d{4}-/.test(utc(value)), {
    error: 'must be in the years 1 to 9999',
  })
  .transform((value) => utc(value))

const utc = (value: string): string => {
  const date = new Date(value)
  return Number.isNaN(date.getTime()) ? '' : date.toISOString()
}

/** A time as answers carry it. */
export const instant = z.iso
  .datetime({ precision: 3 })
  .meta({ examples: ['2026-01-31T09:00:00.000Z'] })

/** An id in a path. */
export const id = z
  .string()
  .regex(/^[1-9]\d{0,15}$/, 'must be a positive integer')
  .transform(Number)
  .refine(Number.isSafeInteger, 'must be at most 9007199254740991')

export const pageSize = z
  .string()
  .regex(/^\d{1,3}$/, 'must be a whole number from 1 to 200')
  .transform(Number)
  .refine((limit) => limit >= 1 && limit <= 200, 'must be a whole number from 1 to 200')

/** `a,b` in a query, each one of `values`. */
export const listOf = <const T extends string>(values: readonly [T, ...T[]]) => {
  const each = z.array(z.enum(values))
  const isList = (list: string) => each.safeParse(list.split(',')).success
  return z
    .string()
    .refine(isList, `must be a comma-separated list of: ${values.join(', ')}`)
    .transform((list) => [...new Set(list.split(','))] as T[])
}

const MAX_FAULTS = 50

/** Of thousands of faults, a client needs only the first ones and the number. */
export function firstOf(faults: readonly Fault[]): readonly Fault[] {
  const more = faults.length - MAX_FAULTS
  if (more <= 0) return faults
  return [...faults.slice(0, MAX_FAULTS), { field: 'request', message: `${more} more` }]
}

/**
 * What a failed parse says, one fault per field, in words for the client. Parameters and headers are named
 * as written.
 */
export function faultsOf(
  error: z.ZodError,
  allowed: readonly string[],
  noun: 'field' | 'parameter' | 'header',
): Fault[] {
  return error.issues.flatMap((issue) => {
    const field = issue.path.join('.') || 'body'
    if (issue.code === 'unrecognized_keys') {
      const message = `Unknown ${noun}; allowed: ${allowed.join(', ') || 'none'}`
      return issue.keys.map((key) => ({ field: key, message }))
    }
    return [{ field, message: `${noun === 'field' ? label(field) : field} ${rule(issue)}` }]
  })
}

/** What messages call a field. */
export const label = (field: string): string =>
  (field.charAt(0).toUpperCase() + field.slice(1)).replaceAll('_', ' ')

function rule(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      if (issue.input === undefined) return 'is required'
      if (issue.expected === 'int') return 'must be a whole number'
      return `must be ${/^[aeiou]/.test(issue.expected) ? 'an' : 'a'} ${issue.expected}`
    case 'invalid_value':
      if (issue.input === undefined && !isCustom(issue)) return 'is required'
      return isCustom(issue) ? issue.message : `must be one of: ${issue.values.join(', ')}`
    default:
      return issue.message
  }
}

/** Our own rules begin with a verb; zod's defaults do not. */
const isCustom = (issue: z.core.$ZodIssue): boolean => issue.message.startsWith('must ')
