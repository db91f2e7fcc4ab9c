/** Which service answers a path that comes from outside. */
export type Target = 'auth-service' | 'task-service' | 'refused' | 'not-found'

/**
 * The public path rules, first match first, for the local gateway and the load balancer. Patterns are the
 * load balancer's: `*` stands for any characters, and `/tasks/*` does not match `/tasks`.
 */
export const PATH_RULES: readonly {
  readonly patterns: readonly string[]
  readonly target: Target
}[] = [
  { patterns: ['/auth/validate*'], target: 'refused' },
  { patterns: ['/auth', '/auth/*'], target: 'auth-service' },
  { patterns: ['/tasks', '/tasks/*', '/audit', '/audit/*'], target: 'task-service' },
  // Answers for both services: it asks auth-service.
  { patterns: ['/health'], target: 'task-service' },
  // A rule of its own: the load balancer takes five patterns in one.
  { patterns: ['/log', '/log/*'], target: 'task-service' },
]

const matches = (pattern: string, path: string): boolean =>
  pattern.endsWith('*') ? path.startsWith(pattern.slice(0, -1)) : path === pattern

/** `path` as in the request line, without the query. */
export function route(path: string): Target {
  const rule = PATH_RULES.find(({ patterns }) => patterns.some((pattern) => matches(pattern, path)))
  return rule?.target ?? 'not-found'
}
