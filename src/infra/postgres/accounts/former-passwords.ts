import type { FormerPasswords } from '../../../app/ports/passwords.ts'
import type { Database } from '../connection/database.ts'

const OF = {
  name: 'former_passwords',
  text: 'select password_hash from former_passwords where user_id = $1 order by id desc limit $2',
}

/**
 * Two parts of a statement that replaces a password, which follow its `before (id, password_hash)` and
 * `changed (id)`: keeps the hash that is replaced, and no more than `kept` in all. The statement does not see what it
 * has just kept.
 */
export const keepFormer = (kept: string, now: string): string => `
  forgotten as (
    delete from former_passwords where user_id = (select id from changed) and id not in (
      select f.id from former_passwords f join changed on f.user_id = changed.id
      order by f.id desc limit greatest(${kept}::int - 1, 0))
  ), kept as (
    insert into former_passwords (user_id, password_hash, replaced_at)
    select before.id, before.password_hash, ${now} from before join changed using (id)
    where ${kept}::int > 0 and before.password_hash is not null
  )`

export function postgresFormerPasswords(db: Database): FormerPasswords {
  return {
    async of(user_id, atMost) {
      const rows = await db.query<{ password_hash: string }>(OF, [user_id, atMost])
      return rows.map(({ password_hash }) => password_hash)
    },
  }
}
