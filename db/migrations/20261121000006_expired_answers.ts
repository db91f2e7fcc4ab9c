import type { Knex } from 'knex'

// What the worker does about the answers that are kept for repeated commands.
// Replaced, because databases made before this migration was one of its own have them.
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- Removes at most p_limit expired answers; returns how many it removed.
    create or replace function remove_expired_answers(p_limit int) returns bigint
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
    create or replace function count_keyed_answers() returns void
    language sql volatile security definer set search_path = public, pg_temp as $$
      with many as (
          select actor_id, count(*) as answers from commands where expires_at > now()
            group by actor_id having count(*) >= 1000),
        no_more as (delete from keyed_answers where user_id not in (select actor_id from many))
        insert into keyed_answers select actor_id, answers from many order by actor_id
          on conflict (user_id) do update set answers = excluded.answers
    $$;

    revoke execute on function remove_expired_answers, count_keyed_answers from public;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop function count_keyed_answers, remove_expired_answers')
}
