import type { Knex } from 'knex'

// A role changes by an event in the stream of its user, so it is chained, in the tree and in the trail, as what
// happens to tasks is (ADR 33). users.role follows the log: the database takes no role there that the log does not give.
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- Appends to the stream of a user, whose owner_lock the caller holds exclusively; returns the event's time.
    -- p_data and p_metadata are canonical JSON.
    create or replace function append_user_event(
      p_user_id bigint,
      p_event_id uuid,
      p_type text,
      p_schema_version int,
      p_data text,
      p_actor_id bigint,
      p_metadata text
    ) returns timestamptz
    language plpgsql volatile set search_path = public, pg_temp as $$
    declare
      id text := 'user-' || p_user_id;
      head record;
      event_time timestamptz;
      new_hash bytea;
    begin
      select s.version, s.head_hash, e.occurred_at into head
        from streams s join events e on e.stream_id = s.stream_id and e.version = s.version
        where s.stream_id = id;
      perform lay_beacon();
      event_time := greatest(date_trunc('milliseconds', clock_timestamp()), head.occurred_at);
      new_hash := event_hash(head.head_hash, id, coalesce(head.version, 0) + 1, p_event_id, p_type, p_schema_version,
        p_data, p_actor_id, p_metadata, event_time);
      insert into streams as s (stream_id, stream_type, version, head_hash, event_types, schema_version)
        values (id, 'user', 1, new_hash, array[p_type], p_schema_version)
        on conflict (stream_id) do update set version = s.version + 1, head_hash = new_hash,
          event_types = case when p_type = any (s.event_types) then s.event_types else s.event_types || p_type end,
          schema_version = greatest(s.schema_version, p_schema_version);
      insert into events (stream_id, version, event_id, type, schema_version, data, actor_id, metadata, occurred_at,
          prev_hash, hash)
        values (id, coalesce(head.version, 0) + 1, p_event_id, p_type, p_schema_version, p_data::jsonb, p_actor_id,
          p_metadata::jsonb, event_time, head.head_hash, new_hash);
      return event_time;
    end
    $$;

    create or replace function erase_user(
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
    begin
      perform pg_advisory_xact_lock(owner_lock(p_user_id));
      delete from users where id = p_user_id and credentials_version = p_credentials_version
        returning username into erased_name;
      if not found then
        return false;
      end if;
      delete from login_attempts where account = lower(erased_name);
      erased_at := append_user_event(
        p_user_id, p_event_id, 'UserErased', p_schema_version, '{}', p_user_id, p_metadata);
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

    create or replace function photos_erased(
      p_user_id bigint,
      p_event_id uuid,
      p_schema_version int,
      p_metadata text
    ) returns boolean
    language plpgsql volatile security definer set search_path = public, pg_temp as $$
    begin
      perform pg_advisory_xact_lock(owner_lock(p_user_id));
      if not exists (
            select from streams where stream_id = 'user-' || p_user_id and 'UserErased' = any (event_types))
          or not exists (select from photos where user_id = p_user_id)
          or exists (select from photos where user_id = p_user_id and upload_ends_at > clock_timestamp()) then
        return false;
      end if;
      delete from photos where user_id = p_user_id;
      perform append_user_event(
        p_user_id, p_event_id, 'UserPhotosErased', p_schema_version, '{}', p_user_id, p_metadata);
      return true;
    end
    $$;

    -- Whether somebody else could still give roles.
    create function other_admin(p_user_id bigint) returns boolean
    language sql stable set search_path = public, pg_temp as $$
      select exists (select from users where role = 'admin' and id <> p_user_id)
    $$;
    revoke execute on function other_admin from public;

    -- Outcomes: 'changed'; 'unchanged' (the user has the role); 'user_not_found'; 'admins_only' (the actor is no admin
    -- any more); 'last_admin'; with p_only_first 'not_first' (there is an admin). Actor 0 is an operator. Roles change
    -- one after the other: what this finds out about who is an admin holds until it has committed.
    create function change_role(
      p_user_id bigint,
      p_role text,
      p_actor_id bigint,
      p_only_first boolean,
      p_event_id uuid,
      p_schema_version int,
      p_metadata text,
      p_ip text,
      p_user_agent text,
      p_request_id text
    ) returns text
    language plpgsql volatile security definer set search_path = public, pg_temp as $$
    declare
      name text;
      old_role text;
      changed_at timestamptz;
    begin
      perform pg_advisory_xact_lock(21594::bigint << 48);
      perform pg_advisory_xact_lock(owner_lock(p_user_id));
      if p_actor_id <> 0 and not exists (select from users where id = p_actor_id and role = 'admin') then
        return 'admins_only';
      end if;
      select username, role into name, old_role from users where id = p_user_id;
      if not found then
        return 'user_not_found';
      end if;
      if old_role = p_role then
        return 'unchanged';
      end if;
      if p_only_first and exists (select from users where role = 'admin') then
        return 'not_first';
      end if;
      if old_role = 'admin' and not other_admin(p_user_id) then
        return 'last_admin';
      end if;
      changed_at := append_user_event(p_user_id, p_event_id, 'UserRoleChanged', p_schema_version,
        '{"from":' || to_json(old_role) || ',"to":' || to_json(p_role) || '}', p_actor_id, p_metadata);
      update users set role = p_role, updated_at = changed_at where id = p_user_id;
      insert into security_events (request_id, ip, user_agent, occurred_at, type, user_id, username, session_id,
          details)
        values (p_request_id, p_ip, p_user_agent, changed_at, 'role_changed', p_user_id, name, null,
          jsonb_build_object('from', old_role, 'to', p_role, 'by', p_actor_id));
      return 'changed';
    end
    $$;

    -- By the last event of the user; who is erased has none.
    create function logged_role(p_user_id bigint) returns text
    language sql stable set search_path = public, pg_temp as $$
      select coalesce((
        select case type when 'UserRoleChanged' then data->>'to' end from events
        where stream_id = 'user-' || p_user_id and type in ('UserRoleChanged', 'UserErased')
        order by version desc limit 1), 'user')
    $$;

    -- The few who have a role: whether there is another admin takes no scan of all users.
    create index users_with_role on users (role) where role <> 'user';
    revoke execute on function append_user_event, change_role, logged_role from public;
    grant execute on function change_role to tasktrail_auth;
    revoke update (role) on users from tasktrail_auth;
    -- Who verifies the log compares them with it.
    grant select (id, role) on users to tasktrail_auditor, tasktrail_worker;
  `)
  await rolesGivenBefore(knex)
  await knex.raw(`
    create function require_logged_role() returns trigger
    language plpgsql security definer set search_path = public, pg_temp as $$
    begin
      if new.role is distinct from logged_role(new.id) then
        raise exception 'the log does not give user % the role %: refused', new.id, new.role
          using errcode = 'insufficient_privilege';
      end if;
      return null;
    end
    $$;
    revoke execute on function require_logged_role from public;
    create trigger users_begin_without_role after insert on users for each row
      when (new.role <> 'user') execute function require_logged_role();
    create trigger users_role_follows_log after update on users for each row
      when (old.role is distinct from new.role or old.id <> new.id) execute function require_logged_role();
    alter table users enable always trigger users_begin_without_role,
      enable always trigger users_role_follows_log;
  `)
}

/** Who has another role than the log gives: it says so from now on. */
const rolesGivenBefore = (knex: Knex) =>
  knex.raw(`
    do $$
    declare
      holder record;
    begin
      for holder in select id from users where role <> logged_role(id) order by id loop
        perform pg_advisory_xact_lock(owner_lock(holder.id));
        perform append_user_event(id, gen_random_uuid(), 'UserRoleChanged', 1,
            '{"from":' || to_json(logged_role(id)) || ',"to":' || to_json(role) || '}', 0,
            '{"causation_id":"' || gen_random_uuid()
              || '","correlation_id":"migration","ip":null,"request_id":"migration","session_id":null}')
          from users where id = holder.id;
      end loop;
    end
    $$`)

// What erases users, and appends to their streams, stays: it goes on from what the log has, roles included.
export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop trigger users_role_follows_log on users;
    drop trigger users_begin_without_role on users;
    drop function require_logged_role;
    drop function logged_role;
    revoke select (id, role) on users from tasktrail_auditor, tasktrail_worker;
    grant update (role) on users to tasktrail_auth;
    drop index users_with_role;
    drop function change_role;
    drop function other_admin;
  `)
}
