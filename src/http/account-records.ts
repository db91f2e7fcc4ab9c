import { z } from 'zod'
import type { AccountRecords } from '../app/ports/account-records.ts'
import type { TokenValidator } from '../app/ports/authorization.ts'
import { accessToken } from './authenticate.ts'
import type { Endpoint, routes } from './endpoint.ts'

const read = {
  method: 'post',
  path: '/internal/account-records',
  summary: "What is kept of the caller's account",
  description: 'For task-service only, which puts it into the export of a person.',
  access: 'internal-with-token',
  body: z
    .strictObject({ after: z.string().max(200).nullable() })
    .meta({ id: 'AccountRecordsAfter' }),
  answers: {
    200: {
      description: 'A page; next is null on the last one',
      body: z.strictObject({
        records: z.array(z.looseObject({ record: z.string() })),
        next: z.string().nullable(),
      }),
    },
  },
} as const satisfies Endpoint

export const ACCOUNT_RECORD_ENDPOINTS: readonly Endpoint[] = [read] as readonly Endpoint[]

export type AccountRecordRoutes = {
  readonly records: AccountRecords
  readonly tokens: TokenValidator
}

export function accountRecordRoutes(
  on: ReturnType<typeof routes>,
  { records, tokens }: AccountRecordRoutes,
): void {
  on(read, async ({ body }, ctx) => {
    const { user_id } = await tokens.validate(accessToken(ctx), ctx.state.request_id)
    ctx.body = await records(user_id, body.after)
  })
}
