import { z } from 'zod'
import type { AuditRecord } from '../app/ports/audit-records.ts'
import { base64Hash, leaf, pageConditions, records, rowConditions } from './audit-schemas.ts'
import { id, instant } from './fields.ts'

const WORD = /^[a-z][a-z_]{0,63}$/
/** New types come with new versions: nobody has to know all of them to ask for one. */
const words = z
  .string()
  .refine(
    (list) => list.split(',').every((word) => WORD.test(word)) && list.split(',').length <= 20,
    'must be a comma-separated list of up to 20 types such as login_failed',
  )
  .transform((list) => [...new Set(list.split(','))])

const shared = {
  id: z.int(),
  user_id: z.int().nullable(),
  session_id: z.string().nullable(),
  ip: z.string().nullable(),
}

export const securityEvent = z
  .strictObject({
    ...shared,
    type: z.string().meta({ examples: ['login_failed'] }),
    username: z.string().nullable().meta({ description: 'As it was given, or was then' }),
    user_agent: z.string().nullable(),
    request_id: z.string().nullable(),
    details: z.looseObject({}),
    occurred_at: instant,
    recorded_at: instant,
  })
  .meta({ id: 'SecurityEvent' })

export const access = z
  .strictObject({
    ...shared,
    user_id: z.int().meta({ description: 'Who looked' }),
    kind: z.enum(['looked', 'exported']),
    role: z.string(),
    request_id: z.string(),
    query: z.looseObject({}).meta({ description: 'What was asked for' }),
    accessed_at: instant,
    recorded_at: instant,
  })
  .meta({ id: 'Access' })

const ms = (time: unknown): unknown =>
  typeof time === 'string' ? time.replace(/(\.\d{3})\d*Z$/, '$1Z') : time

export function securityEventOf({ row }: AuditRecord): z.output<typeof securityEvent> {
  const { id, type, user_id = null, username = null, session_id = null } = row
  const { ip = null, user_agent = null, request_id = null, details } = row
  const who = { user_id, username, session_id, ip, user_agent, request_id }
  const times = { occurred_at: ms(row.occurred_at), recorded_at: ms(row.recorded_at) }
  return { id, type, ...who, details, ...times } as z.output<typeof securityEvent>
}

export function accessOf({ row }: AuditRecord): z.output<typeof access> {
  const { id, kind, user_id, role, session_id = null, ip = null, request_id, query } = row
  const times = { accessed_at: ms(row.accessed_at), recorded_at: ms(row.recorded_at) }
  const found = { id, kind, user_id, role, session_id, ip, request_id, query, ...times }
  return found as z.output<typeof access>
}

export const securityEventsQuery = {
  user_id: id.optional().meta({ description: 'Whose account it is' }),
  type: words.optional().meta({ description: 'Comma-separated' }),
  ip: z.string().min(1, 'must be an address').max(45, 'must be an address').optional(),
  ...rowConditions,
  ...pageConditions,
}

export const accessesQuery = {
  user_id: id.optional().meta({ description: 'Who looked' }),
  kind: z.enum(['looked', 'exported']).optional(),
  ...rowConditions,
  ...pageConditions,
}

const table = z.enum(['audit_accesses', 'security_events'])

/** A line of an export of records as NDJSON, or of the proof of one. */
export const recordsLine = z
  .union([
    z.strictObject({
      table,
      ...leaf,
      records,
      marks: z.string().meta({
        description: 'What the digest is of: 45 bytes for each record that the leaf covers, base64',
      }),
    }),
    z.strictObject({
      table,
      row: z.looseObject({ id: z.int() }).meta({ description: 'As it is hashed' }),
    }),
    z.strictObject({
      trailer: z.strictObject({
        table,
        count: z.int(),
        last: z.int().meta({ description: 'Later ones are not in the export' }),
        exported_at: instant,
        exported_by: z.int(),
        query: z.looseObject({}),
        log: z
          .strictObject({ checkpoint: z.string(), after: z.array(base64Hash) })
          .nullable()
          .meta({ description: 'null: nothing of the log has been published yet' }),
      }),
    }),
  ])
  .meta({ id: 'RecordsExportLine' })
