import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import {
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from '../../src/infra/local/embedded-postgres.ts'
import { SUPERUSER } from '../../src/infra/local/postgres-data.ts'
import type { DatabaseConfig } from '../../src/infra/postgres/connection/database.ts'
import { migrations } from '../../src/infra/postgres/connection/migrations.ts'

export type TestDatabase = {
  readonly config: DatabaseConfig
  /** The same as a postgres:// URL. */
  readonly url: string
  readonly drop: () => Promise<void>
}

const TEMPLATE = 'template_tasktrail'

let directory: string | undefined
let server: EmbeddedPostgres | undefined

/** One server for all spec files, also those that run in processes of their own. */
export async function mochaGlobalSetup(): Promise<void> {
  directory = await mkdtemp(join(tmpdir(), 'tasktrail-test-'))
  // For the hundreds of processes that tests start, see processes.ts.
  process.env.NODE_COMPILE_CACHE = join(directory, 'compiled')
  const password = randomUUID()
  server = await startEmbeddedPostgres({
    dataDir: join(directory, 'postgres'),
    password,
    database: TEMPLATE,
    settings: { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' },
  })
  const { port } = server
  process.env.TEST_POSTGRES = JSON.stringify({ host: '127.0.0.1', port, user: SUPERUSER, password })
  const schema = migrations({ connection: connectionTo(TEMPLATE), poolMax: 1 })
  await schema.latest().finally(schema.close)
}

export async function mochaGlobalTeardown(): Promise<void> {
  await server?.stop()
  if (directory !== undefined) await rm(directory, { recursive: true, force: true })
}

/** A fresh database with the current schema and nothing in it. */
export async function testDatabase(): Promise<TestDatabase> {
  const name = `test_${randomUUID().replaceAll('-', '')}`
  const connection = connectionTo(name)
  const { host, port, user, password } = connection
  await administer(`create database ${name} template ${TEMPLATE}`)
  return {
    config: { connection, poolMax: 10 },
    url: `postgres://${user}:${password}@${host}:${port}/${name}`,
    drop: () => administer(`drop database if exists ${name} with (force)`),
  }
}

function connectionTo(database: string) {
  const { TEST_POSTGRES } = process.env
  if (TEST_POSTGRES === undefined) throw new Error('test/support/postgres.ts was not required.')
  const place: { host: string; port: number; user: string; password: string } =
    JSON.parse(TEST_POSTGRES)
  return { ...place, database }
}

async function administer(statement: string): Promise<void> {
  const client = new pg.Client(connectionTo('postgres'))
  await client.connect()
  await client.query(statement).finally(() => client.end())
}
