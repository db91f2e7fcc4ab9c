import type { Knex } from 'knex'

// A seal covers every event since the seal before it, is chained to that one, and is signed with a key
// that is not in the database: what has been sealed cannot be changed, cut off or moved unseen, not
// even by who may change everything here.
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table seals (
      number bigint primary key check (number > 0),
      -- Covers the events above the previous seal's position, up to this one, which is its last.
      position bigint not null unique,
      events bigint not null check (events > 0),
      -- SHA-256 over position, recorded_at and hash of each event in order.
      events_digest bytea not null,
      -- Sixteen bytes an event, to say which one is not as it was: its position (6 bytes), which of
      -- the heads is its stream's (2), and the first eight of its digest.
      events_marks bytea not null,
      -- The last event in it of each stream: [[stream_id, version, hash], ...], ordered by stream_id.
      heads jsonb not null,
      heads_digest bytea not null,
      sealed_at timestamptz not null,
      previous bytea,
      hash bytea not null,
      key_id text not null,
      signature bytea not null
    );
    create trigger seals_are_append_only
      before update or delete or truncate on seals
      for each statement execute function refuse_change();
    alter table seals enable always trigger seals_are_append_only;

    grant select, insert on seals to tasktrail_worker;
    grant select on seals to tasktrail_task, tasktrail_auditor;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop table seals')
}
