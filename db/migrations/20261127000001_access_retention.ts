import type { Knex } from 'knex'

// The record of audit accesses is useful only for a time, and grows with every access. Old records may be
// removed, by anyone with the right; younger ones by nobody, as before.
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    drop trigger audit_accesses_are_append_only on audit_accesses;
    create trigger audit_accesses_are_append_only
      before update or truncate on audit_accesses
      for each statement execute function refuse_change();
    alter table audit_accesses enable always trigger audit_accesses_are_append_only;
    create trigger audit_accesses_are_kept
      before delete on audit_accesses
      for each row when (old.recorded_at > now() - interval '30 days')
      execute function refuse_change();
    alter table audit_accesses enable always trigger audit_accesses_are_kept;

    -- Removes some of those older than p_days, the oldest first; returns how many. None is
    -- removed before one with a lower id: if a row is missing after an existing one, somebody removed it.
    create function remove_expired_accesses(p_days int, p_limit int) returns bigint
    language plpgsql volatile security definer set search_path = public, pg_temp as $$
    declare
      removed bigint;
    begin
      with oldest as (
          select id, bool_and(recorded_at < now() - make_interval(days => greatest(p_days, 30)))
            over (order by id) as all_expired
          from (select id, recorded_at from audit_accesses order by id limit p_limit) first)
        delete from audit_accesses where id in (select id from oldest where all_expired);
      get diagnostics removed = row_count;
      return removed;
    end
    $$;
    revoke execute on function remove_expired_accesses from public;
    grant execute on function remove_expired_accesses to tasktrail_worker;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop function remove_expired_accesses;
    drop trigger audit_accesses_are_kept on audit_accesses;
    drop trigger audit_accesses_are_append_only on audit_accesses;
    create trigger audit_accesses_are_append_only
      before update or delete or truncate on audit_accesses
      for each statement execute function refuse_change();
    alter table audit_accesses enable always trigger audit_accesses_are_append_only;
  `)
}
