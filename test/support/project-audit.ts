import { auditProjection } from '../../src/infra/postgres/audit/audit-projection.ts'
import { openDatabase } from '../../src/infra/postgres/connection/database.ts'
import type { LogEvent } from '../../src/infra/postgres/projections/projection.ts'
import { silent } from './log.ts'
import type { TestDatabase } from './postgres.ts'

const UNREAD = {
  name: '',
  text: `
    select position, stream_id, version, type, schema_version, data from events
    where position > (select position from projections where name = $1) order by position`,
}
const MOVE = {
  name: '',
  text: `update projections set position = (select max(position) from events) where name = $1`,
}

/** What the worker does sooner or later, at once: the audit projection takes in the whole log. */
export async function projectAudit({ config }: TestDatabase): Promise<void> {
  const db = openDatabase({ ...config, role: 'tasktrail_worker', log: silent })
  try {
    const events = await db.query<LogEvent>(UNREAD, ['audit'])
    if (events.length === 0) return
    const writes = await auditProjection().begin(db.query).project(events)
    for (const { statement, values } of writes) await db.query(statement, values)
    await db.query(MOVE, ['audit'])
  } finally {
    await db.close()
  }
}
