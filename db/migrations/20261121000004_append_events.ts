import type { Knex } from 'knex'

// The only way into the log. It runs with its owner's rights, and the services may not write to its tables,
// so no writer can skip the version check, the chain or the beacon.
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
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

    -- Only an erasure takes this lock exclusively: it waits for appends in progress, and later ones find
    -- the key destroyed.
    create function owner_lock(p_user_id bigint) returns bigint language sql immutable as $$
      select (21588::bigint << 48) | p_user_id
    $$;

    -- Every append to the stream takes it, exclusively.
    create function stream_lock(p_stream_id text) returns bigint language sql immutable as $$
      select (21591::bigint << 48) | (hashtextextended(p_stream_id, 0) & 281474976710655)
    $$;

    create type new_event as (
      stream_id text,
      version bigint,
      event_id uuid,
      type text,
      schema_version int,
      data jsonb,
      actor_id bigint,
      metadata jsonb,
      occurred_at timestamptz,
      prev_hash bytea,
      hash bytea
    );

    create type new_row as (task jsonb, event_time timestamptz);

    -- What stands for the time of the append, or a time.
    create function time_of(p_text text, p_append timestamptz) returns timestamptz language sql stable as $$
      select case p_text when 'time of append' then p_append else p_text::timestamptz end
    $$;

    -- Appends to several streams in one transaction. Returns a row for each of p_appends, in their order.
    -- Outcomes: 'appended'; 'conflict' (the stream has moved on); with a command key also 'replayed' (and
    -- what the first time led to), 'reused' (another fingerprint), 'running' (the first one has not ended);
    -- 'erased' (the row's user is); 'over_quota' (of which, and how much of it is used); 'busy' (another
    -- transaction holds the stream or the owner, or an append before this one has the key). With p_waits it
    -- waits for other transactions: what was busy among others is tried again alone. An error undoes all.
    --
    -- It writes streams of tasks only. The events' time is this database's, one for all events of an append
    -- and never before the stream's last. It replaces 'time of append' in the row. A column that the row
    -- leaves out keeps its value. p_quotas: {"bytes": 1, "tasks": 1, "keyed_answers": 1}; null: no limit.
    --
    -- A session plans it once, when tables may still be small: no plan may scan one.
    create function append_events(p_appends jsonb, p_waits boolean, p_quotas jsonb default null)
    returns table (
      outcome text,
      occurred_at timestamptz,
      answer_stream text,
      answer_version bigint,
      quota text,
      used bigint
    )
    language plpgsql volatile security definer set search_path = public, pg_temp
    set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off
    set enable_mergejoin = off as $$
    #variable_conflict use_column
    declare
      one record;
      append jsonb;
      event jsonb;
      busy boolean[] := '{}';
      running boolean[] := '{}';
      seen text[] := '{}';
      events_count int;
      new_version bigint;
      event_time timestamptz;
      head bytea;
      hash bytea;
      written new_event[] := '{}';
      begun streams[] := '{}';
      continued streams[] := '{}';
      created new_row[] := '{}';
      changed new_row[] := '{}';
      answered commands[] := '{}';
    begin
      for n in 1..jsonb_array_length(p_appends) loop
        append := p_appends->(n - 1);
        if p_waits then
          perform pg_advisory_xact_lock_shared(owner_lock((append->'row'->>'user_id')::bigint));
          perform pg_advisory_xact_lock(stream_lock(append->>'stream_id'));
          perform pg_advisory_xact_lock(
            (append->>'actor_id')::bigint::bit(32)::int, hashtext(append->>'key'));
        end if;
        busy[n] := not pg_try_advisory_xact_lock_shared(owner_lock((append->'row'->>'user_id')::bigint))
          or not pg_try_advisory_xact_lock(stream_lock(append->>'stream_id'));
        running[n] := not pg_try_advisory_xact_lock(
          (append->>'actor_id')::bigint::bit(32)::int, hashtext(append->>'key'));
      end loop;

      -- What this reads of the streams, owners and keys that are held does not change any more.
      for one in
        select new.*, array(select distinct jsonb_array_elements(new.events)->>'type') as types,
          (new.row->>'id')::bigint as task_id, (new.row->>'user_id')::bigint as owner_id,
          coalesce(present.version, 0) as version, present.head_hash, present.event_types,
          present.schema_version as known_schema_version,
          exists (select from user_keys
            where user_id = (new.row->>'user_id')::bigint and wrapped_key is null) as erased,
          done.fingerprint as done_fingerprint, done.stream_id as done_stream,
          done.version as done_version,
          -- As far as the worker has counted: two appends of a user never wait for each other.
          usage.bytes, usage.tasks, keyed.answers,
          (select user_id from tasks where id = (new.row->>'id')::bigint) as task_user_id,
          (select occurred_at from events last
            where last.stream_id = new.stream_id and last.version = expected_version) as last_time
        from rows from (jsonb_to_recordset(p_appends) as (
            stream_id text, stream_type text, expected_version bigint, prev_hash bytea,
            schema_version int, events jsonb, actor_id bigint, metadata text, row jsonb, key text,
            fingerprint bytea)
          ) with ordinality as new (stream_id, stream_type, expected_version, prev_hash, schema_version,
            events, actor_id, metadata, row, key, fingerprint, n)
          left join streams present on present.stream_id = new.stream_id
          left join commands done on done.actor_id = new.actor_id and done.key = new.key
            and done.expires_at > now()
          left join user_usage usage on usage.user_id = (new.row->>'user_id')::bigint
          left join keyed_answers keyed on keyed.user_id = new.actor_id
        order by n
      loop
        events_count := jsonb_array_length(one.events);
        new_version := one.expected_version + events_count;
        occurred_at := null;
        answer_stream := one.done_stream;
        answer_version := one.done_version;
        -- What makes nothing more is never refused.
        quota := case
          when one.bytes >= (p_quotas->>'bytes')::bigint and not one.types <@ '{TaskDeleted}' then 'bytes'
          when one.tasks >= (p_quotas->>'tasks')::bigint
            and one.types && '{TaskCreated,TaskRestored}' then 'tasks'
          when one.answers >= (p_quotas->>'keyed_answers')::bigint and one.key is not null
            then 'keyed_answers' end;
        used := case quota when 'bytes' then one.bytes when 'tasks' then one.tasks else one.answers end;
        outcome := case
          when busy[one.n] or one.actor_id || ' ' || one.key = any (seen) then 'busy'
          when one.erased then 'erased'
          when running[one.n] then 'running'
          when one.done_fingerprint = one.fingerprint then 'replayed'
          when one.done_fingerprint is not null then 'reused'
          when quota is not null then 'over_quota'
          when one.version <> one.expected_version or one.stream_id = any (seen)
            or events_count > 0 and one.head_hash is distinct from one.prev_hash then 'conflict'
          else 'appended' end;
        if outcome <> 'appended' then
          return next;
          continue;
        end if;

        -- The first event of a stream says whose it is.
        if one.stream_type <> 'task' or 'task-' || one.task_id is distinct from one.stream_id
            or (one.row->>'version')::bigint is distinct from new_version
            or one.owner_id is distinct from (case
              when one.expected_version = 0 then ((one.events->0->>'data')::jsonb->>'user_id')::bigint
              else one.task_user_id end) then
          raise exception 'not the row of % at version %: id %, version %, user_id %', one.stream_id,
              new_version, one.task_id, one.row->>'version', one.owner_id
            using errcode = 'check_violation';
        end if;

        if events_count > 0 then
          event_time := greatest(date_trunc('milliseconds', clock_timestamp()), one.last_time);
          occurred_at := event_time;
          head := one.prev_hash;
          for n in 1..events_count loop
            event := one.events->(n - 1);
            hash := event_hash(head, one.stream_id, one.expected_version + n, (event->>'event_id')::uuid,
              event->>'type', one.schema_version, event->>'data', one.actor_id, one.metadata, event_time);
            written := written || row(one.stream_id, one.expected_version + n, event->>'event_id',
              event->>'type', one.schema_version, event->>'data', one.actor_id, one.metadata, event_time,
              head, hash)::new_event;
            head := hash;
          end loop;
          if one.expected_version = 0 then
            begun := begun || row(one.stream_id, one.stream_type, new_version, head, one.types,
              one.schema_version)::streams;
            created := created || row(one.row, event_time)::new_row;
          else
            if not one.event_types @> one.types then
              one.event_types := array(select distinct unnest(one.event_types || one.types));
            end if;
            continued := continued || row(one.stream_id, one.stream_type, new_version, head,
              one.event_types, greatest(one.known_schema_version, one.schema_version))::streams;
            changed := changed || row(one.row, event_time)::new_row;
          end if;
        end if;
        if one.key is not null then
          answered := answered || row(one.actor_id, one.key, one.fingerprint, one.stream_id, new_version,
            now() + interval '24 hours')::commands;
        end if;
        seen := seen || one.stream_id || (one.actor_id || ' ' || one.key);
        return next;
      end loop;

      if cardinality(written) > 0 then
        perform lay_beacon();
        insert into events (stream_id, version, event_id, type, schema_version, data, actor_id, metadata,
            occurred_at, prev_hash, hash)
          select * from unnest(written);
      end if;
      -- No variables of the type of a task's row: a rebuild puts another table in the place of this one.
      if cardinality(begun) > 0 then
        insert into streams select * from unnest(begun);
        insert into tasks (id, user_id, title, description, status, priority, due_date, created_at,
            updated_at, version, deleted_at, ngrams)
          select id, user_id, title, description, status, priority, due_date,
            time_of(created_at, event_time), time_of(updated_at, event_time), version,
            time_of(deleted_at, event_time), ngrams
          from unnest(created) cross join lateral jsonb_to_record(task) as new (
            id bigint, user_id bigint, title jsonb, description jsonb, status text,
            priority task_priority, due_date timestamptz, created_at text, updated_at text,
            version bigint, deleted_at text, ngrams int[]);
      end if;
      if cardinality(continued) > 0 then
        update streams set version = new.version, head_hash = new.head_hash,
            event_types = new.event_types, schema_version = new.schema_version
          from unnest(continued) new where streams.stream_id = new.stream_id;
        update tasks set
            title = coalesce(new.title, tasks.title),
            description = case when jsonb_exists(task, 'description') then new.description
              else tasks.description end,
            status = new.status, priority = new.priority, due_date = new.due_date,
            updated_at = time_of(new.updated_at, event_time), version = new.version,
            deleted_at = time_of(new.deleted_at, event_time),
            ngrams = coalesce(new.ngrams, tasks.ngrams)
          from unnest(changed) cross join lateral jsonb_to_record(task) as new (
            id bigint, title jsonb, description jsonb, status text, priority task_priority,
            due_date timestamptz, updated_at text, version bigint, deleted_at text, ngrams int[])
          where tasks.id = new.id;
      end if;
      if cardinality(answered) > 0 then
        -- An expired one may still exist.
        insert into commands select * from unnest(answered)
          on conflict (actor_id, key) do update set
            fingerprint = excluded.fingerprint, stream_id = excluded.stream_id,
            version = excluded.version, expires_at = excluded.expires_at;
      end if;
    end
    $$;

    revoke execute on function append_events, owner_lock, stream_lock, time_of, event_hash, time_text
      from public;
    grant usage on schema public to tasktrail_task, tasktrail_auditor;
    grant select on streams, events, commands, tasks, user_keys to tasktrail_task;
    grant insert (user_id, wrapped_key, wrapped_by) on user_keys to tasktrail_task;
    grant usage on sequence task_ids to tasktrail_task;
    grant execute on function append_events to tasktrail_task;
    grant select on streams, events to tasktrail_auditor;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop function append_events;
    drop function time_of;
    drop type new_row;
    drop type new_event;
    drop function stream_lock;
    drop function owner_lock;
    drop function event_hash;
    drop function time_text;
    revoke all on streams, events, commands, tasks, user_keys from tasktrail_task, tasktrail_auditor;
    revoke all on sequence task_ids from tasktrail_task;
    revoke usage on schema public from tasktrail_task, tasktrail_auditor;
  `)
}
