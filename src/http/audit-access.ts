import type { Context } from 'koa'
import type { AuditAccesses } from '../app/ports/audit.ts'
import type { Caller } from '../app/ports/authorization.ts'
import type { Clock } from '../app/ports/process.ts'
import { DomainError } from '../domain/errors.ts'

/** Auditors see what everybody did. */
export const mayAudit = ({ role }: Caller): boolean => role === 'auditor' || role === 'admin'

/** Notes that the caller looks; an answer goes out only after that. */
export type RecordAccess = (ctx: Context, caller: Caller, query: object) => Promise<void>

export const lookAt =
  (accesses: AuditAccesses, clock: Clock, kind: 'looked' | 'exported'): RecordAccess =>
  async (ctx, caller, query) => {
    const { request_id } = ctx.state
    await accesses.add(caller, { kind, query, request_id, ip: ctx.ip || null, now: clock() })
  }

/** Lets an owner see the past of their task, and an auditor too, who is noted. Error: `task_forbidden`. */
export async function admitToPast(
  look: RecordAccess,
  ctx: Context,
  caller: Caller,
  owner_id: number,
  query: object,
): Promise<void> {
  if (caller.user_id === owner_id) return
  if (!mayAudit(caller)) throw new DomainError('task_forbidden')
  await look(ctx, caller, query)
}
