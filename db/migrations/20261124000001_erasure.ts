import type { Knex } from 'knex'

// Erasing a user: one call destroys the key, ends the account and records it in the log. Then the rows of
// the tasks are deleted in small steps, so that no number of tasks is too many. The worker removes what
// the request leaves.
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- False: there is no such user, or the password has changed since it was checked.
    create function erase_user(
      p_user_id bigint,
      p_credentials_version int,
      p_event_id uuid,
      p_schema_version int,
      p_metadata text,
      p_ip text,
      p_user_agent text,
      p_request_id text
    ) returns boolean
    language plpgsql volatile security definer set search_path = public, pg_temp as $$
    declare
      erased_name text;
      erased_at timestamptz;
      event_hash bytea;
    begin
      perform pg_advisory_xact_lock(owner_lock(p_user_id));
      delete from users where id = p_user_id and credentials_version = p_credentials_version
        returning username into erased_name;
      if not found then
        return false;
      end if;
      delete from login_attempts where account = lower(erased_name);
      perform lay_beacon();
      erased_at := date_trunc('milliseconds', clock_timestamp());
      event_hash := event_hash(null, 'user-' || p_user_id, 1, p_event_id, 'UserErased',
        p_schema_version, '{}', p_user_id, p_metadata, erased_at);
      insert into streams (stream_id, stream_type, version, head_hash, event_types, schema_version)
        values ('user-' || p_user_id, 'user', 1, event_hash, '{UserErased}', p_schema_version);
      insert into events (stream_id, version, event_id, type, schema_version, data, actor_id,
          metadata, occurred_at, hash)
        values ('user-' || p_user_id, 1, p_event_id, 'UserErased', p_schema_version, '{}',
          p_user_id, p_metadata::jsonb, erased_at, event_hash);
      insert into user_keys (user_id, destroyed_at) values (p_user_id, erased_at)
        on conflict (user_id) do update
          set wrapped_key = null, wrapped_by = null, destroyed_at = excluded.destroyed_at;
      insert into security_events (request_id, ip, user_agent, occurred_at, type, user_id, username,
          session_id, details)
        values (p_request_id, p_ip, p_user_agent, erased_at, 'account_erased', p_user_id,
          erased_name, null, '{}');
      return true;
    end
    $$;

    -- When nothing was left of an erased user: from then on nobody looks again.
    alter table user_keys add column rows_removed_at timestamptz;
    create index user_keys_rows_left on user_keys (user_id)
      where destroyed_at is not null and rows_removed_at is null;
    create index user_keys_destroyed on user_keys (user_id) where destroyed_at is not null;
    -- Every list's index leads to the tasks that are not deleted. An index on all of a user's tasks would
    -- tempt the planner to read them all for a page.
    create index deleted_tasks_of_user on tasks (user_id) where deleted_at is not null;

    -- Removes up to 1,000 rows of each kind that hold texts of this user, if erased; returns how many.
    -- Only the log says who is erased: a key alone may have been destroyed without permission. Zero is
    -- recorded, because no more can come: appends before the key was destroyed have ended, so each
    -- statement below sees their rows, and later ones are refused. One user's rows are few among many,
    -- even if statistics say otherwise: never use a scan.
    create function remove_erased_rows(p_user_id bigint) returns bigint
    language plpgsql volatile security definer
    set search_path = public, pg_temp set enable_seqscan = off as $$
    declare
      removed_tasks bigint;
      removed_commands bigint;
    begin
      -- Of two concurrent removals one waits, and continues from there.
      perform from user_keys
        where user_id = p_user_id and destroyed_at is not null and rows_removed_at is null
          and exists (
            select from events where stream_id = 'user-' || p_user_id and type = 'UserErased')
        for update;
      if not found then
        return 0;
      end if;
      delete from tasks where id in (
        (select id from tasks where user_id = p_user_id and deleted_at is null limit 1000)
        union all
        (select id from tasks where user_id = p_user_id and deleted_at is not null limit 1000)
        limit 1000);
      get diagnostics removed_tasks = row_count;
      delete from commands where (actor_id, key) in (
        select actor_id, key from commands where actor_id = p_user_id limit 1000);
      get diagnostics removed_commands = row_count;
      if removed_tasks + removed_commands = 0 then
        update user_keys set rows_removed_at = clock_timestamp() where user_id = p_user_id;
      end if;
      return removed_tasks + removed_commands;
    end
    $$;

    -- Drops what a killed rebuild of tasks has left
    -- (src/infra/postgres/projections/rebuild/shadow-tables.ts): it holds rows, perhaps of users
    -- erased since. A running rebuild holds the lock. True if there was something.
    create function drop_rebuild_remains() returns boolean
    language plpgsql volatile security definer set search_path = public, pg_temp as $$
    begin
      if to_regclass('tasks_rebuild') is null and to_regclass('tasks_replaced') is null then
        return false;
      end if;
      if not pg_try_advisory_xact_lock(
          (21590::bigint << 48) | (hashtext('tasks')::bigint & 4294967295)) then
        return false;
      end if;
      drop table if exists tasks_rebuild, tasks_replaced;
      delete from projections where name = 'tasks_rebuild';
      return true;
    end
    $$;

    revoke execute on function erase_user, remove_erased_rows, drop_rebuild_remains from public;
    grant execute on function erase_user, remove_erased_rows to tasktrail_auth;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop function erase_user;
    -- Of roles_in_log, which replaces the one above by one that calls it.
    drop function if exists append_user_event;
    drop function remove_erased_rows;
    drop function drop_rebuild_remains;
    drop index deleted_tasks_of_user;
    drop index user_keys_destroyed;
    alter table user_keys drop column rows_removed_at;
  `)
}
