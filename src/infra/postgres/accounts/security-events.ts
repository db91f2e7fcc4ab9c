import type { RequestContext, SecurityEvent, SecurityEvents } from '../../../app/ports/accounts.ts'
import type { Database } from '../connection/database.ts'

/**
 * Begins a statement that records a security event; its first four parameters are those of the request.
 * Used inside the statement that makes the change, so that neither exists without the other.
 */
export const RECORD = `
  insert into security_events
    (request_id, ip, user_agent, occurred_at, type, user_id, username, session_id, details)`

export const requestContextValues = ({
  request_id,
  ip,
  user_agent,
  now,
}: RequestContext): unknown[] => [request_id, ip, user_agent, now]

const ADD = {
  name: 'add_security_event',
  text: `${RECORD} values ($1, $2, $3, $4, $5, $6, $7, null, $8)`,
}

// "Nulls last" is the order of the index of users' events alone.
const OF_USER = {
  name: 'security_events_of_user',
  text: `
    select id, type, ip, user_agent, session_id, details, occurred_at from security_events
    where user_id = $1 and id < $2 order by id desc nulls last limit $3`,
}

const VIEWED = {
  name: 'record_users_viewed',
  text: `${RECORD} values ($1, $2, $3, $4, 'users_viewed', $5, $6, $7, $8)`,
}

export function postgresSecurityEvents(db: Database): SecurityEvents {
  return {
    async add(type, { user_id, username }, requestContext, details = {}) {
      const event = [type, user_id, username, details]
      await db.query(ADD, [...requestContextValues(requestContext), ...event])
    },

    ofUser: (user_id, { before = Number.MAX_SAFE_INTEGER, limit }) =>
      db.query<SecurityEvent>(OF_USER, [user_id, before, limit]),
    async viewed({ user_id, username, session_id }, what, requestContext) {
      const who = [user_id, username, session_id]
      await db.query(VIEWED, [...requestContextValues(requestContext), ...who, what])
    },
  }
}
