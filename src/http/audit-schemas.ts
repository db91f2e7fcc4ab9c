import { z } from 'zod'
import type { AuditEvent } from '../app/ports.ts'
import { instant } from './fields.ts'

const value = z.union([z.string(), z.boolean(), z.null()])

/** One event, in histories, audit queries, exports and streams. */
export const auditEvent = z
  .strictObject({
    position: z.int().meta({ description: 'Place among all events' }),
    task_id: z.int().nullable().meta({ description: 'null for what happened to a user' }),
    version: z.int(),
    type: z.string().meta({ examples: ['TaskCompleted'] }),
    actor: z.strictObject({ user_id: z.int() }),
    occurred_at: instant,
    recorded_at: instant,
    request_id: z.string(),
    changes: z
      .record(z.string(), z.strictObject({ from: value, to: value }))
      .meta({ description: 'By field; "deleted" says whether the task is' }),
    undoes: z
      .array(z.int())
      .optional()
      .meta({ description: 'Versions that this event takes back' }),
    erased: z
      .literal(true)
      .optional()
      .meta({ description: 'The account is erased: its texts are null for good' }),
    hash: z.string().meta({ description: 'SHA-256, lower-case hex' }),
  })
  .meta({ id: 'AuditEvent' })

export const auditEventOf = ({
  user_id,
  actor_id,
  changes,
  undoes,
  ...event
}: AuditEvent): z.output<typeof auditEvent> => ({
  ...event,
  actor: { user_id: actor_id },
  changes: changes as z.output<typeof auditEvent>['changes'],
  ...(undoes && { undoes: [...undoes] }),
})
