import type { Knex } from 'knex'

// Who an account is at other identity providers, and sign-ins that a browser has gone there for.
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- Null: the account has no password, and is signed in to by another provider alone.
    alter table users alter column password_hash drop not null;

    create table identities (
      issuer text not null,
      -- The provider's own name of somebody, which it never gives to anybody else.
      subject text not null,
      user_id bigint not null references users on delete cascade,
      -- As the configuration called it when the identity was linked.
      provider text not null,
      linked_at timestamptz not null,
      primary key (issuer, subject),
      constraint identities_of_user unique (user_id, provider)
    );

    create table provider_sign_ins (
      -- SHA-256: whoever reads the table can complete nobody's sign-in.
      state_hash bytea primary key,
      browser_hash bytea not null,
      provider text not null,
      redirect_uri text not null,
      nonce text not null,
      verifier text not null,
      begun_at timestamptz not null,
      -- Only of somebody who is signed in, and links an identity to their account.
      session_id uuid references sessions on delete cascade,
      in_cookies boolean not null
    );
    create index provider_sign_ins_by_age on provider_sign_ins (begun_at);
    create index provider_sign_ins_of_session on provider_sign_ins (session_id);

    -- With IDENTITY=cognito. Codes that logins wait for, encrypted with the token that was given to whoever logs in;
    -- and by what the pool is asked, at each refresh of a session, whether it still lets its user in.
    create table pool_challenges (
      token_hash bytea primary key,
      sealed bytea not null,
      asked_at timestamptz not null
    );
    create index pool_challenges_by_age on pool_challenges (asked_at);
    create table pool_sessions (
      session_id uuid primary key references sessions on delete cascade,
      username text not null,
      sealed_refresh_token bytea not null
    );

    -- Takes an identity from an account: 'unlinked', 'unknown', or 'last', if nothing else would let its user
    -- in: no password, and no identity at a provider that there still is. Of two at once one waits for the other, and
    -- then sees what is left.
    create function unlink_identity(
      p_user_id bigint,
      p_provider text,
      p_providers text[],
      p_request_id text,
      p_ip text,
      p_user_agent text,
      p_now timestamptz
    ) returns text
    language plpgsql volatile set search_path = public, pg_temp as $$
    declare
      owner record;
    begin
      select username, password_hash is not null as has_password into owner
        from users where id = p_user_id for no key update;
      if not exists (select from identities where user_id = p_user_id and provider = p_provider) then
        return 'unknown';
      end if;
      if not owner.has_password and not exists (
          select from identities where user_id = p_user_id and provider <> p_provider
            and provider = any (p_providers)) then
        return 'last';
      end if;
      delete from identities where user_id = p_user_id and provider = p_provider;
      insert into security_events
          (request_id, ip, user_agent, occurred_at, type, user_id, username, session_id, details)
        values (p_request_id, p_ip, p_user_agent, p_now, 'identity_unlinked', p_user_id, owner.username,
          null, jsonb_build_object('provider', p_provider));
      return 'unlinked';
    end
    $$;
    revoke execute on function unlink_identity from public;

    -- Not of a new account, whose owner has just made it.
    create trigger identity_changes_are_mailed after insert on security_events for each row
      when (new.type = 'identity_unlinked'
        or (new.type = 'identity_linked' and new.session_id is not null))
      execute function mail_of_event();

    grant select, insert, delete on identities to tasktrail_auth;
    grant select, insert, delete on provider_sign_ins to tasktrail_auth;
    -- So that they can be locked.
    grant update (begun_at) on provider_sign_ins to tasktrail_auth;
    grant select, insert, delete on pool_challenges to tasktrail_auth;
    grant update (asked_at) on pool_challenges to tasktrail_auth;
    grant select, insert on pool_sessions to tasktrail_auth;
    grant execute on function unlink_identity to tasktrail_auth;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop trigger identity_changes_are_mailed on security_events;
    drop function unlink_identity;
    drop table pool_sessions;
    drop table pool_challenges;
    drop table provider_sign_ins;
    drop table identities;
    -- An account without a password cannot be without its identities: nobody could sign in to it. It gets a hash that
    -- no password has.
    update users set password_hash = '' where password_hash is null;
    alter table users alter column password_hash set not null;
  `)
}
