import type { Context } from 'koa'
import type { AuditAccesses } from '../app/ports/audit.ts'
import type { Caller } from '../app/ports/authorization.ts'
import type { Clock } from '../app/ports/process.ts'
import type { Ownership } from '../app/ports/tasks.ts'
import { DomainError } from '../domain/errors.ts'

/** Whose tasks and events a caller may see: only their own, or, for auditors, everybody's (null). */
export const visibleUser = ({ role, user_id }: Caller): number | null =>
  role === 'auditor' || role === 'admin' ? null : user_id

/** Records the access; the answer is sent only after that. */
export type RecordAccess = (ctx: Context, caller: Caller, query: object) => Promise<void>

/**
 * A look that the same session repeats within the minute is recorded once by each process: what is on record grows
 * with what is asked, not with how often. Exports are all recorded.
 */
export function oncePerMinute(accesses: AuditAccesses): AuditAccesses {
  let minute = 0
  let recorded = new Map<string, Promise<void>>()
  return {
    add(caller, access) {
      const { kind, ip, query, now } = access
      if (kind === 'exported') return accesses.add(caller, access)
      const present = Math.floor(now.getTime() / 60_000)
      if (present !== minute) [minute, recorded] = [present, new Map()]
      const look = JSON.stringify([caller, ip, query])
      const known = recorded.get(look)
      if (known !== undefined) return known
      const adding = accesses.add(caller, access)
      recorded.set(look, adding)
      adding.catch(() => recorded.delete(look))
      return adding
    },
  }
}

export const lookAt =
  (accesses: AuditAccesses, clock: Clock, kind: 'looked' | 'exported'): RecordAccess =>
  async (ctx, caller, query) => {
    const { request_id } = ctx.state
    await accesses.add(caller, { kind, query, request_id, ip: ctx.ip || null, now: clock() })
  }

/**
 * Lets a caller see a task, current or past, if it is theirs or they may audit. An auditor's access to
 * another user's task is recorded. Errors: `task_forbidden`; `task_not_found` for an erased user's.
 */
export async function admitToTask(
  look: RecordAccess,
  ctx: Context,
  caller: Caller,
  task: Ownership,
  query: object,
): Promise<void> {
  if (caller.user_id === task.owner_id) return
  if (visibleUser(caller) !== null) {
    throw new DomainError(task.isErased ? 'task_not_found' : 'task_forbidden')
  }
  await look(ctx, caller, query)
}
