import type { Knex } from 'knex'

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table users (
      id bigint generated always as identity primary key,
      username varchar(50) not null,
      email varchar(100) not null,
      password_hash varchar(255) not null,
      credentials_version int not null default 1,
      role text not null default 'user' check (role in ('user', 'auditor', 'admin')),
      created_at timestamptz not null,
      updated_at timestamptz not null
    );
    create unique index users_username_key on users (lower(username));
    create unique index users_email_key on users (lower(email));

    create table sessions (
      id uuid primary key,
      user_id bigint not null references users on delete cascade,
      -- The user's credentials_version at login: the session has ended once that is higher.
      credentials_version int not null,
      created_at timestamptz not null,
      last_used_at timestamptz not null,
      expires_at timestamptz not null,
      ended_at timestamptz,
      ip text,
      user_agent text
    );
    create index sessions_of_user on sessions (user_id, created_at);

    create table login_attempts (
      account text not null,
      ip text not null,
      tries int not null,
      last_try_at timestamptz not null,
      locked_until timestamptz,
      primary key (account, ip)
    );
    create index login_attempts_by_age on login_attempts (last_try_at);

    -- No reference to users: the record stays when an account is erased.
    create table security_events (
      id bigint generated always as identity primary key,
      type text not null,
      user_id bigint,
      username text,
      session_id uuid,
      ip text,
      user_agent text,
      request_id text,
      details jsonb not null,
      occurred_at timestamptz not null,
      recorded_at timestamptz not null default clock_timestamp()
    );
    create index security_events_of_user on security_events (user_id, id);
    create trigger security_events_are_append_only
      before update or delete or truncate on security_events
      for each statement execute function refuse_change();
    alter table security_events enable always trigger security_events_are_append_only;

    grant usage on schema public to tasktrail_auth;
    grant select, insert on users to tasktrail_auth;
    grant update (password_hash, credentials_version, role, updated_at) on users to tasktrail_auth;
    grant select, insert, delete on sessions to tasktrail_auth;
    grant update (last_used_at, ended_at) on sessions to tasktrail_auth;
    grant select, insert, update, delete on login_attempts to tasktrail_auth;
    -- Only the database sets the time of recording.
    grant insert (type, user_id, username, session_id, ip, user_agent, request_id, details, occurred_at)
      on security_events to tasktrail_auth;
    grant select on security_events to tasktrail_auditor;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop table security_events;
    drop table login_attempts;
    drop table sessions;
    drop table users;
    revoke usage on schema public from tasktrail_auth;
  `)
}
