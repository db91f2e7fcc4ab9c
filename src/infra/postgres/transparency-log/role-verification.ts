import { Broken } from '../../../verifier/failures.ts'
import type { Query } from '../projections/projection.ts'

// Of those who have a role, or once got or lost one, which the trail finds without reading the whole log.
const UNEQUAL_ROLES = {
  name: 'unequal_roles',
  text: `
    select id, role, logged
    from (
        select id from users where role <> 'user'
        union
        select user_id from audit_events where type = 'UserRoleChanged') known
      join users using (id)
      cross join lateral (
        select coalesce((
          select data->>'to' from events where stream_id = 'user-' || id and type = 'UserRoleChanged'
          order by version desc limit 1), 'user') as logged) log
    where role <> logged order by id limit 1`,
}

/** Checks that users have the roles that the log gives them. Error: `Broken`, at the first who has another. */
export async function requireRoles(query: Query): Promise<void> {
  type Row = { readonly id: number; readonly role: string; readonly logged: string }
  const [row] = await query<Row>(UNEQUAL_ROLES, [])
  if (row === undefined) return
  const { id, role, logged } = row
  throw new Broken({ table: 'users', id }, `has the role ${role}; the log gives ${logged}.`)
}
