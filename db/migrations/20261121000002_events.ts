import type { Knex } from 'knex'

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table streams (
      stream_id text primary key,
      stream_type text not null,
      version bigint not null check (version > 0),
      head_hash bytea not null check (octet_length(head_hash) = 32),
      -- What its events are of, for versions of the services that may not know all of it.
      event_types text[] not null,
      schema_version int not null
    );

    -- Cache 1 (the default, stated because readers rely on it): a session that drew positions in advance
    -- would write below positions that readers have passed.
    create table events (
      position bigint generated always as identity (cache 1) primary key,
      stream_id text not null,
      version bigint not null,
      event_id uuid not null unique,
      type text not null,
      schema_version int not null,
      data jsonb not null,
      actor_id bigint not null,
      metadata jsonb not null,
      occurred_at timestamptz not null,
      -- One time under both names; the database sets it and the hash covers it.
      recorded_at timestamptz not null generated always as (occurred_at) stored,
      prev_hash bytea check (octet_length(prev_hash) = 32),
      hash bytea not null check (octet_length(hash) = 32),
      unique (stream_id, version)
    );
    -- Each user's own changes in log order.
    create index events_of_actor on events (actor_id, position);
    -- Which event set a field last, in a task of many versions. The first 200 are read without it, so that an
    -- append to any other task does not pay for it.
    create index events_set_late on events (stream_id, type, version) where version > 200;

    create function refuse_change() returns trigger language plpgsql as $$
    begin
      raise exception '% is append-only: % refused', tg_table_name, tg_op
        using errcode = 'insufficient_privilege';
    end
    $$;

    create trigger events_are_append_only
      before update or delete or truncate on events
      for each statement execute function refuse_change();
    -- Even when a replica or a restore fires only "always" triggers.
    alter table events enable always trigger events_are_append_only;

    -- The key that a user's texts are encrypted with, wrapped by a key that is not in the database. Null:
    -- destroyed, and every text with it. The row stays, so that no new key is created.
    create table user_keys (
      user_id bigint primary key,
      wrapped_key bytea,
      wrapped_by text,
      created_at timestamptz not null default clock_timestamp(),
      destroyed_at timestamptz,
      check ((wrapped_key is null) = (destroyed_at is not null)),
      check ((wrapped_key is null) = (wrapped_by is null))
    );

    -- What was done under a client's Idempotency-Key: its answer is that stream at that version.
    create table commands (
      actor_id bigint not null,
      key text not null,
      fingerprint bytea not null,
      stream_id text not null,
      version bigint not null,
      expires_at timestamptz not null,
      primary key (actor_id, key)
    );
    create index commands_by_expiry on commands (expires_at);

    -- How much each user has stored, as far as the worker has counted (src/infra/postgres/audit/audit-projection.ts):
    -- tasks that are not deleted, and what their events take.
    create table user_usage (
      user_id bigint primary key,
      tasks bigint not null,
      bytes bigint not null
    ) with (fillfactor = 50);

    -- Those who have many answers in commands, and how many.
    create table keyed_answers (
      user_id bigint primary key,
      answers bigint not null
    );
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop table keyed_answers;
    drop table user_usage;
    drop table commands;
    drop table user_keys;
    drop table events;
    drop table streams;
    drop function refuse_change();
  `)
}
