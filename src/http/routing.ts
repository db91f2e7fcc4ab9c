import { BASE } from './edge.ts'

/** Which service answers a path that comes from outside. */
export type Target = 'auth-service' | 'task-service' | 'refused' | 'not-found'

/** The same paths, under the base path too. */
const both = (...patterns: readonly string[]) => [...patterns, ...under(patterns)]
const under = (patterns: readonly string[]) => patterns.map((pattern) => BASE + pattern)

const TASK_PATHS = ['/tasks', '/tasks/*', '/audit', '/audit/*']

/**
 * The public path rules, first match first, for the local gateway and the load balancer. Patterns are the
 * load balancer's: `*` stands for any characters, and `/tasks/*` does not match `/tasks`. A rule has five
 * patterns at most. New ones come last: a rule's place is its priority.
 */
export const PATH_RULES: readonly {
  readonly patterns: readonly string[]
  readonly target: Target
}[] = [
  { patterns: both('/auth/validate*'), target: 'refused' },
  { patterns: both('/auth', '/auth/*'), target: 'auth-service' },
  { patterns: TASK_PATHS, target: 'task-service' },
  // Answers for both services: it asks auth-service.
  { patterns: both('/health'), target: 'task-service' },
  { patterns: both('/log', '/log/*'), target: 'task-service' },
  { patterns: under(TASK_PATHS), target: 'task-service' },
]

const matches = (pattern: string, path: string): boolean =>
  pattern.endsWith('*') ? path.startsWith(pattern.slice(0, -1)) : path === pattern

/** `path` as in the request line, without the query. */
export function route(path: string): Target {
  const rule = PATH_RULES.find(({ patterns }) => patterns.some((pattern) => matches(pattern, path)))
  return rule?.target ?? 'not-found'
}
