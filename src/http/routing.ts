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
 * patterns at most. A priority stays with its rule: two rules cannot change places in one deployment.
 */
export const PATH_RULES: readonly {
  readonly priority: number
  readonly patterns: readonly string[]
  readonly target: Target
}[] = [
  { priority: 10, patterns: both('/auth/validate*'), target: 'refused' },
  // Of everything that is kept of a person, tasks are most; task-service asks auth-service for the rest.
  { priority: 15, patterns: both('/auth/me/export'), target: 'task-service' },
  { priority: 20, patterns: both('/auth', '/auth/*'), target: 'auth-service' },
  { priority: 30, patterns: TASK_PATHS, target: 'task-service' },
  // Answers for both services: it asks auth-service.
  { priority: 40, patterns: both('/health'), target: 'task-service' },
  { priority: 50, patterns: both('/log', '/log/*'), target: 'task-service' },
  { priority: 60, patterns: under(TASK_PATHS), target: 'task-service' },
]

const matches = (pattern: string, path: string): boolean =>
  pattern.endsWith('*') ? path.startsWith(pattern.slice(0, -1)) : path === pattern

/** `path` as in the request line, without the query. */
export function route(path: string): Target {
  const rule = PATH_RULES.find(({ patterns }) => patterns.some((pattern) => matches(pattern, path)))
  return rule?.target ?? 'not-found'
}
