export const ROLES = ['user', 'auditor', 'admin'] as const
export type Role = (typeof ROLES)[number]

// The storage format: the rules in src/domain/task/events.ts apply.
/**
 * `UserErased`: the user's data key was destroyed, so none of their texts can be read any more. `UserPhotosErased`, some
 * time after it: no object of their photos is left. A user without photos has none.
 */
export type UserEvent = {
  readonly type: 'UserErased' | 'UserPhotosErased'
  readonly data: Readonly<Record<never, never>>
}

export const USER_EVENT_TYPES = [
  'UserErased',
  'UserPhotosErased',
] as const satisfies UserEvent['type'][]

export const USER_EVENT_SCHEMA_VERSION = 1

/** Whether this version knows the event; if not, a newer version wrote it. */
export const isKnownUserEvent = (event: {
  readonly type: string
  readonly schema_version: number
}): boolean =>
  USER_EVENT_TYPES.some((type) => type === event.type) &&
  event.schema_version <= USER_EVENT_SCHEMA_VERSION

export const userStreamId = (id: number): string => `user-${id}`
export const isUserStreamId = (stream_id: string): boolean => stream_id.startsWith('user-')
export const userId = (stream_id: string): number => Number(stream_id.slice('user-'.length))

export type User = {
  readonly id: number
  readonly username: string
  readonly email: string
  readonly role: Role
  readonly created_at: string
}
