import type { Knex } from 'knex'

// What a replica has replayed: task-service writes a number here, and reads from a replica only once that
// shows it (src/infra/postgres/connection/replica.ts). One row for each process that does so.
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table replica_marks (
      process uuid primary key,
      number bigint not null,
      marked_at timestamptz not null default clock_timestamp()
    ) with (fillfactor = 50);
    grant select, insert, update, delete on replica_marks to tasktrail_task;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop table replica_marks')
}
