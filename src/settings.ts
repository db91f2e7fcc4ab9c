import { z } from 'zod'

// What all settings have in common: kinds of values, and errors that name everything that is wrong.

export type Env = Readonly<Record<string, string | undefined>>

/** The environment is incomplete or malformed. The message lists everything that is wrong. */
export class ConfigError extends Error {}

export const whole = (min: number, max: number, fallback?: number) => {
  const number = z
    .string()
    .regex(/^\d{1,10}$/, `must be a whole number from ${min} to ${max}`)
    .transform(Number)
    .refine((n) => n >= min && n <= max, `must be a whole number from ${min} to ${max}`)
  return fallback === undefined ? number : number.default(fallback)
}
export const filled = z.string().min(1, 'must not be empty')
export const secret = (min: number) =>
  z.string().min(min, `must be at least ${min} characters long`)
/** Sent as a header. What a header cannot carry is refused at start-up, not on every call. */
export const headerSecret = (min: number) =>
  secret(min).regex(/^[!-~]*$/, 'must be printable ASCII without spaces')
export const httpUrl = z
  .string()
  .refine((url) => /^https?:$/.test(URL.parse(url)?.protocol ?? ''), 'must be an http(s) URL')

/** An empty variable counts as not set: container definitions often carry those. */
export const present = (env: Env): Env =>
  Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ''))

export function parse<T extends z.ZodObject>(schema: T, env: Env): z.output<T> {
  const result = schema.safeParse(present(env))
  if (result.success) return result.data
  const missing: string[] = []
  const malformed: string[] = []
  for (const { path, message } of result.error.issues) {
    const name = path.join('.')
    if (present(env)[name] === undefined) missing.push(`${name} is missing`)
    else malformed.push(`${name} ${message}`)
  }
  throw new ConfigError(
    [
      ...(missing.length > 0 ? [`The environment is not complete: ${missing.join('; ')}.`] : []),
      ...(malformed.length > 0 ? [`The environment is malformed: ${malformed.join('; ')}.`] : []),
    ].join(' '),
  )
}
