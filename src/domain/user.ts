export const ROLES = ['user', 'auditor', 'admin'] as const
export type Role = (typeof ROLES)[number]

// The storage format: the rules in src/domain/task/events.ts apply.
/**
 * `UserRoleChanged`: a role was given or taken; everybody begins as a user. `UserErased`: the user's data key was
 * destroyed, so none of their texts can be read any more. `UserPhotosErased`, some time after it: no object of their
 * photos is left. A user without photos has none.
 */
export type UserEvent =
  | { readonly type: 'UserRoleChanged'; readonly data: RoleChange }
  | {
      readonly type: 'UserErased' | 'UserPhotosErased'
      readonly data: Readonly<Record<never, never>>
    }

export type RoleChange = { readonly from: Role; readonly to: Role }

export const USER_EVENT_TYPES = [
  'UserRoleChanged',
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

/** What an event of a user changed, by field. */
export type UserChanges = { readonly role?: RoleChange }

export function changesOfUser(event: UserEvent): UserChanges {
  switch (event.type) {
    case 'UserRoleChanged': {
      const { from, to } = event.data
      return { role: { from, to } }
    }
    case 'UserErased':
    case 'UserPhotosErased':
      return {}
  }
}

/** Who changes a role at the command line, or by configuration: no user has this id. */
export const OPERATOR = 0

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
