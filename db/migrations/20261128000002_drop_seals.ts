import type { Knex } from 'knex'

// The transparency log has taken their place (ADR 22).
export async function up(knex: Knex): Promise<void> {
  await knex.raw('drop table seals')
}

/** Without those that there were: nothing signs them any more. */
export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    create table seals (number bigint primary key);
    grant select, insert on seals to tasktrail_worker;
    grant select on seals to tasktrail_task, tasktrail_auditor;
  `)
}
