import type { Knex } from 'knex'

/** What pages of each table are asked for by, see src/infra/postgres/audit/audit-records.ts. */
const FILTERS = {
  security_events: ['user_id', 'type', 'ip', 'request_id'],
  audit_accesses: ['user_id', 'kind', 'request_id'],
}

// Accesses and security events are read by auditors over the API, and by users their own.
export async function up(knex: Knex): Promise<void> {
  // "Nulls first" makes their order differ from the primary key's, which the planner would otherwise walk in the hope
  // of soon finding a match.
  for (const [table, columns] of Object.entries(FILTERS)) {
    await knex.raw(`drop index ${table}_of_user`)
    for (const column of columns) {
      const of = column === 'user_id' ? 'user' : column
      await knex.raw(`create index ${table}_of_${of} on ${table} (${column}, id nulls first)`)
    }
  }
  await knex.raw(`
    -- The leaf that covers a row is the first one that goes as far.
    create index log_records_by_access on log_records (access_id, leaf);
    create index log_records_by_security_event on log_records (security_event_id, leaf);
    -- All columns: the hash covers whole rows.
    grant select on security_events, audit_accesses to tasktrail_task;
    grant select (id, type, user_id, session_id, ip, user_agent, details, occurred_at) on security_events
      to tasktrail_auth;
  `)
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    revoke select (id, type, user_id, session_id, ip, user_agent, details, occurred_at) on security_events
      from tasktrail_auth;
    revoke select on security_events, audit_accesses from tasktrail_task;
    drop index log_records_by_access;
    drop index log_records_by_security_event;
  `)
  for (const [table, columns] of Object.entries(FILTERS)) {
    for (const column of columns) {
      await knex.raw(`drop index ${table}_of_${column === 'user_id' ? 'user' : column}`)
    }
    await knex.raw(`create index ${table}_of_user on ${table} (user_id, id)`)
  }
}
