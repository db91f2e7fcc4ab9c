import { HASH } from './formats.ts'

/** What is wrong with a value, or null. `name`: what to call it. */
export type Shape = (value: unknown, name: string) => string | null

const is =
  (what: string, test: (value: unknown) => boolean): Shape =>
  (value, name) => {
    if (value === undefined) return `it lacks ${name}`
    return test(value) ? null : `its ${name} is not ${what}`
  }

export const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isMoment = (value: unknown): boolean =>
  typeof value === 'string' &&
  /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(value) &&
  isDate(value)

const isDate = (text: string): boolean => {
  const date = new Date(text)
  return !Number.isNaN(date.getTime()) && date.toISOString() === text
}

export const text = is('a text', (value) => typeof value === 'string')
export const count = is('a count', (value) => Number.isSafeInteger(value) && Number(value) >= 0)
export const id = is(
  'a whole number above 0',
  (value) => Number.isSafeInteger(value) && Number(value) > 0,
)
export const moment = is('a time in UTC with milliseconds', isMoment)
export const hash = is(
  'a hash of 64 hex digits',
  (value) => typeof value === 'string' && HASH.test(value),
)
export const hex = is('hex', (value) => typeof value === 'string' && /^([0-9a-f]{2})*$/.test(value))
export const flag = is('true', (value) => value === true)
export const json = is('an object', isObject)
/** The values that a field of a task can have. */
export const scalar = is(
  'a text, true, false or null',
  (value) => value === null || typeof value === 'string' || typeof value === 'boolean',
)
export const matching = (pattern: RegExp): Shape =>
  is(`of the form ${pattern.source}`, (value) => typeof value === 'string' && pattern.test(value))

export const optional =
  (shape: Shape): Shape =>
  (value, name) =>
    value === undefined ? null : shape(value, name)

export const nullable =
  (shape: Shape): Shape =>
  (value, name) =>
    value === null ? null : shape(value, name)

const first = (faults: Iterable<string | null>): string | null => {
  for (const fault of faults) if (fault !== null) return fault
  return null
}

export const listOf =
  (shape: Shape): Shape =>
  (value, name) => {
    if (!Array.isArray(value)) return is('a list', () => false)(value, name)
    return first(value.map((item, index) => shape(item, `${name}[${index}]`)))
  }

export const tuple =
  (...shapes: readonly Shape[]): Shape =>
  (value, name) => {
    if (!Array.isArray(value) || value.length !== shapes.length) {
      return is(`a list of ${shapes.length}`, () => false)(value, name)
    }
    return first(shapes.map((shape, index) => shape(value[index], `${name}[${index}]`)))
  }

export const recordOf =
  (shape: Shape): Shape =>
  (value, name) => {
    if (!isObject(value)) return json(value, name)
    return first(Object.entries(value).map(([key, member]) => shape(member, `${name}.${key}`)))
  }

/** It has these fields; other fields are not checked. */
export const fields =
  (shapes: Readonly<Record<string, Shape>>): Shape =>
  (value, name) => {
    if (!isObject(value)) return json(value, name === '' ? 'value' : name)
    return first(
      Object.entries(shapes).map(([field, shape]) =>
        shape(
          Object.hasOwn(value, field) ? value[field] : undefined,
          name === '' ? field : `${name}.${field}`,
        ),
      ),
    )
  }
