import { expect } from 'chai'
import pg from 'pg'
import type { AuditEvent } from '../../src/app/ports/audit.ts'
import type { TaskEvent } from '../../src/domain/task/events.ts'
import { openDatabase } from '../../src/infra/postgres/connection/database.ts'
import { postgresEventStore } from '../../src/infra/postgres/event-store/event-store.ts'
import { historiesOf } from './histories.ts'
import { silent } from './log.ts'
import type { TestDatabase } from './postgres.ts'
import { until } from './processes.ts'

const ROWS = {
  name: 'audit_rows',
  text: `
    select position, task_id, user_id, version, type, actor_id, occurred_at, recorded_at, request_id,
      changes, undoes, encode(hash, 'hex') as hash
    from audit_events where position > $1 order by position limit $2`,
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

/** A campaign's log is more than one statement can read in its time. */
const PAGE = 5_000

async function whole<Row extends { readonly position: number }>(
  read: (after: number) => Promise<readonly Row[]>,
): Promise<readonly Row[]> {
  const rows: Row[] = []
  for (;;) {
    const page = await read(rows.at(-1)?.position ?? 0)
    if (page.length === 0) return rows
    rows.push(...page)
  }
}

/** Every event of a task has its one row, and the row says what the fold of the log says. */
export async function expectFoldOfLog({ config }: TestDatabase): Promise<number> {
  const db = openDatabase({ ...config, role: 'tasktrail_worker', log: silent })
  try {
    const { readAll } = postgresEventStore<TaskEvent, never>(db)
    const events = await whole((after) => readAll(after, PAGE))
    const wanted = historiesOf(events).map((row) => ({ undoes: null, ...row }))
    const rows = await whole((after) => db.query<AuditEvent>(ROWS, [after, PAGE]))
    expect(rows).to.have.length(wanted.length)
    for (let from = 0; from < rows.length; from += PAGE) {
      expect(rows.slice(from, from + PAGE)).to.deep.equal(wanted.slice(from, from + PAGE))
    }
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
