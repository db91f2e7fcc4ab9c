import { AppError } from '../../../app/errors.ts'
import type { LoginAttempts } from '../../../app/ports/accounts.ts'
import type { Database } from '../connection/database.ts'

// Not rate-limiter-flexible's PostgreSQL store, though infra/counters uses its memory and Redis stores: it has
// windows of a fixed length by the process's clock, and no lock that grows; two limits and a block are
// three statements, between which parallel attempts slip through; and its one key column hides whose rows
// an erasure has to remove.
//
// The fifth attempt within 15 minutes and each one after it locks the account for this address, before the
// outcome is known: for 1, 2, 4, 8, then 15 minutes. No row comes back while the lock holds. One statement,
// so that parallel attempts are counted one after the other. Each attempt deletes some that are a day old:
// the table stays small, and no attempt waits for many deletes.
const BEGIN = {
  name: 'begin_login',
  text: `
    with outdated as (
      select account, ip from login_attempts
      where last_try_at < $3::timestamptz - interval '1 day' and (account, ip) <> (lower($1), $2)
      limit 10 for update skip locked
    ), forgotten as (
      delete from login_attempts a using outdated o where (a.account, a.ip) = (o.account, o.ip)
    )
    insert into login_attempts as a (account, ip, tries, last_try_at)
    values (lower($1), $2, 1, $3::timestamptz)
    on conflict (account, ip) do update set
      tries = case when a.last_try_at <= excluded.last_try_at - interval '15 minutes'
        then 1 else a.tries + 1 end,
      last_try_at = excluded.last_try_at,
      locked_until = case when a.last_try_at > excluded.last_try_at - interval '15 minutes'
        and a.tries >= 4
        then excluded.last_try_at
          + least(interval '15 minutes', interval '1 minute' * 2 ^ least(a.tries - 4, 4)) end
    where a.locked_until is null or a.locked_until <= excluded.last_try_at
    returning tries`,
}

const LOCKED = {
  name: 'login_locked',
  text: `
    select extract(epoch from locked_until - $3::timestamptz)::float8 as seconds
    from login_attempts where account = lower($1) and ip = $2`,
}

const WITHDRAW = {
  name: 'withdraw_login',
  text: `
    update login_attempts set tries = tries - 1, locked_until = null
    where account = lower($1) and ip = $2`,
}

const CLEAR = {
  name: 'clear_login',
  text: 'delete from login_attempts where account = lower($1) and ip = $2',
}

export function postgresLoginAttempts(db: Database): LoginAttempts {
  return {
    async begin(account, ip, now) {
      if ((await db.query(BEGIN, [account, ip, now])).length > 0) return
      const [lock] = await db.query<{ seconds: number | null }>(LOCKED, [account, ip, now])
      const retryAfter = Math.max(1, Math.ceil(lock?.seconds ?? 1))
      throw new AppError('too_many_attempts', { retryAfter })
    },

    async withdraw(account, ip) {
      await db.query(WITHDRAW, [account, ip])
    },

    async clear(account, ip) {
      await db.query(CLEAR, [account, ip])
    },
  }
}
