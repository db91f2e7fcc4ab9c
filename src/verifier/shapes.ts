import { HASH } from './formats.ts'

/** What is wrong with a value, or with a part of it. */
type Fault = { readonly path: string; readonly says: (path: string) => string }
/** Null: nothing is wrong. */
export type Shape = (value: unknown) => Fault | null

/** What is wrong, in words; null if nothing is. `name`: what to call the value. */
export function faultIn(shape: Shape, value: unknown, name = ''): string | null {
  const fault = shape(value)
  return fault === null ? null : fault.says(pathOf(name, fault.path) || 'value')
}

const pathOf = (name: string, path: string): string =>
  name === '' || path === '' || path.startsWith('[') ? `${name}${path}` : `${name}.${path}`

const within = (name: string, fault: Fault | null): Fault | null =>
  fault && { ...fault, path: pathOf(name, fault.path) }

const is =
  (what: string, test: (value: unknown) => boolean): Shape =>
  (value) => {
    if (test(value)) return null
    const isThere = value !== undefined
    return {
      path: '',
      says: (path) => (isThere ? `its ${path} is not ${what}` : `it lacks ${path}`),
    }
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
export const matching = (pattern: RegExp, what = `of the form ${pattern.source}`): Shape =>
  is(what, (value) => typeof value === 'string' && pattern.test(value))
export const count = is('a count', (value) => Number.isSafeInteger(value) && Number(value) >= 0)
export const id = is(
  'a whole number above 0',
  (value) => Number.isSafeInteger(value) && Number(value) > 0,
)
export const moment = is('a time in UTC with milliseconds', isMoment)
export const hash = matching(HASH, 'a hash of 64 hex digits')
/** With one spelling for each: the two bits that are left over are zero. */
export const base64Hash = matching(
  /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/,
  'a hash of 32 bytes in base64',
)
export const flag = is('true', (value) => value === true)
export const json = is('an object', isObject)
/** The values that a field of a task can have. */
export const scalar = is(
  'a text, true, false or null',
  (value) => value === null || typeof value === 'string' || typeof value === 'boolean',
)

export const optional =
  (shape: Shape): Shape =>
  (value) =>
    value === undefined ? null : shape(value)

export const nullable =
  (shape: Shape): Shape =>
  (value) =>
    value === null ? null : shape(value)

const list = is('a list', Array.isArray)

export const listOf =
  (shape: Shape): Shape =>
  (value) => {
    if (!Array.isArray(value)) return list(value)
    for (const [index, item] of value.entries()) {
      const fault = shape(item)
      if (fault !== null) return within(`[${index}]`, fault)
    }
    return null
  }

export const tuple = (...shapes: readonly Shape[]): Shape => {
  const some = is(`a list of ${shapes.length}`, (value) => {
    return Array.isArray(value) && value.length === shapes.length
  })
  const faultsOf = (items: readonly unknown[]) =>
    shapes.map((shape, at) => within(`[${at}]`, shape(items[at])))
  return (value) =>
    some(value) ?? faultsOf(value as unknown[]).find((fault) => fault !== null) ?? null
}

export const recordOf =
  (shape: Shape): Shape =>
  (value) => {
    if (!isObject(value)) return json(value)
    for (const [name, member] of Object.entries(value)) {
      const fault = shape(member)
      if (fault !== null) return within(name, fault)
    }
    return null
  }

/** It has these fields and no others: one that nothing covers would pass for checked. */
export const fields = (shapes: Readonly<Record<string, Shape>>): Shape => {
  const known = Object.entries(shapes)
  return (value) => {
    if (!isObject(value)) return json(value)
    for (const [name, shape] of known) {
      const fault = shape(Object.hasOwn(value, name) ? value[name] : undefined)
      if (fault !== null) return within(name, fault)
    }
    const strange = Object.keys(value).find((name) => !Object.hasOwn(shapes, name))
    return strange === undefined
      ? null
      : { path: strange, says: (path) => `it has a field "${path}" that no export writes` }
  }
}
