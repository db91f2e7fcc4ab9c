import type pg from 'pg'

/** What erase_user does to a user, who need not have registered. */
export async function eraseUser(sql: pg.ClientBase, user_id: number): Promise<void> {
  await sql.query(
    `insert into users (id, username, email, password_hash, created_at, updated_at)
     overriding system value values ($1, $2, $2, '', now(), now()) on conflict do nothing`,
    [user_id, `user-${user_id}`],
  )
  await sql.query(
    `select erase_user($1, 1, gen_random_uuid(), 1, '{"request_id":"r"}', null, null, 'r')`,
    [user_id],
  )
}

/** What whoever may change everything in the database can do: no event says so. */
export const destroyKey = (sql: pg.ClientBase, user_id: number): Promise<unknown> =>
  sql.query(
    `insert into user_keys (user_id, destroyed_at) values ($1, now() - interval '1 hour')
     on conflict (user_id) do update
       set wrapped_key = null, wrapped_by = null, destroyed_at = excluded.destroyed_at`,
    [user_id],
  )
