import type { Knex } from 'knex'

// Erasing a user: one call destroys the key, ends the account and says so in the log; then the rows
// that hold texts in the clear go in small steps, so that no number of tasks is too many. What a
// crash leaves of them the worker removes.
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- False: there is no such user, or the password has changed since it was checked.
    create function erase_user(
      p_user_id bigint,
      p_credentials_version int,
      p_event_id uuid,
      p_hash bytea,
      p_schema_version int,
      p_metadata jsonb,
      p_occurred_at timestamptz,
      p_ip text,
      p_user_agent text,
      p_request_id text
    ) returns boolean
    language plpgsql volatile security definer set search_path = public, pg_temp as $$
    declare
      erased_name text;
      appended text;
    begin
      perform pg_advisory_xact_lock((21588::bigint << 48) | p_user_id);
      delete from users where id = p_user_id and credentials_version = p_credentials_version
        returning username into erased_name;
      if not found then
        return false;
      end if;
      delete from login_attempts where account = lower(erased_name);
      insert into user_keys (user_id, destroyed_at) values (p_user_id, p_occurred_at)
        on conflict (user_id) do update
          set wrapped_key = null, wrapped_by = null, destroyed_at = excluded.destroyed_at;
      select outcome into appended from append_events('user-' || p_user_id, 'user', 0, null,
        p_schema_version, array[p_event_id], array['UserErased'], array['{}'::jsonb], array[p_hash],
        p_user_id, p_metadata, p_occurred_at, null, null, null);
      if appended <> 'appended' then
        raise exception 'the erasure of user % was not appended: %', p_user_id, appended;
      end if;
      insert into security_events (request_id, ip, user_agent, occurred_at, type, user_id, username,
          session_id, details)
        values (p_request_id, p_ip, p_user_agent, p_occurred_at, 'account_erased', p_user_id,
          erased_name, null, '{}');
      return true;
    end
    $$;

    -- Removes up to 1,000 rows of each kind that hold texts of erased users; how many there were. In
    -- order, so that two that remove at the same time do not deadlock: one waits, and goes on from
    -- there.
    create function remove_erased_rows() returns bigint
    language sql volatile security definer set search_path = public, pg_temp as $$
      with erased as (
        select user_id from user_keys where destroyed_at is not null
      ), removed_tasks as (
        delete from tasks where id in (
          select t.id from erased join tasks t using (user_id)
          order by t.id limit 1000 for update of t) returning 1
      ), removed_commands as (
        delete from commands where (actor_id, key) in (
          select c.actor_id, c.key from erased join commands c on c.actor_id = erased.user_id
          order by c.actor_id, c.key limit 1000 for update of c) returning 1
      )
      select (select count(*) from removed_tasks) + (select count(*) from removed_commands)
    $$;

    create index user_keys_destroyed on user_keys (user_id) where destroyed_at is not null;
    create index tasks_of_user on tasks (user_id);

    revoke execute on function erase_user, remove_erased_rows from public;
    grant execute on function erase_user, remove_erased_rows to tasktrail_auth;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop function erase_user;
    drop function remove_erased_rows;
    drop index user_keys_destroyed;
    drop index tasks_of_user;
  `)
}
