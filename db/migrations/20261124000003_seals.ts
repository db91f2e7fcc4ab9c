import type { Knex } from 'knex'

// A seal covers every event, access and security event since the previous seal, is chained to it, and is
// signed with a key that is not in the database: nobody can change, cut off or move what is sealed, except by changing everything here
// and also removing the seals from there on. A worker started after that seals what is there now; a seal
// kept elsewhere reveals it.
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table seals (
      number bigint primary key check (number > 0),
      -- Covers the events above the previous seal's position, up to this one, which is its last.
      position bigint not null,
      events bigint not null check (events >= 0),
      -- SHA-256 over position, recorded_at and hash of each event in order.
      events_digest bytea not null,
      -- 46 bytes per event, to name the one that is not as it was: its position (6), which of the heads is
      -- its stream's (2), recorded_at in ms (6) and its hash (32). All but the stream are proven, because
      -- the digest is computed from them.
      events_marks bytea not null,
      -- The last event of each stream that it covers: [[stream_id, version, hash], ...], ordered by
      -- stream_id.
      heads jsonb not null,
      heads_digest bytea not null,
      sealed_at timestamptz not null,
      previous bytea,
      hash bytea not null,
      key_id text not null,
      signature bytea not null,
      -- How far it goes in audit_accesses and in security_events; 45 bytes for each row that is new in it
      -- (src/verifier/records.ts), and the digest of all that. A mark outlives its row: it says how old a
      -- missing row would be now.
      access_id bigint not null,
      security_event_id bigint not null,
      records_marks bytea not null,
      records_digest bytea not null
    );
    create index seals_by_position on seals (position, number);
    create trigger seals_are_append_only
      before update or delete or truncate on seals
      for each statement execute function refuse_change();
    alter table seals enable always trigger seals_are_append_only;

    -- The id of a table up to which no row can appear any more; null if a writer does not end. A writer
    -- locks the table before it draws a row's id, until it commits. So any writer that may still add a row
    -- at or below the id of step 1 holds that lock in step 2, and step 3 waits for it. Nobody waits for
    -- this function, and only roles that may write the table can take that lock.
    create function settled_id(p_table regclass) returns bigint
    language plpgsql volatile security definer set search_path = public, pg_temp as $$
    declare
      drawn bigint;
      writers text[];
    begin
      execute format('select case when is_called then last_value else 0 end from %s',
        pg_get_serial_sequence(p_table::text, 'id')) into drawn;                         -- step 1
      select array_agg(virtualtransaction) into writers from pg_locks                    -- step 2
        where locktype = 'relation' and relation = p_table and mode = 'RowExclusiveLock' and granted
          and database = (select oid from pg_database where datname = current_database());
      for n in 1..100 loop                                                               -- step 3
        if not exists (
            select from pg_locks
            where locktype = 'relation' and relation = p_table and mode = 'RowExclusiveLock'
              and virtualtransaction = any (writers)) then
          return drawn;
        end if;
        perform pg_sleep(0.01);
      end loop;
      return null;
    end
    $$;
    revoke execute on function settled_id from public;

    grant select, insert on seals to tasktrail_worker;
    grant select on audit_accesses, security_events to tasktrail_worker;
    grant execute on function settled_id to tasktrail_worker;
    grant select on seals to tasktrail_task, tasktrail_auditor;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop table seals;
    drop function settled_id;
    revoke select on audit_accesses, security_events from tasktrail_worker;
  `)
}
