import { expect } from 'chai'
import pg from 'pg'
import { historiesOf } from '../../src/app/history.ts'
import type { TaskEvent } from '../../src/domain/task/events.ts'
import { openDatabase } from '../../src/infra/postgres/database.ts'
import { postgresEventStore } from '../../src/infra/postgres/event-store.ts'
import { silent } from './log.ts'
import type { TestDatabase } from './postgres.ts'
import { until } from './processes.ts'

const ROWS = {
  name: 'audit_rows',
  text: `
    select position, task_id, user_id, version, type, actor_id, occurred_at, recorded_at, request_id,
      changes, undoes, encode(hash, 'hex') as hash
    from audit_events order by position`,
}

/** Whether the audit projection has come to the end of the log. */
export async function isCaughtUp(sql: pg.Client): Promise<boolean> {
  const { rows } = await sql.query(`
    select position >= coalesce((select max(position) from events), 0) as there
    from projections where name = 'audit'`)
  return rows[0].there
}

export const caughtUp = (sql: pg.Client, ms = 30_000): Promise<void> =>
  until(() => isCaughtUp(sql), 'the audit projection at the end of the log', ms)

/** Every event of a task has its one row, and the row says what the fold of the log says. */
export async function expectFoldOfLog({ config }: TestDatabase): Promise<number> {
  const db = openDatabase({ ...config, role: 'tasktrail_worker', log: silent })
  try {
    const events = await postgresEventStore<TaskEvent, never>(db).readAll(0, 10_000_000)
    const wanted = historiesOf(events).map((row) => ({ undoes: null, ...row }))
    const rows = await db.query(ROWS, [])
    expect(rows).to.deep.equal(wanted)
    return rows.length
  } finally {
    await db.close()
  }
}

export async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client(url)
  client.on('error', () => {})
  await client.connect()
  return client
}
