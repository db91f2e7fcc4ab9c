import type { Knex } from 'knex'

// What a replica has replayed: task-service adds a number here, and reads from a replica only once that
// shows it (src/infra/postgres/connection/replica.ts). Rows are added at one end and removed at the other: a row that
// is changed each time would leave versions that every look has to pass while a replica still needs them.
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create table replica_marks (
      process uuid not null,
      number bigint not null,
      marked_at timestamptz not null default clock_timestamp(),
      primary key (process, number)
    );
    grant select, insert, delete on replica_marks to tasktrail_task;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop table replica_marks')
}
