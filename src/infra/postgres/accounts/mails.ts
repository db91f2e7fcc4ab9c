import type { DueMail, MailCounts, Outbox } from '../../../app/ports/mails.ts'
import { hashOfLink, newLinkToken } from '../../credentials/link-tokens.ts'
import type { Database } from '../connection/database.ts'

/** In one round; they are sent at the same time. */
const AT_ONCE = 10
const LOOKED_AT = 100
const REMOVED_AT_ONCE = 1_000

const ACCOUNT = `
  jsonb_build_object('id', id, 'username', username, 'email', email,
    'email_confirmed', email_confirmed_at is not null, 'credentials_version', credentials_version)`

// One for each address, so that what it got lately is known of every one.
const DUE = {
  name: 'due_mails',
  text: `
    select m.id, m.message_id, m.kind, m.party, m.address, m.created_at, m.tries,
      (select jsonb_build_object('username', username, 'ip', ip, 'user_agent', user_agent,
          'occurred_at', occurred_at, 'details', details)
        from security_events where id = m.security_event_id) as event,
      (select ${ACCOUNT} from users where id = m.user_id) as account,
      (select ${ACCOUNT} from users
        where lower(email) = lower(m.address) and email_confirmed_at is not null) as holder,
      (select jsonb_build_object('old_email', old_email, 'new_email', new_email, 'expires_at', expires_at)
        from email_changes where user_id = m.user_id and ended_at is null and expires_at > $1) as change,
      (select count(*) from mails o
        where lower(o.address) = lower(m.address) and o.kind = m.kind
          and o.sent_at > $1::timestamptz - interval '1 hour') as sent_lately
    from (
      select distinct on (lower(address)) * from (
        select * from mails
        where next_try_at <= $1 and sent_at is null and given_up_at is null
        order by next_try_at limit ${LOOKED_AT}) first
      order by lower(address), next_try_at, id) m
    order by m.next_try_at, m.id limit ${AT_ONCE}`,
}
const MAKE_LINK = {
  name: 'make_account_link',
  text: `
    with ended as (
      update account_links set used_at = $9
      where user_id = $4 and kind = $3 and mail_id < $2 and used_at is null
    ), known as (
      update mails set user_id = $4 where id = $2 and user_id is null)
    insert into account_links (token_hash, mail_id, kind, user_id, address, credentials_version,
      expires_at, created_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8)`,
}
const SENT = {
  name: 'mail_sent',
  text: 'update mails set sent_at = $2, tries = tries + 1, why = null where id = $1',
}
const POSTPONED = {
  name: 'mail_postponed',
  text: 'update mails set next_try_at = $2, tries = tries + 1, why = $3 where id = $1',
}
const GIVEN_UP = {
  name: 'mail_given_up',
  text: 'update mails set given_up_at = $2, tries = tries + 1, why = $3 where id = $1',
}
const GIVE_UP_OLDER = {
  name: 'give_up_older_mails',
  text: `
    update mails set given_up_at = $2, why = coalesce(why, 'nobody could send it in time')
    where sent_at is null and given_up_at is null and created_at < $1 returning id`,
}
const DROP = { name: 'drop_mail', text: 'delete from mails where id = $1' }
const COUNTS = {
  name: 'count_mails',
  text: `
    select (select count(*) from mails where sent_at is null and given_up_at is null) as waiting,
      coalesce(extract(epoch from $1::timestamptz - (
        select min(created_at) from mails where sent_at is null and given_up_at is null)), 0)::float8
        as oldest_seconds`,
}
const REMOVE_OLD = { name: 'remove_old_mails', text: 'select remove_old_mails($1, $2) as removed' }

/** Its other half is db/migrations/…_mail.ts. */
export function postgresOutbox({ query }: Pick<Database, 'query'>): Outbox {
  return {
    due: (now) => query<DueMail>(DUE, [now]),

    async makeLink(mail_id, { kind, account, address, expires_at }, now) {
      const token = newLinkToken()
      const { id, credentials_version } = account
      const facts = [kind, id, address, credentials_version, expires_at, now]
      await query(MAKE_LINK, [hashOfLink(token), mail_id, ...facts, now])
      return token
    },

    async sent(id, now) {
      await query(SENT, [id, now])
    },

    async postponed(id, until, why) {
      await query(POSTPONED, [id, until, why])
    },

    async givenUp(id, why, now) {
      await query(GIVEN_UP, [id, now, why])
    },

    giveUpOlder: async (then, now) => (await query(GIVE_UP_OLDER, [then, now])).length,

    async dropped(id) {
      await query(DROP, [id])
    },

    async counts(now) {
      const [counts] = await query<MailCounts>(COUNTS, [now])
      return counts as MailCounts
    },

    async removeOld(now) {
      const [done] = await query<{ removed: number }>(REMOVE_OLD, [now, REMOVED_AT_ONCE])
      return done?.removed ?? 0
    },
  }
}
