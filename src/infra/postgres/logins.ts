import pg from 'pg'
import type { DatabaseConfig, Login } from '../../config.ts'

/**
 * Makes a service's login user, or brings its password and its membership up to date. Run with each migration, so a new password needs no more than a new run.
 */
export async function setLogins(config: DatabaseConfig, logins: readonly Login[]): Promise<void> {
  const client = new pg.Client({ ...config.connection, connectionTimeoutMillis: 5_000 })
  await client.connect()
  try {
    for (const { user, password, role } of logins) {
      const name = pg.escapeIdentifier(user)
      await client.query('begin')
      // Two runs at once would update the same row of the catalogue.
      await client.query('select pg_advisory_xact_lock(7455, 3)')
      const { rowCount } = await client.query('select from pg_roles where rolname = $1', [user])
      if (rowCount === 0) await client.query(`create role ${name} login`)
      await client.query(`alter role ${name} with login password ${pg.escapeLiteral(password)}`)
      await client.query(`grant ${role} to ${name}`)
      await client.query('commit')
    }
  } finally {
    await client.end()
  }
}
