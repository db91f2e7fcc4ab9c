import canonicalize from 'canonicalize'
import { v7 as uuidv7 } from 'uuid'
import type { RequestContext } from '../../../app/ports/accounts.ts'
import type { Metadata } from '../../../app/ports/event-store.ts'
import { USER_EVENT_SCHEMA_VERSION } from '../../../domain/user.ts'

/** The last parameters of a database function that writes an event of a user, and the security event. */
export function userEventValues(
  session_id: string | null,
  { request_id, ip, user_agent }: RequestContext,
): unknown[] {
  const correlation = { request_id, correlation_id: request_id, causation_id: uuidv7() }
  const metadata: Metadata = { ...correlation, session_id, ip }
  const event = [uuidv7(), USER_EVENT_SCHEMA_VERSION, canonicalize(metadata)]
  return [...event, ip, user_agent, request_id]
}
