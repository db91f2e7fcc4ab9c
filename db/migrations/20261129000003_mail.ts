import type { Knex } from 'knex'

// Mails, and the links in them. What is to be mailed is noted by a trigger, in the transaction of the event that it is
// about; the worker sends it. An address is somebody's only once its mailbox has said so (ADR 30).
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table users add column email_confirmed_at timestamptz;
    drop index users_email_key;
    create unique index users_confirmed_email_key on users (lower(email))
      where email_confirmed_at is not null;

    create table mails (
      id bigint generated always as identity primary key,
      -- The same with every try, so that a mailbox can tell a copy.
      message_id uuid not null default gen_random_uuid(),
      -- No reference: the record may expire first.
      security_event_id bigint not null,
      -- The type of that event.
      kind text not null,
      -- Of a change of address: the one of the two that this mail goes to.
      party text check (party in ('old', 'new')),
      -- Null: the account is gone, or nobody has looked yet whether there is one.
      user_id bigint references users on delete cascade,
      -- As of the event: whoever changes it later gets none of this.
      address text not null,
      created_at timestamptz not null,
      tries int not null default 0,
      next_try_at timestamptz not null,
      sent_at timestamptz,
      given_up_at timestamptz,
      -- Of the last try that failed: nothing of the mail.
      why text,
      check (sent_at is null or given_up_at is null)
    );
    create index mails_due on mails (next_try_at) where sent_at is null and given_up_at is null;
    create index mails_of_user on mails (user_id);
    create index mails_to_address on mails (lower(address), kind, sent_at);
    create index mails_by_age on mails (created_at);

    -- Made by the worker when it sends: the token stands in the mail alone.
    create table account_links (
      token_hash bytea primary key check (octet_length(token_hash) = 32),
      kind text not null check (kind in ('verify', 'change-old', 'change-new', 'cancel', 'reset')),
      -- A mail that is sent again has a new link, and the one before is as good: it may have arrived.
      mail_id bigint not null,
      user_id bigint not null references users on delete cascade,
      -- What it is about: of a change, the new one.
      address text not null,
      -- A new password ends links to set one.
      credentials_version int not null,
      created_at timestamptz not null,
      expires_at timestamptz not null,
      used_at timestamptz
    );
    create index account_links_of_user on account_links (user_id, kind);
    create index account_links_by_expiry on account_links (expires_at);

    -- The last change of address that each user has asked for.
    create table email_changes (
      user_id bigint primary key references users on delete cascade,
      old_email text not null,
      -- An address that nobody has confirmed has no say.
      old_was_confirmed boolean not null,
      new_email text not null,
      requested_at timestamptz not null,
      expires_at timestamptz not null,
      old_confirmed_at timestamptz,
      new_confirmed_at timestamptz,
      ended_at timestamptz
    );

    -- The 64 bits of an IPv6 address that one customer has, as src/app/limiting-key.ts.
    create function network_of(ip text) returns text language plpgsql immutable as $$
    begin
      if ip ilike '::ffff:%' then return substr(ip, 8); end if;
      if ip not like '%:%' then return ip; end if;
      return network(set_masklen(split_part(ip, '%', 1)::inet, 64))::text;
    exception when invalid_text_representation then
      return ip;
    end
    $$;

    -- Whether the user has begun a session within 30 days on this device, and one in this network.
    create function is_familiar(p_user_id bigint, p_session_id uuid, p_ip text, p_user_agent text,
      p_at timestamptz) returns boolean language sql stable as $$
      with others as (
        select ip, user_agent from sessions
        where user_id = p_user_id and id <> p_session_id and created_at > p_at - interval '30 days')
      select exists (select from others where user_agent is not distinct from p_user_agent)
        and exists (select from others where network_of(ip) is not distinct from network_of(p_ip))
    $$;

    -- An erased user's address is known only until the row is gone; account_erased is recorded after that.
    create function remember_erased_address() returns trigger
    language plpgsql security definer set search_path = public, pg_temp as $$
    begin
      delete from login_attempts where account = lower(old.email);
      -- What nobody's account is noted with yet, and what was said to that mailbox of other accounts.
      if old.email_confirmed_at is not null then
        delete from mails where lower(address) = lower(old.email)
          and (user_id is null or sent_at is not null);
      end if;
      perform set_config('tasktrail.erased_address',
        case when old.email_confirmed_at is null then '' else old.email end, true);
      return null;
    end
    $$;
    create trigger users_remember_erased_address after delete on users
      for each row execute function remember_erased_address();

    create function mail_of_event() returns trigger
    language plpgsql security definer set search_path = public, pg_temp as $$
    declare
      account record;
      change record;
    begin
      select id, email, email_confirmed_at is not null as is_confirmed into account
        from users where id = new.user_id;
      select * into change from email_changes where user_id = new.user_id;
      insert into mails (security_event_id, kind, party, user_id, address, created_at, next_try_at)
        select new.id, new.type, party, account.id, address, new.occurred_at, new.occurred_at
        from (
          select null as party, nullif(current_setting('tasktrail.erased_address', true), '') as address
            where new.type = 'account_erased'
          union all
          select null, account.email
            where new.type in ('registered', 'email_verification_requested') and not account.is_confirmed
          union all
          select 'old', change.old_email
            where new.type in ('email_change_requested', 'email_changed') and change.old_was_confirmed
          union all
          select 'new', change.new_email
            where new.type in ('email_change_requested', 'email_changed')
          union all
          select null, account.email
            where account.is_confirmed and new.type not in ('account_erased', 'registered',
                'email_verification_requested', 'email_change_requested', 'email_changed')
              and not (new.type = 'login_succeeded' and is_familiar(
                new.user_id, new.session_id, new.ip, new.user_agent, new.occurred_at))
        ) due where address is not null;
      return null;
    end
    $$;

    -- A migration that adds a type of event that means a mail adds a trigger like this one for it.
    create trigger security_events_are_mailed after insert on security_events for each row
      when (new.type in ('registered', 'email_verification_requested', 'email_change_requested',
        'email_changed', 'email_change_cancelled', 'login_succeeded', 'refresh_token_reused',
        'password_changed', 'password_reset', 'role_changed', 'account_erased', 'factor_added',
        'factor_removed', 'recovery_codes_made', 'recovery_code_used'))
      execute function mail_of_event();

    -- Who asks for a new password is nobody yet. The address stands in the mail to be sent alone: the record is kept
    -- longer, and nobody can take it back.
    create function request_password_reset(
      p_address text,
      p_request_id text,
      p_ip text,
      p_user_agent text,
      p_now timestamptz
    ) returns void
    language sql volatile security definer set search_path = public, pg_temp as $$
      with recorded as (
        insert into security_events (request_id, ip, user_agent, occurred_at, type, details)
          values (p_request_id, p_ip, p_user_agent, p_now, 'password_reset_requested', '{}')
          returning id)
      insert into mails (security_event_id, kind, address, created_at, next_try_at)
        select id, 'password_reset_requested', p_address, p_now, p_now from recorded
    $$;

    -- Outcomes: 'confirmed'; 'waiting', for the other of two addresses; 'taken', by an account that has confirmed it before;
    -- 'refused', because this link is not one, or not any more.
    create function confirm_address(
      p_token_hash bytea,
      p_request_id text,
      p_ip text,
      p_user_agent text,
      p_now timestamptz
    ) returns text
    language plpgsql volatile security definer set search_path = public, pg_temp as $$
    declare
      link record;
      account record;
      change record;
      happened text;
      about jsonb := '{}';
    begin
      -- The account's lock first: an erasure takes them in that order. None for a link that is good no more: it would
      -- take longer than a token that is none.
      select users.* into account from users join account_links l on l.user_id = users.id
        where l.token_hash = p_token_hash and l.used_at is null and l.expires_at > p_now
        for no key update of users;
      select * into link from account_links
        where token_hash = p_token_hash and kind in ('verify', 'change-old', 'change-new')
          and used_at is null and expires_at > p_now
        for update;
      if not found then return 'refused'; end if;

      if link.kind = 'verify' then
        if account.email <> link.address then return 'refused'; end if;
        happened := 'email_confirmed';
      else
        select * into change from email_changes
          where user_id = account.id and new_email = link.address and ended_at is null
            and expires_at > p_now
          for update;
        if not found then return 'refused'; end if;
        change.old_confirmed_at := case when link.kind = 'change-old' then p_now
          else change.old_confirmed_at end;
        change.new_confirmed_at := case when link.kind = 'change-new' then p_now
          else change.new_confirmed_at end;
        if link.kind = 'change-new' and exists (
            select from users where lower(email) = lower(link.address) and email_confirmed_at is not null
              and id <> account.id) then
          return 'taken';
        end if;
        if change.new_confirmed_at is not null
            and (change.old_confirmed_at is not null or not change.old_was_confirmed) then
          happened := 'email_changed';
        else
          happened := 'email_change_confirmed';
          about := jsonb_build_object('by', substr(link.kind, 8));
        end if;
      end if;

      if happened <> 'email_change_confirmed' then
        begin
          update users set email = link.address, email_confirmed_at = p_now, updated_at = p_now
            where id = account.id;
        exception when unique_violation then
          return 'taken';
        end;
      end if;
      if link.kind <> 'verify' then
        update email_changes set old_confirmed_at = change.old_confirmed_at,
            new_confirmed_at = change.new_confirmed_at,
            ended_at = case when happened = 'email_changed' then p_now end
          where user_id = account.id;
      end if;
      -- With the address go all links that were sent to the one before.
      update account_links set used_at = p_now
        where user_id = account.id and used_at is null
          and (kind = link.kind or happened = 'email_changed');
      insert into security_events (request_id, ip, user_agent, occurred_at, type, user_id, username, details)
        values (p_request_id, p_ip, p_user_agent, p_now, happened, account.id, account.username, about);
      return case happened when 'email_change_confirmed' then 'waiting' else 'confirmed' end;
    end
    $$;

    -- Removes some of the mails that are 30 days old, and of the links and changes that ended as long ago. Returns how many.
    create function remove_old_mails(p_now timestamptz, p_limit int) returns bigint
    language sql volatile security definer set search_path = public, pg_temp as $$
      with of_mails as (
          delete from mails where id in (
            select id from mails where created_at < p_now - interval '30 days'
              order by created_at limit p_limit for update skip locked)
          returning 1),
        of_links as (
          delete from account_links where token_hash in (
            select token_hash from account_links where expires_at < p_now - interval '30 days'
              order by expires_at limit p_limit for update skip locked)
          returning 1),
        of_changes as (
          delete from email_changes where user_id in (
            select user_id from email_changes where expires_at < p_now - interval '30 days'
              limit p_limit for update skip locked)
          returning 1)
        select (select count(*) from of_mails) + (select count(*) from of_links)
          + (select count(*) from of_changes)
    $$;
    create index email_changes_by_expiry on email_changes (expires_at);

    revoke execute on function network_of, is_familiar, remember_erased_address, mail_of_event,
      request_password_reset, confirm_address, remove_old_mails from public;
    grant execute on function request_password_reset, confirm_address to tasktrail_auth;
    grant select, update (used_at) on account_links to tasktrail_auth;
    grant select, insert, update on email_changes to tasktrail_auth;

    grant execute on function remove_old_mails to tasktrail_worker;
    grant select, delete, update (user_id, tries, next_try_at, sent_at, given_up_at, why) on mails
      to tasktrail_worker;
    grant select, insert, update (used_at) on account_links to tasktrail_worker;
    grant select on email_changes to tasktrail_worker;
    -- Whom it writes to, and whose roles it compares with the log: nothing that lets anybody in.
    grant select (id, username, email, email_confirmed_at, role, credentials_version) on users
      to tasktrail_worker;
  `)
}

// Fails if two accounts have the same address: which of them it is to be, nobody can say here.
export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop trigger security_events_are_mailed on security_events;
    drop trigger users_remember_erased_address on users;
    drop function mail_of_event;
    drop function remember_erased_address;
    drop function is_familiar;
    drop function network_of;
    drop function request_password_reset;
    drop function confirm_address;
    drop function remove_old_mails;
    revoke select (id, username, email, email_confirmed_at, role, credentials_version) on users
      from tasktrail_worker;
    drop table email_changes;
    drop table account_links;
    drop table mails;
    drop index users_confirmed_email_key;
    alter table users drop column email_confirmed_at;
    create unique index users_email_key on users (lower(email));
  `)
}
