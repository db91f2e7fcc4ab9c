import type { AuditAccesses } from '../../../app/ports/audit.ts'
import type { Database } from '../connection/database.ts'

const ADD = {
  name: 'add_audit_access',
  text: `
    insert into audit_accesses (kind, user_id, role, session_id, ip, request_id, query, accessed_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8)`,
}

export function postgresAuditAccesses(db: Database): AuditAccesses {
  return {
    async add({ user_id, role, session_id }, { kind, query, request_id, ip, now }) {
      const values = [kind, user_id, role, session_id, ip, request_id, query, now]
      await db.query(ADD, values)
    },
  }
}
