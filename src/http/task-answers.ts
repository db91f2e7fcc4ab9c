import { createHash } from 'node:crypto'
import type { Context } from 'koa'
import { v7 as uuidv7 } from 'uuid'
import { z } from 'zod'
import type { CommandContext, Handled } from '../app/handle-command.ts'
import type { Caller } from '../app/ports/authorization.ts'
import type { TaskView } from '../domain/task/view.ts'
import type { Answer } from './endpoint.ts'
import type { ErrorCode } from './errors.ts'
import { etagOf, firstFalse, type Preconditions } from './preconditions.ts'
import * as schema from './task-schemas.ts'

// What the calls that answer with one task have in common.

export const ETAG = { ETag: 'The version in quotes' }
export const REPLAYED = {
  'Idempotent-Replayed': 'true when this is the stored answer of an earlier request',
}
export const taskAnswer = (
  description: string,
  headers: Answer['headers'],
  more: z.ZodRawShape = {},
): Answer => ({
  description,
  body: z.strictObject({ task: schema.taskSchema, ...more }),
  headers: { ...ETAG, ...headers },
})
/** The task does not exist, or it is another user's. */
export const OWN: readonly ErrorCode[] = ['task_not_found', 'task_forbidden']
export const KEYED: readonly ErrorCode[] = [
  'idempotency_key_reused',
  'idempotency_key_in_use',
  'quota_exceeded',
]
export const CHANGING: readonly ErrorCode[] = [
  ...OWN,
  ...KEYED,
  'version_mismatch',
  'write_conflict',
]

type WriteHeaders = Preconditions & { readonly 'Idempotency-Key'?: string | undefined }

/** `body` is the parsed one: its keys are in the schema's order, whatever the client's was. */
export function commandContext(
  ctx: Context,
  caller: Caller,
  { 'Idempotency-Key': key, ...preconditions }: WriteHeaders,
  body: unknown,
): CommandContext<TaskView> {
  const { request_id } = ctx.state
  const fingerprint = () => {
    const request = JSON.stringify([ctx.method, ctx.path, preconditions, body])
    return createHash('sha256').update(request).digest()
  }
  return {
    actor_id: caller.user_id,
    metadata: {
      request_id,
      correlation_id: request_id,
      causation_id: uuidv7(),
      session_id: caller.session_id,
      ip: ctx.ip,
    },
    precondition: (task) => firstFalse(preconditions, task) === null,
    command: key === undefined ? undefined : { key, fingerprint: fingerprint() },
  }
}

export function showTask(
  ctx: Context,
  { row, replayed }: Handled<TaskView>,
  more: object = {},
): void {
  ctx.set('ETag', etagOf(row))
  ctx.set('Cache-Control', 'private, no-cache')
  if (replayed) ctx.set('Idempotent-Replayed', 'true')
  // A status set before stays.
  const rest = Object.entries(more).map(([name, value]) => `,"${name}":${JSON.stringify(value)}`)
  ctx.body = `{"task":${schema.taskJson(row)}${rest.join('')}}`
  ctx.type = 'application/json'
}
