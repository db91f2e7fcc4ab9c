import { z } from 'zod'
import { AUDIT_EVENT_TYPES } from '../app/audit-types.ts'
import type { AuditEvent } from '../app/ports/audit.ts'
import { id, instant, listOf, pageSize, time } from './fields.ts'
import { photoFacts } from './task-schemas.ts'

const value = z.union([z.string(), z.boolean(), z.array(photoFacts), z.null()])

/** One event, in histories, audit queries, exports and streams. */
export const auditEvent = z
  .strictObject({
    position: z.int().meta({ description: 'Place among all events' }),
    task_id: z.int().nullable().meta({ description: 'null for an event of a user' }),
    version: z.int(),
    type: z.string().meta({ examples: ['TaskCompleted'] }),
    actor: z.strictObject({ user_id: z.int() }),
    occurred_at: instant,
    recorded_at: instant.meta({ description: 'The same as occurred_at' }),
    request_id: z.string(),
    changes: z.record(z.string(), z.strictObject({ from: value, to: value })).meta({
      description:
        'By field; "photos" are all that the task has, "deleted" says whether the task is deleted; "role" is a user\'s',
    }),
    undoes: z.array(z.int()).optional().meta({ description: 'Versions that this event undoes' }),
    erased: z
      .literal(true)
      .optional()
      .meta({ description: 'The account is erased: its texts are null for good' }),
    unreadable: z
      .literal(true)
      .optional()
      .meta({ description: 'A text of it, or its key, is damaged: that text is null' }),
    hash: z.string().meta({ description: 'SHA-256, lower-case hex' }),
  })
  .meta({ id: 'AuditEvent' })

const FIELDS = [
  'title',
  'description',
  'status',
  'priority',
  'due_date',
  'photos',
  'deleted',
  'role',
] as const

/** In the order of the schema, whatever order the event was stored in. */
export function auditEventOf(event: AuditEvent): z.output<typeof auditEvent> {
  const { position, task_id, version, type, actor_id, occurred_at, recorded_at } = event
  const { request_id, changes, undoes, erased, unreadable, hash } = event
  const shown = FIELDS.flatMap((field) => {
    const change = changes[field]
    return change === undefined ? [] : [[field, { from: change.from, to: change.to }]]
  })
  return {
    position,
    task_id,
    version,
    type,
    actor: { user_id: actor_id },
    occurred_at,
    recorded_at,
    request_id,
    changes: Object.fromEntries(shown),
    ...(undoes && { undoes: [...undoes] }),
    ...(erased && { erased }),
    ...(unreadable && { unreadable }),
    hash,
  }
}

export const rowConditions = {
  from: time.optional().meta({ description: 'Recorded at this time or later' }),
  to: time.optional().meta({ description: 'Recorded before this time' }),
  request_id: z
    .string()
    .regex(
      /^[A-Za-z0-9._-]{1,128}$/,
      'must be 1 to 128 letters, digits, dots, dashes or underscores',
    )
    .optional(),
}

export const auditConditions = {
  actor_id: z
    .literal('0')
    .transform(Number)
    .or(id)
    .optional()
    .meta({ description: 'Who did it; 0: an operator' }),
  task_id: id.optional(),
  type: listOf(AUDIT_EVENT_TYPES).optional().meta({ description: 'Comma-separated' }),
  ...rowConditions,
}

export const pageConditions = {
  order: z
    .enum(['asc', 'desc'])
    .optional()
    .meta({ description: 'By position; default desc, the latest first' }),
  limit: pageSize.optional().meta({ description: 'Page size, 1 to 200; default 50' }),
  cursor: z.string().max(100, 'must be a cursor of this list').optional().meta({
    description: 'next_cursor of the previous page, with the same order',
  }),
}

export const auditQuery = { ...auditConditions, ...pageConditions }

const parked = z.tuple([z.string(), z.int()])

const stored = z.strictObject({
  stream_id: z.string(),
  event_id: z.string(),
  schema_version: z.int(),
  data: z.looseObject({}),
  metadata: z.looseObject({}),
  prev_hash: z.string().nullable(),
})

export const base64Hash = z.string().meta({ description: 'SHA-256, base64' })

export const leaf = {
  leaf: z
    .int()
    .nullable()
    .meta({ description: 'Place in the log; null: the checkpoint does not cover it yet' }),
  before: z.array(base64Hash).meta({
    description:
      'The complete subtrees between the leaf that is shown before this one, and this one, left to right',
  }),
}

export const records = z
  .strictObject({ audit_accesses: z.int(), digest: z.string(), security_events: z.int() })
  .meta({
    description:
      'What a leaf covers that is no event: how far it goes in the records of accesses and of security ' +
      'events, which are not in the export, and the digest of those since the one before',
  })

/** A line of an export as NDJSON. */
export const exportLine = z
  .union([
    z.strictObject({
      ...auditEvent.shape,
      ...leaf,
      stored: stored
        .nullable()
        .meta({ description: 'What the hash covers; null: the log has no such event' }),
      text_keys: z
        .record(z.string(), z.string())
        .meta({ description: 'Keys of the encrypted texts in stored, base64url' }),
    }),
    z.strictObject({ ...leaf, records }),
    z.strictObject({
      trailer: z.strictObject({
        count: z.int(),
        position: z.int().meta({ description: 'Later events are not in the export' }),
        exported_at: instant,
        exported_by: z.int(),
        query: z.looseObject({}),
        parked: z.array(parked).meta({
          description: 'Streams whose events from this version on may be missing from the export',
        }),
        log: z
          .strictObject({
            checkpoint: z.string().meta({ description: 'Signed note (C2SP tlog-checkpoint)' }),
            after: z.array(base64Hash).meta({
              description: 'The complete subtrees between the last leaf that is shown and the end',
            }),
          })
          .nullable()
          .meta({ description: 'null: nothing of the log has been published yet' }),
      }),
    }),
  ])
  .meta({ id: 'AuditExportLine' })
