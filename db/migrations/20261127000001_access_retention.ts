import type { Knex } from 'knex'

// Who looked at the trail, and what happened to accounts, is useful only for a time, and grows with every
// access and every login. Old records may be removed, by anyone with the right; younger ones by nobody, as
// before. The log covers both tables, and verification excuses what is missing only if it is that old.
const RECORDS = ['audit_accesses', 'security_events']

export async function up(knex: Knex): Promise<void> {
  for (const table of RECORDS) {
    await knex.raw(`
      drop trigger ${table}_are_append_only on ${table};
      create trigger ${table}_are_append_only
        before update or truncate on ${table}
        for each statement execute function refuse_change();
      alter table ${table} enable always trigger ${table}_are_append_only;
      create trigger ${table}_are_kept
        before delete on ${table}
        for each row when (old.recorded_at > now() - interval '30 days')
        execute function refuse_change();
      alter table ${table} enable always trigger ${table}_are_kept;
    `)
  }
  await knex.raw(`
    -- Removes some of those older than p_days, the oldest first; returns how many. None is
    -- removed before one with a lower id: if a row is missing after an existing one, somebody removed it.
    create function remove_expired_records(p_table text, p_days int, p_limit int) returns bigint
    language plpgsql volatile security definer set search_path = public, pg_temp as $$
    declare
      removed bigint;
    begin
      if p_table not in (${RECORDS.map((table) => `'${table}'`).join(', ')}) then
        raise exception 'nothing expires in %', p_table using errcode = 'insufficient_privilege';
      end if;
      execute format('
        with oldest as (
          select id, bool_and(recorded_at < now() - make_interval(days => greatest($1, 30)))
            over (order by id) as all_expired
          from (select id, recorded_at from %1$I order by id limit $2) first)
        delete from %1$I where id in (select id from oldest where all_expired)', p_table)
        using p_days, p_limit;
      get diagnostics removed = row_count;
      return removed;
    end
    $$;

    -- Removes some of the sessions that expired 30 days ago, and of the attempts to log in that are a day old:
    -- their users may never come again. Returns how many.
    create index sessions_by_expiry on sessions (expires_at);
    create function remove_old_logins(p_limit int) returns bigint
    language sql volatile security definer set search_path = public, pg_temp as $$
      with of_sessions as (
          delete from sessions where id in (
            select id from sessions where expires_at < now() - interval '30 days'
              order by expires_at limit p_limit for update skip locked)
          returning 1),
        of_attempts as (
          delete from login_attempts where (account, ip) in (
            select account, ip from login_attempts where last_try_at < now() - interval '1 day'
              order by last_try_at limit p_limit for update skip locked)
          returning 1)
        select (select count(*) from of_sessions) + (select count(*) from of_attempts)
    $$;
    revoke execute on function remove_expired_records, remove_old_logins from public;
    grant execute on function remove_expired_records, remove_old_logins to tasktrail_worker;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop function remove_old_logins;
    drop index sessions_by_expiry;
    drop function remove_expired_records;
  `)
  for (const table of RECORDS) {
    await knex.raw(`
      drop trigger ${table}_are_kept on ${table};
      drop trigger ${table}_are_append_only on ${table};
      create trigger ${table}_are_append_only
        before update or delete or truncate on ${table}
        for each statement execute function refuse_change();
      alter table ${table} enable always trigger ${table}_are_append_only;
    `)
  }
}
