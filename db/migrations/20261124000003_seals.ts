import type { Knex } from 'knex'

// A seal covers every event since the seal before it, is chained to that one, and is signed with a key
// that is not in the database: nobody changes, cuts off or moves what has been sealed, except who may
// change everything here and takes away the seals from there on too. The worker then seals what is
// there now, if it has been started since; a seal that was kept elsewhere shows it.
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table seals (
      number bigint primary key check (number > 0),
      -- Covers the events above the previous seal's position, up to this one, which is its last.
      position bigint not null unique,
      events bigint not null check (events > 0),
      -- SHA-256 over position, recorded_at and hash of each event in order.
      events_digest bytea not null,
      -- 46 bytes an event, to say which one is not as it was: its position (6), which of the heads
      -- is its stream's (2), recorded_at in ms (6) and its hash (32). But for the stream they prove
      -- themselves: the digest of all is made of them.
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
