import type pg from 'pg'
import type { TaskView } from '../../src/domain/task/view.ts'
import { withNgrams } from '../../src/infra/postgres/tasks/ngrams.ts'

/** Rows of the read table, written past the event store: for lists that only have to be long. */
export async function insertTasks(
  sql: pg.Client,
  rows: readonly (Partial<TaskView> & { readonly user_id: number })[],
): Promise<void> {
  const at = '2026-01-01T00:00:00.000Z'
  const whole = rows.map((row) => ({
    title: 'A task',
    description: null,
    status: 'pending',
    priority: 'medium',
    created_at: at,
    updated_at: at,
    version: 1,
    ...row,
  }))
  await sql.query('insert into tasks select * from jsonb_populate_recordset(null::tasks, $1)', [
    JSON.stringify(whole.map(withNgrams)),
  ])
}
