import type { PoolChallenge, PoolLogins } from '../../../app/ports/user-pool.ts'
import { seal, unseal } from '../../credentials/sealed-texts.ts'
import type { Database } from '../connection/database.ts'

const CHALLENGE = 'tasktrail pool challenge'
const REFRESH_TOKEN = 'tasktrail pool refresh token'

const HASH = `sha256(convert_to($1, 'UTF8'))`

// Each one removes some that nobody has answered.
const ASK = {
  name: 'ask_pool_challenge',
  text: `
    with outdated as (
      select token_hash from pool_challenges where asked_at < $3::timestamptz - interval '3 minutes'
      order by asked_at limit 10 for update skip locked
    ), forgotten as (
      delete from pool_challenges c using outdated o where c.token_hash = o.token_hash
    )
    insert into pool_challenges (token_hash, sealed, asked_at) values (${HASH}, $2, $3)`,
}
const ASKED = {
  name: 'pool_challenge',
  text: `
    select sealed from pool_challenges
    where token_hash = ${HASH} and asked_at > $2::timestamptz - interval '3 minutes'`,
}
const END = {
  name: 'end_pool_challenge',
  text: `delete from pool_challenges where token_hash = ${HASH}`,
}
const KEEP = {
  name: 'keep_pool_session',
  text: `
    insert into pool_sessions (session_id, username, sealed_refresh_token)
    select id, $2, $3 from sessions where id = $1 for key share`,
}
const KEPT = {
  name: 'pool_session',
  text: 'select username, sealed_refresh_token from pool_sessions where session_id = $1',
}
const SUBJECT = {
  name: 'subject_at_pool',
  text: 'select subject from identities where user_id = $1 and issuer = $2',
}

/** `secret` encrypts what has to be read again without its owner. */
export function postgresPoolLogins(db: Database, secret: string): PoolLogins {
  return {
    async ask(token, challenge, now) {
      await db.query(ASK, [token, seal(token, CHALLENGE, JSON.stringify(challenge)), now])
    },

    async asked(token, now) {
      const [found] = await db.query<{ sealed: Buffer }>(ASKED, [token, now])
      const text = found && unseal(token, CHALLENGE, found.sealed)
      return text ? (JSON.parse(text) as PoolChallenge) : null
    },

    async end(token) {
      await db.query(END, [token])
    },

    async keep(session_id, { username, refresh_token }) {
      await db.query(KEEP, [session_id, username, seal(secret, REFRESH_TOKEN, refresh_token)])
    },

    async kept(session_id) {
      type Row = { username: string; sealed_refresh_token: Buffer }
      const [found] = await db.query<Row>(KEPT, [session_id])
      if (found === undefined) return null
      const refresh_token = unseal(secret, REFRESH_TOKEN, found.sealed_refresh_token)
      return refresh_token === null ? null : { username: found.username, refresh_token }
    },

    // A pool takes the subject for a username.
    async usernameOf(user_id, issuer) {
      const [found] = await db.query<{ subject: string }>(SUBJECT, [user_id, issuer])
      return found?.subject ?? null
    },
  }
}
