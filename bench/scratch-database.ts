import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { SUPERUSER, startEmbeddedPostgres } from '../src/infra/local/embedded-postgres.ts'
import { migrations } from '../src/infra/postgres/connection/migrations.ts'

export type ScratchDatabase = {
  readonly url: string
  /** As the superuser. */
  readonly sql: pg.Client
  readonly drop: () => Promise<void>
}

// Settings of a small server. None of the figures measures writing to disk.
const SETTINGS = {
  shared_buffers: '1GB',
  maintenance_work_mem: '512MB',
  max_wal_size: '8GB',
  fsync: 'off',
}

/** A server with the current schema, in a directory of its own that is deleted with it. */
export async function scratchDatabase(): Promise<ScratchDatabase> {
  const directory = await mkdtemp(join(tmpdir(), 'tasktrail-bench-'))
  const password = randomUUID()
  const dataDir = join(directory, 'postgres')
  const database = 'tasktrail'
  const server = await startEmbeddedPostgres({ dataDir, password, database, settings: SETTINGS })
  const url = `postgres://${SUPERUSER}:${password}@127.0.0.1:${server.port}/${database}`
  const schema = migrations({ connection: { connectionString: url }, poolMax: 1 })
  await schema.latest().finally(schema.close)
  const sql = new pg.Client(url)
  await sql.connect()
  return {
    url,
    sql,
    async drop() {
      await sql.end()
      await server.stop()
      await rm(directory, { recursive: true, force: true })
    },
  }
}
