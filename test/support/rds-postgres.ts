import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { SUPERUSER, startEmbeddedPostgres } from '../../src/infra/local/embedded-postgres.ts'

export const DATABASE = 'taskmanagement'
export const ADMINISTRATOR = 'dbadmin'

export type RdsPostgres = {
  /** The variables of a process that logs in as this user. */
  readonly envOf: (user: string, password: string) => Record<string, string>
  /** Of the administrator, as of the secret that RDS makes. */
  readonly password: string
  /** Answers statements with the rights of nobody but the superuser, whom RDS gives to nobody. */
  readonly root: pg.Client
  readonly stop: () => Promise<void>
}

/**
 * A server as RDS hands one over: the administrator is no superuser. It may create roles and databases,
 * owns the one database, and is a member of `rds_superuser`, which may do a little more than others.
 */
export async function rdsPostgres(): Promise<RdsPostgres> {
  const place = await mkdtemp(join(tmpdir(), 'tasktrail-rds-'))
  const password = randomUUID()
  const settings = { fsync: 'off', synchronous_commit: 'off' }
  const own = randomUUID()
  const server = await startEmbeddedPostgres({
    dataDir: join(place, 'pg'),
    password: own,
    settings,
  })
  const { port } = server
  const host = '127.0.0.1'
  const connection = { host, port, user: SUPERUSER, password: own, database: 'postgres' }
  const root = new pg.Client(connection)
  await root.connect()
  await root.query('create role rds_superuser nologin')
  await root.query(
    'grant pg_monitor, pg_signal_backend, pg_checkpoint to rds_superuser with admin option',
  )
  await root.query(`
    create role ${ADMINISTRATOR} login createdb createrole password '${password}'
      valid until 'infinity' in role rds_superuser`)
  await root.query(`create database ${DATABASE} owner ${ADMINISTRATOR}`)
  return {
    envOf: (DB_USER, DB_PASSWORD) => {
      return { DB_HOST: host, DB_PORT: String(port), DB_NAME: DATABASE, DB_USER, DB_PASSWORD }
    },
    password,
    root,
    stop: async () => {
      await root.end()
      await server.stop()
      await rm(place, { recursive: true, force: true })
    },
  }
}
