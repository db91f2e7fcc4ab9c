import type { Knex } from 'knex'

// Positions are drawn from a sequence and committed in any order. These functions tell up to where the log is
// complete all the same.
// Replaced, because databases made before this migration was one of its own have them.
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- The greatest position drawn so far, also by open transactions; 0 before the first.
    create or replace function last_position() returns bigint
    language plpgsql volatile security definer set search_path = public, pg_temp as $$
    begin
      return (select case when is_called then last_value else 0 end from events_position_seq);
    end
    $$;

    -- A position that no later commit can fall below: events up to it are all visible to a statement that
    -- begins after this function has returned. Before it draws positions, a writer sets a beacon: a shared
    -- advisory lock whose key holds a position below those of its events. The order of the two steps
    -- matters: a writer whose beacon is not visible at step 2 has either ended, or will draw positions
    -- above that of step 1.
    create or replace function safe_position() returns bigint
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

    -- Every writer of events calls this before it draws positions.
    create or replace function lay_beacon() returns void
    language plpgsql volatile set search_path = public, pg_temp as $$
    begin
      perform pg_advisory_xact_lock_shared((21587::bigint << 48)
        | coalesce(pg_sequence_last_value('events_position_seq'), 0));
    end
    $$;

    revoke execute on function last_position, safe_position, lay_beacon from public;
    grant execute on function last_position, safe_position to tasktrail_task;
    grant execute on function safe_position to tasktrail_auditor;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop function lay_beacon, safe_position, last_position')
}
