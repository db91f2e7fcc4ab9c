import type { Knex } from 'knex'

// Views that the worker updates behind the log. A checkpoint moves in the transaction that writes what it
// covers, and only from where the writer expects it: of two writers one aborts.
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table projections (
      name text primary key,
      position bigint not null default 0,
      state text not null default 'live' check (state in ('live', 'rebuilding', 'parked')),
      updated_at timestamptz not null default clock_timestamp()
    );

    -- A stream that a projection cannot process waits here from its first bad event on; the others continue
    -- without it.
    create table parked_streams (
      projection text not null,
      stream_id text not null,
      position bigint not null,
      version bigint not null,
      error text not null,
      parked_at timestamptz not null default clock_timestamp(),
      primary key (projection, stream_id)
    );

    -- One row per event, made for audit queries. Texts in changes are encrypted, as in the log. task_id is
    -- null for an event of a user.
    create table audit_events (
      position bigint primary key,
      task_id bigint,
      user_id bigint not null,
      version bigint not null,
      type text not null,
      actor_id bigint not null,
      occurred_at timestamptz not null,
      recorded_at timestamptz not null,
      request_id text not null,
      changes jsonb not null,
      undoes bigint[],
      hash bytea not null
    );
    -- Each leads to a page by position, see src/infra/postgres/audit/audit-query.ts. "Nulls first" makes
    -- their order differ from the primary key's, which the planner would otherwise walk in the hope of soon
    -- finding a match. Users change their own tasks: the index of those rows serves user and actor alike,
    -- and the three for others' changes stay empty as long as nobody may make any. "Is true", because the
    -- planner takes a plain equation apart and then does not find it in the index. Times need no index:
    -- they are found by bisecting the primary key.
    create index audit_events_of_own on audit_events (user_id, type, position nulls first)
      where (actor_id = user_id) is true;
    create index audit_events_of_others
      on audit_events (user_id, actor_id, type, position nulls first)
      where (actor_id = user_id) is not true;
    create index audit_events_of_user on audit_events (user_id, type, position nulls first)
      where (actor_id = user_id) is not true;
    create index audit_events_of_actor on audit_events (actor_id, type, position nulls first)
      where (actor_id = user_id) is not true;
    create index audit_events_of_users on audit_events (user_id) where task_id is null;
    create index audit_events_of_task on audit_events (task_id, position nulls first);
    create index audit_events_of_type on audit_events (type, position nulls first);
    create index audit_events_of_request on audit_events (request_id, position nulls first);

    -- The values of each stream as far as audit_events goes: the next event's "from".
    create table audit_facts (
      stream_id text primary key,
      facts jsonb not null
    ) with (fillfactor = 80);

    -- Who viewed or exported the audit trail.
    create table audit_accesses (
      id bigint generated always as identity primary key,
      kind text not null check (kind in ('looked', 'exported')),
      user_id bigint not null,
      role text not null,
      session_id uuid,
      ip text,
      request_id text not null,
      query jsonb not null,
      accessed_at timestamptz not null,
      recorded_at timestamptz not null default clock_timestamp()
    );
    create index audit_accesses_of_user on audit_accesses (user_id, id);
    create trigger audit_accesses_are_append_only
      before update or delete or truncate on audit_accesses
      for each statement execute function refuse_change();
    alter table audit_accesses enable always trigger audit_accesses_are_append_only;

    insert into projections (name) values ('audit');

    grant usage on schema public to tasktrail_worker;
    grant select on streams, events, tasks, user_keys to tasktrail_worker;
    grant update (wrapped_key, wrapped_by) on user_keys to tasktrail_worker;
    grant execute on function safe_position, last_position, remove_erased_rows, drop_rebuild_remains,
      remove_expired_answers, count_keyed_answers to tasktrail_worker;
    grant select, insert, update on projections to tasktrail_worker;
    grant select, insert, update, delete on parked_streams, audit_events, audit_facts, user_usage
      to tasktrail_worker;
    grant select on audit_events, projections to tasktrail_task, tasktrail_auditor;
    grant select (projection, stream_id, version) on parked_streams
      to tasktrail_task, tasktrail_auditor;
    -- Only the database sets the time of recording.
    grant insert (kind, user_id, role, session_id, ip, request_id, query, accessed_at)
      on audit_accesses to tasktrail_task;
    grant select on audit_accesses to tasktrail_auditor;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop table audit_accesses;
    drop table audit_facts;
    drop table audit_events;
    drop table parked_streams;
    drop table projections;
    revoke all on streams, events, tasks, user_keys from tasktrail_worker;
    revoke execute on function safe_position, last_position, remove_erased_rows, drop_rebuild_remains,
      remove_expired_answers, count_keyed_answers from tasktrail_worker;
    revoke all on user_usage from tasktrail_worker;
    revoke usage on schema public from tasktrail_worker;
  `)
}
