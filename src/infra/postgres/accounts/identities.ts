import { AppError } from '../../../app/errors.ts'
import type { Identities, LinkedIdentity } from '../../../app/ports/identity-providers.ts'
import { type Database, violates } from '../connection/database.ts'
import { RECORD, requestContextValues } from './security-events.ts'
import { LIVE } from './sessions.ts'
import { CREDENTIALS, type CredentialsRow, credentials } from './users.ts'

const FIND = {
  name: 'find_user_by_identity',
  text: `
    select ${CREDENTIALS} from users
    where id = (select user_id from identities where issuer = $1 and subject = $2)`,
}

const HOLDER = {
  name: 'holder_of_address',
  text: `
    select id, username from users where lower(email) = lower($1) and email_confirmed_at is not null`,
}

const REGISTER = {
  name: 'register_identity',
  text: `
    with added as (
      insert into users (username, email, email_confirmed_at, created_at, updated_at)
      values ($5, $6, $4::timestamptz, $4, $4) returning ${CREDENTIALS}
    ), linked as (
      insert into identities (issuer, subject, provider, user_id, linked_at)
      select $7, $8, $9, id, $4 from added
    ), recorded as (${RECORD}
      select $1, $2, $3, $4, type, id, username, null, details from added, (values
        ('registered', jsonb_build_object('provider', $9::text)),
        ('identity_linked', jsonb_build_object('provider', $9::text))) event (type, details)
    )
    select * from added`,
}

// The session is looked at once more: it may have ended while the browser was away.
const LINK = {
  name: 'link_identity',
  text: `
    with owner as (
      select u.id, u.username,
        u.email_confirmed_at is not null and lower(u.email) = lower($6) as is_same
      from ${LIVE} where s.id = $5 and s.expires_at > $4
    ), linked as (
      insert into identities (issuer, subject, provider, user_id, linked_at)
      select $7, $8, $9, id, $4::timestamptz from owner where is_same
      on conflict do nothing returning user_id
    ), recorded as (${RECORD}
      select $1, $2, $3, $4, 'identity_linked', id, username, $5,
        jsonb_build_object('provider', $9::text)
      from owner where exists (select from linked)
    )
    select is_same, exists (select from linked) or exists (
      select from identities i where i.issuer = $7 and i.subject = $8 and i.user_id = owner.id
    ) as is_linked
    from owner`,
}

const OF_USER = {
  name: 'identities_of_user',
  text: 'select provider, linked_at from identities where user_id = $1 order by linked_at, provider',
}

const UNLINK = {
  name: 'unlink_identity',
  text: 'select unlink_identity($1, $2, $3, $4, $5, $6, $7) as outcome',
}

export function postgresIdentities(db: Database): Identities {
  return {
    async find({ issuer, subject }) {
      return credentials(await db.query<CredentialsRow>(FIND, [issuer, subject]))
    },

    async holderOf(email) {
      const [holder] = await db.query<{ id: number; username: string }>(HOLDER, [email])
      return holder ?? null
    },

    async register(username, { provider, issuer, subject, email }, requestContext) {
      const values = [username, email, issuer, subject, provider]
      try {
        const added = await db.query<CredentialsRow>(REGISTER, [
          ...requestContextValues(requestContext),
          ...values,
        ])
        // biome-ignore lint/style/noNonNullAssertion: it was just added
        return credentials(added)!
      } catch (error) {
        if (violates(error, 'users_username_key')) throw new AppError('username_taken')
        if (violates(error, 'users_confirmed_email_key')) throw new AppError('email_taken')
        if (violates(error, 'identities_pkey')) throw new AppError('identity_taken')
        throw error
      }
    },

    async link(session_id, { provider, issuer, subject, email }, requestContext) {
      const [done] = await db.query<{ is_same: boolean; is_linked: boolean }>(LINK, [
        ...requestContextValues(requestContext),
        ...[session_id, email, issuer, subject, provider],
      ])
      if (done === undefined) throw new AppError('session_ended')
      if (!done.is_same) throw new AppError('email_differs')
      if (!done.is_linked) throw new AppError('identity_taken')
    },

    ofUser: (user_id) => db.query<LinkedIdentity>(OF_USER, [user_id]),

    async unlink(user_id, provider, providers, { request_id, ip, user_agent, now }) {
      const asked = [user_id, provider, providers, request_id, ip, user_agent, now]
      const [done] = await db.query<{ outcome: string }>(UNLINK, asked)
      if (done?.outcome === 'unknown') throw new AppError('identity_not_found')
      if (done?.outcome === 'last') throw new AppError('last_sign_in')
    },
  }
}
