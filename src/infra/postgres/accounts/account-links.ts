import { OF_CODES } from '../../../app/factor-proofs.ts'
import type { AccountLinks, Resettable } from '../../../app/ports/account-links.ts'
import type { User } from '../../../domain/user.ts'
import { hashOfLink } from '../../credentials/link-tokens.ts'
import type { Database } from '../connection/database.ts'
import { keepFormer } from './former-passwords.ts'
import { RECORD, requestContextValues } from './security-events.ts'

const CONFIRM = {
  name: 'confirm_address',
  text: 'select confirm_address($5, $1, $2, $3, $4) as outcome',
}

const CANCEL = {
  name: 'cancel_email_change',
  text: `
    with link as (
      select user_id, address from account_links
      where token_hash = $5 and kind = 'cancel' and used_at is null and expires_at > $4
    ), ended as (
      update email_changes c set ended_at = $4 from link
      where c.user_id = link.user_id and c.new_email = link.address and ended_at is null
      returning c.user_id
    ), used as (
      update account_links l set used_at = $4 from ended
      where l.user_id = ended.user_id and l.used_at is null
        and l.kind in ('cancel', 'change-old', 'change-new')
    ), recorded as (${RECORD}
      select $1, $2, $3, $4::timestamptz, 'email_change_cancelled', id, username, null, '{}'
      from users join ended on id = user_id
    )
    select user_id from ended`,
}

const RESETTABLE = {
  name: 'resettable',
  text: `
    select u.id, u.username, u.email, u.role, u.created_at, u.password_hash, u.credentials_version
    from account_links l
      join users u on u.id = l.user_id and u.credentials_version = l.credentials_version
    where l.token_hash = $1 and l.kind = 'reset' and l.used_at is null and l.expires_at > $2`,
}

// Of two that come at once one waits for the row of the link, and finds it used. Whoever waits for the account looks
// at it again: a password that was changed meanwhile stays.
const RESET = {
  name: 'reset_password',
  text: `
    with link as (
      update account_links set used_at = $4
      where token_hash = $5 and kind = 'reset' and used_at is null and expires_at > $4
      returning user_id, credentials_version
    ), before as (
      select u.id, u.password_hash from users u join link
        on u.id = link.user_id and u.credentials_version = link.credentials_version
      for update of u
    ), changed as (
      update users u set password_hash = $6, credentials_version = u.credentials_version + 1,
        updated_at = $4::timestamptz
      from before where u.id = before.id
      returning u.id, u.username, u.email
    ), ${keepFormer('$7', '$4::timestamptz')}, cleared as (
      delete from login_attempts using changed
      where account in (lower(changed.username), lower(changed.email)) and ip <> '${OF_CODES}'
    ), recorded as (${RECORD}
      select $1, $2, $3, $4, 'password_reset', id, username, null, '{}' from changed
    )
    select id from changed`,
}

const REFUSE = {
  name: 'refuse_link',
  text: `${RECORD}
    select $1, $2, $3, $4::timestamptz, 'link_refused', u.id, u.username, null,
      jsonb_build_object('link', l.kind, 'why', case
        when l.token_hash is null then 'unknown'
        when l.kind <> all ($6) then 'for something else'
        when l.expires_at <= $4 then 'late'
        when l.used_at is not null then 'used'
        else 'the account has changed' end)
    from (select 1) as one
      left join account_links l on l.token_hash = $5 left join users u on u.id = l.user_id`,
}

const ASK_TO_VERIFY = {
  name: 'ask_to_verify',
  text: `${RECORD}
    select $1, $2, $3, $4, 'email_verification_requested', id, username, null, '{}'
    from users where id = $5 and email_confirmed_at is null`,
}

const ASK_TO_RESET = {
  name: 'ask_to_reset',
  text: 'select request_password_reset($5, $1, $2, $3, $4)',
}

// The new address stands here alone: the record of the event is kept longer than the account may be.
const ASK_TO_CHANGE = {
  name: 'ask_to_change_email',
  text: `
    with account as (
      select id, username, email, email_confirmed_at from users
      where id = $5 and credentials_version = $6 for key share
    ), ended as (
      update account_links l set used_at = $4 from account
      where l.user_id = account.id and l.used_at is null
        and l.kind in ('cancel', 'change-old', 'change-new')
    ), pending as (
      insert into email_changes (user_id, old_email, old_was_confirmed, new_email, requested_at, expires_at)
      select id, email, email_confirmed_at is not null, $7, $4, $8 from account
      on conflict (user_id) do update set (old_email, old_was_confirmed, new_email, requested_at,
          expires_at, old_confirmed_at, new_confirmed_at, ended_at)
        = (excluded.old_email, excluded.old_was_confirmed, excluded.new_email, excluded.requested_at,
          excluded.expires_at, null, null, null)
    ), recorded as (${RECORD}
      select $1, $2, $3, $4::timestamptz, 'email_change_requested', id, username, null, '{}' from account
    )
    select id from account`,
}

/** Its other half is db/migrations/…_mail.ts. */
export function postgresAccountLinks({ query }: Pick<Database, 'query'>): AccountLinks {
  return {
    async confirm(token, requestContext) {
      const values = [...requestContextValues(requestContext), hashOfLink(token)]
      const [done] = await query<{ outcome: Outcome }>(CONFIRM, values)
      return done?.outcome ?? 'refused'
    },

    async cancel(token, requestContext) {
      const values = [...requestContextValues(requestContext), hashOfLink(token)]
      return (await query(CANCEL, values)).length > 0
    },

    async resettable(token, now) {
      type Row = User & Omit<Resettable, 'user'>
      const [row] = await query<Row>(RESETTABLE, [hashOfLink(token), now])
      if (row === undefined) return null
      const { password_hash, credentials_version, ...user } = row
      return { user, password_hash, credentials_version } satisfies Resettable
    },

    async reset(token, { hash, kept }, requestContext) {
      const facts = [hashOfLink(token), hash, kept]
      return (await query(RESET, [...requestContextValues(requestContext), ...facts])).length > 0
    },

    async refuse(token, wanted, requestContext) {
      const facts = [hashOfLink(token), wanted]
      await query(REFUSE, [...requestContextValues(requestContext), ...facts])
    },

    async askToVerify(user_id, requestContext) {
      await query(ASK_TO_VERIFY, [...requestContextValues(requestContext), user_id])
    },

    async askToReset(address, requestContext) {
      await query(ASK_TO_RESET, [...requestContextValues(requestContext), address])
    },

    async askToChange({ user, credentials_version }, address, expires_at, requestContext) {
      const facts = [user.id, credentials_version, address, expires_at]
      const values = [...requestContextValues(requestContext), ...facts]
      return (await query(ASK_TO_CHANGE, values)).length > 0
    },
  }
}

type Outcome = 'confirmed' | 'waiting' | 'taken' | 'refused'
