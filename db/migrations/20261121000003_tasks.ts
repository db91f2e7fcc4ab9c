import type { Knex } from 'knex'

// The read table. An enum sorts in the order of its values: low before medium before high.
// Each list order that the API offers has its index; a task without a due date comes last in both
// directions.
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create type task_priority as enum ('low', 'medium', 'high');

    create sequence task_ids;

    create table tasks (
      id bigint primary key,
      user_id bigint not null,
      title text not null,
      description text,
      status text not null check (status in ('pending', 'in_progress', 'completed')),
      priority task_priority not null,
      due_date timestamptz,
      created_at timestamptz not null,
      updated_at timestamptz not null,
      version bigint not null,
      deleted_at timestamptz
    );
    create index tasks_by_created_at on tasks (user_id, created_at, id) where deleted_at is null;
    create index tasks_by_updated_at on tasks (user_id, updated_at, id) where deleted_at is null;
    create index tasks_by_priority on tasks (user_id, priority, id) where deleted_at is null;
    create index tasks_by_due_date on tasks
      (user_id, coalesce(due_date, timestamptz 'infinity'), id) where deleted_at is null;
    create index tasks_by_due_date_descending on tasks
      (user_id, coalesce(due_date, timestamptz '-infinity'), id) where deleted_at is null;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop table tasks;
    drop sequence task_ids;
    drop type task_priority;
  `)
}
