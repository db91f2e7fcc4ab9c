import type pg from 'pg'
import type { Role } from '../../src/domain/user.ts'

/** As an operator does, through the log: the database takes a role in no other way. */
export async function giveRole(sql: Pick<pg.ClientBase, 'query'>, user_id: number, role: Role) {
  const metadata =
    '{"causation_id":"c","correlation_id":"r","ip":null,"request_id":"r","session_id":null}'
  const { rows } = await sql.query(
    "select change_role($1, $2, 0, false, gen_random_uuid(), 1, $3, null, null, 'r') as outcome",
    [user_id, role, metadata],
  )
  const { outcome } = rows[0]
  if (outcome !== 'changed' && outcome !== 'unchanged') throw new Error(outcome)
}
