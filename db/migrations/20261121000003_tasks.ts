import type { Knex } from 'knex'

// The read table. An enum sorts in the order of its values: low before medium before high. Each list order
// of the API has its index, which keeps the tasks of each status and priority together: a page reads the
// ranges that it needs and merges them. A task without a due date comes last in both directions. The search
// n-grams (docs/adr/0016-search.md) are long and do not compress. New entries of their index go to a
// pending list that each search reads and that the write that fills it flushes, so it is kept short.
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    create type task_priority as enum ('low', 'medium', 'high');

    create sequence task_ids;

    create table tasks (
      id bigint primary key,
      user_id bigint not null,
      -- As the event that set it has it: encrypted.
      title jsonb not null,
      description jsonb,
      status text not null check (status in ('pending', 'in_progress', 'completed')),
      priority task_priority not null,
      due_date timestamptz,
      created_at timestamptz not null,
      updated_at timestamptz not null,
      version bigint not null,
      deleted_at timestamptz,
      ngrams int[]
    );
    alter table tasks alter column title set storage external,
      alter column description set storage external,
      alter column ngrams set storage external;
    create index tasks_by_created_at on tasks
      (user_id, status, priority, created_at, id) where deleted_at is null;
    create index tasks_by_updated_at on tasks
      (user_id, status, priority, updated_at, id) where deleted_at is null;
    create index tasks_by_priority on tasks (user_id, status, priority, id)
      where deleted_at is null;
    create index tasks_by_due_date on tasks
      (user_id, status, priority, coalesce(due_date, timestamptz 'infinity'), id)
      where deleted_at is null;
    create index tasks_by_due_date_descending on tasks
      (user_id, status, priority, coalesce(due_date, timestamptz '-infinity'), id)
      where deleted_at is null;
    create index tasks_by_ngrams on tasks using gin (ngrams) with (gin_pending_list_limit = 512);
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop table tasks;
    drop sequence task_ids;
    drop type task_priority;
  `)
}
