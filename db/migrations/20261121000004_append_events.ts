import type { Knex } from 'knex'

// The only way into the log. It runs with its owner's rights, and the services may not write to its tables,
// so no writer can skip the version check, the chain or the beacon.
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- The greatest position drawn so far, also by open transactions; 0 before the first.
    create function last_position() returns bigint
    language sql volatile security definer set search_path = public, pg_temp as $$
      select case when is_called then last_value else 0 end from events_position_seq
    $$;

    -- A position that no later commit can fall below: events up to it are all visible to a statement that
    -- begins after this function has returned. Before it draws positions, a writer sets a beacon: a shared
    -- advisory lock whose key holds a position below those of its events. The order of the two steps
    -- matters: a writer whose beacon is not visible at step 2 has either ended, or will draw positions
    -- above that of step 1.
    create function safe_position() returns bigint
    language plpgsql volatile security definer set search_path = public, pg_temp as $$
    declare
      drawn bigint;
      beacon bigint;
    begin
      drawn := last_position();                                                          -- step 1
      select min(((classid::bigint & 65535) << 32) | objid::bigint) into beacon          -- step 2
        from pg_locks
        where locktype = 'advisory' and objsubid = 1 and mode = 'ShareLock'
          and database = (select oid from pg_database where datname = current_database())
          and classid::bigint >> 16 = 21587;
      return least(drawn, beacon);
    end
    $$;

    -- A time as JSON, in the usual form: UTC with milliseconds.
    create function time_text(p_time timestamptz) returns text language sql stable as $$
      select '"' || to_char(p_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') || '"'
    $$;

    -- SHA-256 over the previous hash (none for the first event of a stream) and the event as canonical JSON
    -- (RFC 8785): names in order, data and metadata as passed, because they are canonical already.
    create function event_hash(
      p_prev_hash bytea,
      p_stream_id text,
      p_version bigint,
      p_event_id uuid,
      p_type text,
      p_schema_version int,
      p_data text,
      p_actor_id bigint,
      p_metadata text,
      p_occurred_at timestamptz
    ) returns bytea language sql stable as $$
      select sha256(coalesce(p_prev_hash, '') || convert_to(
        '{"actor_id":' || p_actor_id || ',"data":' || p_data || ',"event_id":"' || p_event_id
        || '","metadata":' || p_metadata || ',"occurred_at":' || time_text(p_occurred_at)
        || ',"schema_version":' || p_schema_version || ',"stream_id":' || to_json(p_stream_id)
        || ',"type":' || to_json(p_type) || ',"version":' || p_version || '}', 'UTF8'))
    $$;

    -- Every writer of events calls this before it draws positions.
    create function lay_beacon() returns void
    language sql volatile set search_path = public, pg_temp as $$
      select pg_advisory_xact_lock_shared((21587::bigint << 48) | last_position())
    $$;

    -- Outcomes: 'appended'; 'conflict' (the stream has moved on); with a command key also 'replayed' (and
    -- the version that the first time led to), 'reused' (another fingerprint), 'running' (the first one has
    -- not ended); 'erased' (the row's user is); 'over_quota' (answer_stream: which; answer_version: how much
    -- of it is used). It writes streams of tasks only.
    --
    -- The events' time is this database's, one for all events of an append and never before the stream's
    -- last. It replaces 'time of append' in the row. A column that the row leaves out keeps its value.
    create function append_events(
      p_stream_id text,
      p_stream_type text,
      p_expected_version bigint,
      p_prev_hash bytea,
      p_schema_version int,
      p_event_ids uuid[],
      p_types text[],
      p_data text[],
      p_actor_id bigint,
      p_metadata text,
      p_row jsonb,
      p_key text,
      p_fingerprint bytea,
      -- {"bytes": 1, "tasks": 1, "keyed_answers": 1}; null: no limit.
      p_quotas jsonb default null
    ) returns table (
      outcome text,
      answer_stream text,
      answer_version bigint,
      occurred_at timestamptz
    )
    language plpgsql volatile security definer set search_path = public, pg_temp as $$
    #variable_conflict use_column
    declare
      events_count int := cardinality(p_event_ids);
      done commands;
      quota text;
      used bigint;
      owner_id bigint := (p_row->>'user_id')::bigint;
      task_id bigint := (p_row->>'id')::bigint;
      event_time timestamptz;
      hashes bytea[];
    begin
      -- Only an erasure takes this lock exclusively: it waits for appends in progress, and later ones
      -- find the key destroyed.
      perform pg_advisory_xact_lock_shared((21588::bigint << 48) | owner_id);
      if exists (select from user_keys where user_id = owner_id and wrapped_key is null) then
        return query select 'erased', null::text, null::bigint, null::timestamptz;
        return;
      end if;

      if p_key is not null then
        if not pg_try_advisory_xact_lock(p_actor_id::bit(32)::int, hashtext(p_key)) then
          return query select 'running', null::text, null::bigint, null::timestamptz;
          return;
        end if;
        select * into done from commands
          where actor_id = p_actor_id and key = p_key and expires_at > now();
        if found then
          return query select
            case when done.fingerprint = p_fingerprint then 'replayed' else 'reused' end,
            done.stream_id, done.version, null::timestamptz;
          return;
        end if;
      end if;

      -- As far as the worker has counted: two appends of a user never wait for each other. What makes
      -- nothing more is never refused.
      select name, already into quota, used
        from (select) one
          left join user_usage u on u.user_id = owner_id
          left join keyed_answers k on k.user_id = p_actor_id,
          lateral (values
            ('bytes', u.bytes, not p_types <@ '{TaskDeleted}'),
            ('tasks', u.tasks, p_types && '{TaskCreated,TaskRestored}'),
            ('keyed_answers', k.answers, p_key is not null)) asked (name, already, asks)
        where asks and already >= (p_quotas->>name)::bigint
        limit 1;
      if found then
        return query select 'over_quota', quota, used, null::timestamptz;
        return;
      end if;

      if events_count > 0 then
        -- The event at the expected version is looked up before the stream is locked: if anyone changes the
        -- stream meanwhile, the expected version no longer matches.
        event_time := greatest(date_trunc('milliseconds', clock_timestamp()), (
          select occurred_at from events
            where stream_id = p_stream_id and version = p_expected_version));
        for n in 1..events_count loop
          hashes[n] := event_hash(case when n = 1 then p_prev_hash else hashes[n - 1] end,
            p_stream_id, p_expected_version + n, p_event_ids[n], p_types[n], p_schema_version,
            p_data[n], p_actor_id, p_metadata, event_time);
        end loop;
        p_row := p_row || (
          select coalesce(jsonb_object_agg(name, time_text(event_time)::jsonb), '{}')
            from unnest('{created_at,updated_at,deleted_at}'::text[]) name
            where p_row->>name = 'time of append');
      end if;

      if events_count = 0 then
        perform from streams where stream_id = p_stream_id and version = p_expected_version;
      elsif p_expected_version = 0 then
        insert into streams (stream_id, stream_type, version, head_hash, event_types, schema_version)
          values (p_stream_id, p_stream_type, events_count, hashes[events_count],
            array(select distinct unnest(p_types)), p_schema_version)
          on conflict do nothing;
      else
        update streams
          set version = version + events_count, head_hash = hashes[events_count],
            event_types = case when event_types @> p_types then event_types
              else array(select distinct unnest(event_types || p_types)) end,
            schema_version = greatest(schema_version, p_schema_version)
          where stream_id = p_stream_id and version = p_expected_version
            and head_hash = p_prev_hash;
      end if;
      if not found then
        return query select 'conflict', null::text, null::bigint, null::timestamptz;
        return;
      end if;
      -- The first event of a stream says whose it is.
      if p_stream_type <> 'task' or 'task-' || task_id is distinct from p_stream_id
          or (p_row->>'version')::bigint is distinct from p_expected_version + events_count
          or owner_id is distinct from (case
            when p_expected_version = 0 then (p_data[1]::jsonb->>'user_id')::bigint
            else (select user_id from tasks where id = task_id) end) then
        raise exception 'not the row of % at version %: id %, version %, user_id %', p_stream_id,
            p_expected_version + events_count, task_id, p_row->>'version', owner_id
          using errcode = 'check_violation';
      end if;

      if events_count > 0 then
        perform lay_beacon();
        insert into events (stream_id, version, event_id, type, schema_version, data, actor_id,
            metadata, occurred_at, prev_hash, hash)
          select p_stream_id, p_expected_version + n, event_id, type, p_schema_version, data::jsonb,
            p_actor_id, p_metadata::jsonb, event_time,
            case when n = 1 then p_prev_hash else hashes[n - 1] end, hash
          from unnest(p_event_ids, p_types, p_data, hashes)
            with ordinality as e (event_id, type, data, hash, n)
          order by n;
        -- No variable of this row type: a rebuild puts another table in the place of this one.
        if p_expected_version = 0 then
          insert into tasks select * from jsonb_populate_record(null::tasks, p_row);
        else
          update tasks set
              title = coalesce(new.title, tasks.title),
              description = case when jsonb_exists(p_row, 'description') then new.description
                else tasks.description end,
              status = new.status, priority = new.priority, due_date = new.due_date,
              updated_at = new.updated_at, version = new.version, deleted_at = new.deleted_at,
              ngrams = coalesce(new.ngrams, tasks.ngrams)
            from jsonb_populate_record(null::tasks, p_row) new
            where tasks.id = task_id;
        end if;
      end if;

      if p_key is not null then
        -- An expired one may still exist.
        insert into commands (actor_id, key, fingerprint, stream_id, version, expires_at)
          values (p_actor_id, p_key, p_fingerprint, p_stream_id, p_expected_version + events_count,
            now() + interval '24 hours')
          on conflict (actor_id, key) do update set
            fingerprint = excluded.fingerprint, stream_id = excluded.stream_id,
            version = excluded.version, expires_at = excluded.expires_at;
      end if;
      return query select 'appended', null::text, null::bigint, event_time;
    end
    $$;

    -- Removes at most p_limit expired answers; returns how many it removed.
    create function remove_expired_answers(p_limit int) returns bigint
    language plpgsql volatile security definer set search_path = public, pg_temp as $$
    declare
      removed bigint;
    begin
      delete from commands where (actor_id, key) in (
        select actor_id, key from commands where expires_at <= now()
          order by expires_at limit p_limit for update skip locked);
      get diagnostics removed = row_count;
      return removed;
    end
    $$;

    -- Who has fewer than a thousand is not counted. An index alone answers it, about a second for each ten
    -- million answers.
    create function count_keyed_answers() returns void
    language sql volatile security definer set search_path = public, pg_temp as $$
      with many as (
          select actor_id, count(*) as answers from commands where expires_at > now()
            group by actor_id having count(*) >= 1000),
        no_more as (delete from keyed_answers where user_id not in (select actor_id from many))
        insert into keyed_answers select actor_id, answers from many order by actor_id
          on conflict (user_id) do update set answers = excluded.answers
    $$;

    revoke execute on function append_events, lay_beacon, event_hash, time_text, safe_position, last_position,
      remove_expired_answers, count_keyed_answers from public;
    grant usage on schema public to tasktrail_task, tasktrail_auditor;
    grant select on streams, events, commands, tasks, user_keys to tasktrail_task;
    grant insert (user_id, wrapped_key, wrapped_by) on user_keys to tasktrail_task;
    grant usage on sequence task_ids to tasktrail_task;
    grant execute on function append_events, safe_position, last_position to tasktrail_task;
    grant select on streams, events to tasktrail_auditor;
    grant execute on function safe_position to tasktrail_auditor;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop function append_events;
    drop function lay_beacon;
    drop function remove_expired_answers;
    drop function count_keyed_answers;
    drop function event_hash;
    drop function time_text;
    drop function safe_position;
    drop function last_position;
    revoke all on streams, events, commands, tasks, user_keys from tasktrail_task, tasktrail_auditor;
    revoke all on sequence task_ids from tasktrail_task;
    revoke usage on schema public from tasktrail_task, tasktrail_auditor;
  `)
}
