import type { Knex } from 'knex'

// What users and admins change of an account. The functions write the record with the change: the service has no right
// to make one without the other.
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- Nobody can log in as long as it has a time.
    alter table users
      add column locked_at timestamptz,
      add column lock_reason text,
      add constraint locked_with_reason check ((locked_at is null) = (lock_reason is null));
    create index users_locked on users (id) where locked_at is not null;

    -- One who is locked helps nobody.
    create or replace function other_admin(p_user_id bigint) returns boolean
    language sql stable set search_path = public, pg_temp as $$
      select exists (select from users where role = 'admin' and locked_at is null and id <> p_user_id)
    $$;

    -- Each run of one, two and three characters of username and email, for searching.
    create function user_ngrams(p_username text, p_email text) returns text[]
    language sql immutable parallel safe as $$
      select array(
        select distinct substr(name, at, size)
        from unnest(array[lower(p_username), lower(p_email)]) name, generate_series(1, 3) size,
          generate_series(1, length(name) - size + 1) at)
    $$;
    revoke execute on function user_ngrams from public;
    grant execute on function user_ngrams to tasktrail_auth;
    create index users_by_ngrams on users using gin (user_ngrams(username, email));

    -- What is counted of failed tries moves with the account: a new name gives no new tries. Does nothing if the name
    -- is the same. A name that is taken breaks users_username_key.
    create function rename_user(
      p_request_id text, p_ip text, p_user_agent text, p_now timestamptz,
      p_user_id bigint, p_username text
    ) returns void
    language plpgsql volatile security definer set search_path = public, pg_temp as $$
    declare
      before text;
    begin
      select username into before from users where id = p_user_id for no key update;
      if not found or before = p_username then
        return;
      end if;
      update users set username = p_username, updated_at = p_now where id = p_user_id;
      if lower(before) <> lower(p_username) then
        with moved as (
          delete from login_attempts where account = lower(before)
          returning ip, tries, last_try_at, locked_until
        )
        insert into login_attempts as a (account, ip, tries, last_try_at, locked_until)
          select lower(p_username), ip, tries, last_try_at, locked_until from moved
          on conflict (account, ip) do update set
            tries = greatest(a.tries, excluded.tries),
            last_try_at = greatest(a.last_try_at, excluded.last_try_at),
            locked_until = greatest(a.locked_until, excluded.locked_until);
      end if;
      insert into security_events
          (request_id, ip, user_agent, occurred_at, type, user_id, username, session_id, details)
        values (p_request_id, p_ip, p_user_agent, p_now, 'username_changed', p_user_id, p_username, null,
          jsonb_build_object('from', before, 'to', p_username));
    end
    $$;

    -- Ends every session, and lets nobody log in. Outcomes: "locked", also if it was; "not_found"; "admins_only" (who
    -- does it is no admin any more). Nobody locks themselves, so an admin who can log in is left.
    create function lock_user(
      p_request_id text, p_ip text, p_user_agent text, p_now timestamptz,
      p_user_id bigint, p_by bigint, p_reason text
    ) returns text
    language plpgsql volatile security definer set search_path = public, pg_temp as $$
    declare
      target users;
    begin
      -- As roles change, one after the other: also two admins who lock each other.
      perform pg_advisory_xact_lock(21594::bigint << 48);
      if p_by = p_user_id
          or not exists (select from users where id = p_by and role = 'admin' and locked_at is null) then
        return 'admins_only';
      end if;
      select * into target from users where id = p_user_id for no key update;
      if not found then
        return 'not_found';
      end if;
      if target.locked_at is not null then
        return 'locked';
      end if;
      update users set locked_at = p_now, lock_reason = p_reason, updated_at = p_now,
          credentials_version = credentials_version + 1
        where id = p_user_id;
      insert into security_events
          (request_id, ip, user_agent, occurred_at, type, user_id, username, session_id, details)
        values (p_request_id, p_ip, p_user_agent, p_now, 'account_locked', p_user_id, target.username, null,
          jsonb_build_object('by', p_by, 'reason', p_reason));
      return 'locked';
    end
    $$;

    create function unlock_user(
      p_request_id text, p_ip text, p_user_agent text, p_now timestamptz,
      p_user_id bigint, p_by bigint, p_reason text
    ) returns void
    language plpgsql volatile security definer set search_path = public, pg_temp as $$
    declare
      name text;
    begin
      update users set locked_at = null, lock_reason = null, updated_at = p_now
        where id = p_user_id and locked_at is not null returning username into name;
      if not found then
        return;
      end if;
      insert into security_events
          (request_id, ip, user_agent, occurred_at, type, user_id, username, session_id, details)
        values (p_request_id, p_ip, p_user_agent, p_now, 'account_unlocked', p_user_id, name, null,
          jsonb_build_object('by', p_by, 'reason', p_reason));
    end
    $$;

    create trigger administration_is_mailed after insert on security_events for each row
      when (new.type in ('username_changed', 'account_locked', 'account_unlocked'))
      execute function mail_of_event();

    revoke execute on function rename_user, lock_user, unlock_user from public;
    grant execute on function rename_user, lock_user, unlock_user to tasktrail_auth;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop trigger administration_is_mailed on security_events;
    create or replace function other_admin(p_user_id bigint) returns boolean
    language sql stable set search_path = public, pg_temp as $$
      select exists (select from users where role = 'admin' and id <> p_user_id)
    $$;
    drop function rename_user;
    drop function lock_user;
    drop function unlock_user;
    drop index users_by_ngrams;
    drop function user_ngrams;
    alter table users drop column locked_at, drop column lock_reason;
  `)
}
