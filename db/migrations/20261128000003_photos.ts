import type { Knex } from 'knex'

// Photos of tasks. Their bytes are objects in a storage of their own; which of them a task has, its events say. This
// table has what is not in the log: what was promised before anything was uploaded, and what becomes of the bytes.
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- Written before anybody can upload: no object without a row. A row goes after the last of its objects.
    create table photos (
      photo_id uuid primary key,
      task_id bigint not null,
      user_id bigint not null,
      -- Encrypted with the user's key.
      name jsonb not null,
      content_type text not null,
      size bigint not null check (size > 0),
      sha256 bytea not null check (octet_length(sha256) = 32),
      offered_at timestamptz not null default clock_timestamp(),
      -- From then on nothing more can be uploaded.
      upload_ends_at timestamptz not null,

      -- What was found there, and is as promised.
      version text,
      width int,
      height int,

      -- By the log: when it came into its task, and when it left it.
      added_at timestamptz,
      removed_at timestamptz,

      -- From then on it comes into no task, and its objects are removed.
      gone_at timestamptz,

      -- By size: {"version": "…", "width": 320, "height": 240}.
      thumbnails jsonb,
      thumbnails_due_at timestamptz not null default clock_timestamp(),
      -- Why none can be made. Nobody tries again by itself.
      thumbnails_failed text,

      check ((version is null) = (width is null) and (version is null) = (height is null)),
      check (added_at is null or version is not null),
      check (removed_at is null or added_at is not null),
      check (thumbnails is null or added_at is not null)
    );
    create index photos_of_user on photos (user_id);
    create index photos_of_task on photos (task_id);
    create index photos_to_go on photos (photo_id)
      where gone_at is null and (added_at is null or removed_at is not null);
    create index photos_going on photos (photo_id) where gone_at is not null;
    create index photos_without_thumbnails on photos (thumbnails_due_at)
      where added_at is not null and thumbnails is null and thumbnails_failed is null and gone_at is null;

    -- The same list as in the last event that has it.
    alter table tasks add column photos jsonb not null default '[]';
    alter table tasks alter column photos set storage external;

    -- In the transaction that appends the event. Every photo in it has bytes that were looked at and stay, and they are
    -- those that the event says; or the append is refused.
    create function follow_photo_event() returns trigger language plpgsql
    set search_path = public, pg_temp as $$
    declare
      of_task bigint := substr(new.stream_id, 6)::bigint;
      ids uuid[] := array(
        select (photo->>'id')::uuid from jsonb_array_elements(new.data->'photos') photo);
      known int;
    begin
      -- Against the worker, which makes photos that are in no task go.
      perform from photos
          join jsonb_to_recordset(new.data->'photos') as said (id uuid, content_type text, size bigint,
            sha256 text, version text, width int, height int) on said.id = photo_id
        where photos.task_id = of_task and photos.gone_at is null
          and (photos.content_type, photos.size, encode(photos.sha256, 'hex'), photos.version, photos.width,
            photos.height)
            = (said.content_type, said.size, said.sha256, said.version, said.width, said.height)
        for no key update of photos;
      get diagnostics known = row_count;
      -- A photo is added once; after that it is restored.
      if known < cardinality(ids) or new.type = 'PhotoAdded'
          and not exists (select from photos where photo_id = any (ids) and added_at is null) then
        raise exception 'a photo of % is gone, or was added before', new.stream_id using errcode = 'TTPHO';
      end if;
      update photos set added_at = coalesce(added_at, new.occurred_at), removed_at = null
        where photo_id = any (ids) and (added_at is null or removed_at is not null);
      update photos set removed_at = new.occurred_at
        where task_id = of_task and added_at is not null and removed_at is null and photo_id <> all (ids);
      update tasks set photos = new.data->'photos' where id = of_task;
      return null;
    end
    $$;
    create trigger photos_follow_events after insert on events for each row
      when (new.type in ('PhotoAdded', 'PhotoRemoved', 'PhotoRestored'))
      execute function follow_photo_event();

    -- Notes what a user is about to upload. Outcomes: 'offered'; 'task_not_found'; 'task_forbidden'; 'erased'; 'over_quota'
    -- (of which, and how much of it is used). p_quotas: {"photos": 1, "photo_bytes": 1, "photos_of_task": 1}.
    create function offer_photo(
      p_photo_id uuid,
      p_task_id bigint,
      p_user_id bigint,
      p_name jsonb,
      p_content_type text,
      p_size bigint,
      p_sha256 bytea,
      p_seconds int,
      p_quotas jsonb
    ) returns table (outcome text, quota text, used bigint)
    language plpgsql volatile security definer set search_path = public, pg_temp as $$
    declare
      task record;
      count_of_user bigint;
      bytes_of_user bigint;
      count_of_task bigint;
    begin
      perform pg_advisory_xact_lock_shared(owner_lock(p_user_id));
      -- Two offers of a user are counted one after the other.
      perform pg_advisory_xact_lock((21593::bigint << 48) | p_user_id);
      select user_id, deleted_at into task from tasks where id = p_task_id;
      select count(*), coalesce(sum(size), 0), count(*) filter (where task_id = p_task_id and removed_at is null)
        into count_of_user, bytes_of_user, count_of_task
        from photos where user_id = p_user_id and gone_at is null;
      quota := case
        when count_of_task >= (p_quotas->>'photos_of_task')::bigint then 'photos_of_task'
        when count_of_user >= (p_quotas->>'photos')::bigint then 'photos'
        when bytes_of_user + p_size > (p_quotas->>'photo_bytes')::bigint then 'photo_bytes' end;
      used := case quota when 'photos_of_task' then count_of_task when 'photos' then count_of_user
        else bytes_of_user end;
      outcome := case
        when exists (select from user_keys where user_id = p_user_id and wrapped_key is null) then 'erased'
        when task.user_id is null or task.deleted_at is not null then 'task_not_found'
        when task.user_id <> p_user_id then 'task_forbidden'
        when quota is not null then 'over_quota'
        else 'offered' end;
      if outcome = 'offered' then
        insert into photos (photo_id, task_id, user_id, name, content_type, size, sha256, upload_ends_at)
          values (p_photo_id, p_task_id, p_user_id, p_name, p_content_type, p_size, p_sha256,
            clock_timestamp() + make_interval(secs => p_seconds));
      end if;
      return next;
    end
    $$;

    -- Says in the log that no object of an erased user is left, and forgets their photos. False: there is nothing to say,
    -- or not yet, because something can still be uploaded.
    create function photos_erased(
      p_user_id bigint,
      p_event_id uuid,
      p_schema_version int,
      p_metadata text
    ) returns boolean
    language plpgsql volatile security definer set search_path = public, pg_temp as $$
    declare
      stream record;
      erased_at timestamptz;
      new_hash bytea;
    begin
      perform pg_advisory_xact_lock(owner_lock(p_user_id));
      select s.version, s.head_hash, e.occurred_at into stream
        from streams s join events e on e.stream_id = s.stream_id and e.version = s.version
        where s.stream_id = 'user-' || p_user_id and 'UserErased' = any (s.event_types);
      if not found or not exists (select from photos where user_id = p_user_id)
          or exists (select from photos where user_id = p_user_id and upload_ends_at > clock_timestamp()) then
        return false;
      end if;
      delete from photos where user_id = p_user_id;
      perform lay_beacon();
      erased_at := greatest(date_trunc('milliseconds', clock_timestamp()), stream.occurred_at);
      new_hash := event_hash(stream.head_hash, 'user-' || p_user_id, stream.version + 1, p_event_id,
        'UserPhotosErased', p_schema_version, '{}', p_user_id, p_metadata, erased_at);
      update streams set version = stream.version + 1, head_hash = new_hash,
          event_types = event_types || '{UserPhotosErased}'
        where stream_id = 'user-' || p_user_id;
      insert into events (stream_id, version, event_id, type, schema_version, data, actor_id, metadata,
          occurred_at, prev_hash, hash)
        values ('user-' || p_user_id, stream.version + 1, p_event_id, 'UserPhotosErased', p_schema_version, '{}',
          p_user_id, p_metadata::jsonb, erased_at, stream.head_hash, new_hash);
      return true;
    end
    $$;

    revoke execute on function follow_photo_event, offer_photo, photos_erased from public;
    grant select, update (version, width, height) on photos to tasktrail_task;
    grant execute on function offer_photo to tasktrail_task;
    grant select, delete, update (gone_at, thumbnails, thumbnails_due_at, thumbnails_failed) on photos
      to tasktrail_worker;
    grant execute on function photos_erased to tasktrail_worker;
    grant select on photos to tasktrail_auditor;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop trigger photos_follow_events on events;
    drop function follow_photo_event;
    drop function offer_photo;
    drop function photos_erased;
    alter table tasks drop column photos;
    drop table photos;
  `)
}
