import { AppError } from '../../../app/errors.ts'
import type { Identity, Refreshed, Session, Sessions } from '../../../app/ports/accounts.ts'
import type { Log } from '../../../app/ports/process.ts'
import type { Database } from '../connection/database.ts'
import { RECORD, requestContextValues } from './security-events.ts'

const SESSION = 's.id, s.user_id, s.created_at, s.last_used_at, s.expires_at, s.ip, s.user_agent'

// A session that began before the user's last change of password has ended.
export const LIVE = `
  sessions s join users u
    on u.id = s.user_id and u.credentials_version = s.credentials_version and s.ended_at is null`

// An account erased since its password was checked has no row to lock.
const BEGIN = {
  name: 'begin_session',
  text: `
    with begun as (
      insert into sessions (id, user_id, credentials_version, created_at, last_used_at, expires_at,
        ip, user_agent, auth_time, amr)
      select $5, id, $7, $4::timestamptz, $4, $8, $2, $3, $4, $10 from users where id = $6 for key share
      returning id, user_id
    ), refreshable as (
      insert into refresh_tokens (hash, session_id) select $11, id from begun
    ), recorded as (${RECORD}
      select $1, $2, $3, $4, 'login_succeeded', user_id, $9, id, $12 from begun
    )
    select id from begun`,
}

const REFRESH = {
  name: 'refresh_session',
  text: `
    select r.outcome, r.nonces, r.sid, r.expires_at, r.auth_time, r.amr, u.id, u.username, u.email, u.role
    from refresh_session($1, $2, $3, $4, $5, $6, $7) r
      left join users u on u.id = r.user_id`,
}

const USE = {
  name: 'use_sessions',
  text: `
    select s.id as session_id, s.expires_at <= $2 as expired,
      s.last_used_at < $2::timestamptz - interval '1 minute' as stale,
      u.id, u.username, u.email, u.role
    from ${LIVE} where s.id = any ($1)`,
}

// Of concurrent requests only one still finds it stale. Nobody waits for a row that is being changed:
// whoever changes it may take long, and the others in a batch are in a hurry.
const TOUCH = {
  name: 'touch_sessions',
  text: `
    update sessions set last_used_at = $2 where id in (
      select id from sessions
      where id = any ($1) and last_used_at < $2::timestamptz - interval '1 minute'
      for no key update skip locked
    )`,
}

const STEP_UP = {
  name: 'step_up',
  text: `
    with proven as (
      update sessions set auth_time = $4::timestamptz, amr = $6 where id = $5 and ended_at is null
      returning id, user_id
    ), recorded as (${RECORD}
      select $1, $2, $3, $4, 'stepped_up', user_id, $7, id, $8 from proven
    )
    select id from proven`,
}

const OF_USER = {
  name: 'sessions_of_user',
  text: `
    select ${SESSION} from ${LIVE} where s.user_id = $1 and s.expires_at > $2
    order by s.created_at desc, s.id`,
}

const END = {
  name: 'end_session',
  text: `
    with ended as (
      update sessions set ended_at = $4::timestamptz from (
        select s.id as live_id, u.username from ${LIVE} where s.id = $5 and s.user_id = $6
      ) live
      where id = live_id and ended_at is null returning id, user_id, username
    ), recorded as (${RECORD}
      select $1, $2, $3, $4, $7, user_id, username, id, '{}' from ended
    )
    select id from ended`,
}

const END_FOR = {
  name: 'end_sessions_for',
  text: `
    with ended as (
      update sessions set ended_at = $4::timestamptz from (
        select s.id as live_id, u.username from ${LIVE}
        where s.user_id = $5 and s.id = coalesce($6::uuid, s.id) and s.expires_at > $4
      ) live
      where id = live_id and ended_at is null returning id, user_id, username
    ), recorded as (${RECORD}
      select $1, $2, $3, $4, 'session_ended', user_id, username, id, jsonb_build_object('by', $7::bigint)
      from ended
    )
    select id from ended`,
}

export function postgresSessions(db: Database, log: Log): Sessions {
  /** For information only: the session works without it. */
  const touch = (ids: readonly string[], now: Date): Promise<unknown> =>
    db
      .query(TOUCH, [ids, now])
      .catch((error) => log.warn({ err: error }, 'cannot record when a session was last used'))

  return {
    async begin(session, { user, credentials_version }, requestContext) {
      const { id, expires_at, amr, refresh_hash, details } = session
      const begun = await db.query(BEGIN, [
        ...requestContextValues(requestContext),
        ...[id, user.id, credentials_version, expires_at, user.username, amr, refresh_hash],
        { amr, ...details },
      ])
      if (begun.length === 0) throw new AppError('invalid_credentials')
    },

    async refresh({ hash, nonce, next_hash }, requestContext) {
      const values = [...requestContextValues(requestContext), hash, nonce, next_hash]
      const [row] = await db.query<RefreshedRow>(REFRESH, values)
      if (row?.outcome !== 'live') return null
      const { outcome, id, username, email, role, ...refreshed } = row
      return { ...refreshed, user: { id, username, email, role } }
    },

    async use(ids, now) {
      if (ids.length === 0) return new Map()
      const used = await db.query<Used>(USE, [ids, now])
      const stale = used.filter(({ stale }) => stale)
      if (stale.length > 0) {
        const ids = stale.map(({ session_id }) => session_id)
        await touch(ids, now)
      }
      return new Map(
        used.map(({ session_id, expired, stale, ...user }) => [session_id, { user, expired }]),
      )
    },

    async stepUp({ session_id, username }, amr, requestContext) {
      const values = [...requestContextValues(requestContext), session_id, amr, username, { amr }]
      return (await db.query(STEP_UP, values)).length > 0
    },

    async endFor(user_id, { by, session_id }, requestContext) {
      const which = [user_id, session_id ?? null, by]
      return (await db.query(END_FOR, [...requestContextValues(requestContext), ...which])).length
    },

    ofUser: (user_id, now) => db.query<Session>(OF_USER, [user_id, now]),

    async end(user_id, id, type, requestContext) {
      const ended = await db.query(END, [
        ...requestContextValues(requestContext),
        id,
        user_id,
        type,
      ])
      return ended.length > 0
    },
  }
}

type RefreshedRow = Omit<Refreshed, 'user'> & Identity & { readonly outcome: string }

type Used = Identity & { session_id: string; expired: boolean; stale: boolean }
