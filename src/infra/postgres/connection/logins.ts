import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto'
import pg from 'pg'
import { type DatabaseConfig, transaction } from './database.ts'

/** A user that a service logs in as, and the role that limits it. */
export type Login = {
  readonly user: string
  readonly password: string
  readonly role: 'tasktrail_auth' | 'tasktrail_task' | 'tasktrail_worker'
}

/**
 * Creates a service's login user, or updates its password and membership. Runs with each migration, so a
 * new password only needs a new run.
 */
export async function setLogins(config: DatabaseConfig, logins: readonly Login[]): Promise<void> {
  const client = new pg.Client({ ...config.connection, connectionTimeoutMillis: 5_000 })
  await client.connect()
  try {
    for (const { user, password, role } of logins) {
      const name = pg.escapeIdentifier(user)
      await transaction(client, async () => {
        // Two runs at once would update the same row of the catalogue.
        await client.query('select pg_advisory_xact_lock(7455, 3)')
        const { rowCount } = await client.query('select from pg_roles where rolname = $1', [user])
        if (rowCount === 0) await client.query(`create role ${name} login`)
        await client.query(`alter role ${name} with login password '${scramVerifier(password)}'`)
        await client.query(`grant ${role} to ${name}`)
      })
    }
  } finally {
    await client.end()
  }
}

/**
 * What PostgreSQL itself would store (RFC 5802, as in its scram-common.c). Sent instead of the password,
 * which then appears in no statement that the server may log.
 */
function scramVerifier(password: string): string {
  const [salt, iterations] = [randomBytes(16), 4096]
  const salted = pbkdf2Sync(password.normalize('NFKC'), salt, iterations, 32, 'sha256')
  const keyed = (name: string) => createHmac('sha256', salted).update(name).digest()
  const stored = createHash('sha256').update(keyed('Client Key')).digest('base64')
  const server = keyed('Server Key').toString('base64')
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${stored}:${server}`
}
