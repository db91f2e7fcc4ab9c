export const ROLES = ['user', 'auditor', 'admin'] as const
export type Role = (typeof ROLES)[number]

export type User = {
  readonly id: number
  readonly username: string
  readonly email: string
  readonly role: Role
  readonly created_at: string
}
