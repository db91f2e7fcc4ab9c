export const ROLES = ['user', 'auditor', 'admin'] as const
export type Role = (typeof ROLES)[number]

// The storage format: the rules in src/domain/task/events.ts apply.
/** The user's data key was destroyed: none of their texts can be read any more. */
export type UserEvent = {
  readonly type: 'UserErased'
  readonly data: Readonly<Record<never, never>>
}

export const USER_EVENT_TYPES = ['UserErased'] as const satisfies UserEvent['type'][]

export const USER_EVENT_SCHEMA_VERSION = 1

/** Whether this version knows the event; if not, a newer version wrote it. */
export const isKnownUserEvent = (event: {
  readonly type: string
  readonly schema_version: number
}): boolean =>
  USER_EVENT_TYPES.some((type) => type === event.type) &&
  event.schema_version <= USER_EVENT_SCHEMA_VERSION

export const userStreamId = (id: number): string => `user-${id}`
export const userId = (stream_id: string): number => Number(stream_id.slice('user-'.length))

export type User = {
  readonly id: number
  readonly username: string
  readonly email: string
  readonly role: Role
  readonly created_at: string
}
