import { z } from 'zod'
import type { SecurityEvents } from '../app/ports/accounts.ts'
import { readCursor, writeCursor } from './cursors.ts'
import type { Endpoint, routes } from './endpoint.ts'
import { instant, pageSize } from './fields.ts'

const ownEvent = z
  .strictObject({
    id: z.int(),
    type: z.string().meta({ examples: ['login_failed'] }),
    occurred_at: instant,
    ip: z.string().nullable(),
    user_agent: z.string().nullable(),
    session_id: z.uuid().nullable(),
    details: z.looseObject({}),
  })
  .meta({ id: 'OwnSecurityEvent' })

const events = {
  method: 'get',
  path: '/auth/events',
  summary: "What happened to the caller's account",
  description:
    'Sign-ins and attempts, sessions that ended, changes of password and role, and the like; also by whom else. ' +
    'It is kept for a time, a year unless the installation says otherwise. `GET /audit/security-events/:id/proof` ' +
    'proves that one is in the log.',
  access: 'token',
  query: {
    limit: pageSize.optional().meta({ description: 'Page size, 1 to 200; default 50' }),
    cursor: z.string().max(100, 'must be a cursor of this list').optional(),
  },
  answers: {
    200: {
      description: 'Newest first; next_cursor is null on the last page',
      body: z.strictObject({ events: z.array(ownEvent), next_cursor: z.string().nullable() }),
    },
  },
} as const satisfies Endpoint

export const ACCOUNT_EVENT_ENDPOINTS: readonly Endpoint[] = [events] as readonly Endpoint[]

const PAGE_SIZE = 50
/** Names the list in its cursors. */
const LIST = 'own'

export function accountEventRoutes(
  on: ReturnType<typeof routes>,
  { securityEvents }: { readonly securityEvents: SecurityEvents },
): void {
  on(events, async ({ query: { limit = PAGE_SIZE, cursor } }, ctx, caller) => {
    const page = { before: readCursor(LIST, cursor), limit: limit + 1 }
    const found = await securityEvents.ofUser(caller.user_id, page)
    const shown = found.slice(0, limit)
    const last = found.length > limit ? shown.at(-1) : undefined
    const next_cursor = last === undefined ? null : writeCursor(LIST, last.id)
    ctx.body = { events: shown, next_cursor }
  })
}
