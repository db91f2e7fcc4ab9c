import type { AuditAccesses } from '../../../app/ports/audit.ts'
import type { Log } from '../../../app/ports/process.ts'
import type { Database } from '../connection/database.ts'
import { repeat } from '../connection/repeat.ts'

const ADD = {
  name: 'add_audit_access',
  text: `
    insert into audit_accesses (kind, user_id, role, session_id, ip, request_id, query, accessed_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8)`,
}

const REMOVE_EXPIRED = {
  name: 'remove_expired_accesses',
  text: 'select remove_expired_accesses($1, $2) as removed',
}

const STEP = 1_000
const LOOK_MS = 3_600_000

export function postgresAuditAccesses(db: Database): AuditAccesses {
  return {
    async add({ user_id, role, session_id }, { kind, query, request_id, ip, now }) {
      const values = [kind, user_id, role, session_id, ip, request_id, query, now]
      await db.query(ADD, values)
    },
  }
}

/** Removes records of accesses that are older than the given number of days, step by step, every hour. */
export function expiredAccesses(
  db: Database,
  days: number,
  log: Log,
): { readonly close: () => Promise<void> } {
  const removeSome = async () => {
    const [done] = await db.query<{ removed: number }>(REMOVE_EXPIRED, [days, STEP])
    return done?.removed ?? 0
  }
  return repeat(LOOK_MS, async (signal) => {
    try {
      while (!signal.aborted && (await removeSome()) === STEP);
    } catch (error) {
      log.warn({ err: (error as Error).message }, 'cannot remove expired records of accesses')
    }
    return 'again'
  })
}
