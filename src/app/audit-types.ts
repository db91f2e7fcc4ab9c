import { TASK_EVENT_TYPES } from '../domain/task/events.ts'
import { USER_EVENT_TYPES } from '../domain/user.ts'
import type { AuditEventType } from './ports/audit.ts'

/** Every event type that the audit trail holds. */
export const AUDIT_EVENT_TYPES = [...TASK_EVENT_TYPES, ...USER_EVENT_TYPES] as const

// A type missing above would be missing from answers; here it fails to compile.
const complete: Record<Exclude<AuditEventType, (typeof AUDIT_EVENT_TYPES)[number]>, never> = {}
void complete
