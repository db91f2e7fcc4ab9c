import { execFile, execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { SUPERUSER, startEmbeddedPostgres } from '../../src/infra/local/embedded-postgres.ts'
import { freePorts } from '../../src/infra/local/free-ports.ts'
import { postgresBinaries } from '../../src/infra/local/postgres-binaries.ts'
import { migrations } from '../../src/infra/postgres/connection/migrations.ts'
import type { TestDatabase } from './postgres.ts'
import { removePlace, until } from './processes.ts'

/** Debian has it in postgresql-client; the server from npm comes without. */
const BASE_BACKUP = ['/usr/lib/postgresql/15/bin/pg_basebackup', 'pg_basebackup'].find((path) => {
  try {
    return / 15\./.test(execFileSync(path, ['--version'], { encoding: 'utf8' }))
  } catch {
    return false
  }
})

export const hasBaseBackup = BASE_BACKUP !== undefined

export type ReplicatedPostgres = {
  /** On the primary. */
  readonly database: TestDatabase
  readonly primary: pg.Pool
  /** The same database on the replica. */
  readonly replicaUrl: string
  readonly replicaPort: number
  readonly pause: () => Promise<unknown>
  readonly resume: () => Promise<unknown>
  readonly setReplica: (setting: string, value: string) => Promise<unknown>
  readonly promote: () => Promise<unknown>
  readonly kill: () => Promise<unknown>
  readonly start: () => Promise<void>
  readonly stop: () => Promise<void>
}

const DATABASE = 'tasktrail'

/** A primary with the current schema, and a streaming replica of it. */
export async function replicatedPostgres(): Promise<ReplicatedPostgres> {
  const place = await mkdtemp(join(tmpdir(), 'tasktrail-replica-'))
  const password = randomUUID()
  const settings = { fsync: 'off', full_page_writes: 'off' }
  const server = await startEmbeddedPostgres({
    dataDir: join(place, 'primary'),
    password,
    database: DATABASE,
    settings,
  })
  const [port = 0] = await freePorts(1)
  const urlOf = (port: number) =>
    `postgres://${SUPERUSER}:${password}@127.0.0.1:${port}/${DATABASE}`
  const url = urlOf(server.port)
  const connection = {
    host: '127.0.0.1',
    port: server.port,
    user: SUPERUSER,
    password,
    database: DATABASE,
  }
  const schema = migrations({ connection, poolMax: 1 })
  await schema.latest().finally(schema.close)
  const primary = new pg.Pool(connection)
  primary.on('error', () => {}) // It may outlive the server by a moment.

  const dataDir = join(place, 'replica')
  const copying = ['--pgdata', dataDir, '--write-recovery-conf', '--checkpoint=fast', '--no-sync']
  const from = `postgres://${SUPERUSER}:${password}@127.0.0.1:${server.port}/`
  await promisify(execFile)(BASE_BACKUP ?? '', [...copying, '--dbname', from])
  const binaries = await postgresBinaries(dataDir)
  await binaries.own(dataDir)

  const options = { ...settings, port, listen_addresses: '127.0.0.1', unix_socket_directories: '' }
  const flags = Object.entries(options).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const run = () => binaries.run('postgres', ['-D', dataDir, ...flags])
  let replica: ReturnType<typeof run> | undefined
  const ask = async (statement: string) => {
    const client = new pg.Client({ ...connection, port, connectionTimeoutMillis: 1_000 })
    client.on('error', () => {})
    await client.connect()
    return client.query(statement).finally(() => client.end())
  }
  const start = async () => {
    replica = run()
    await until(
      () =>
        ask('select').then(
          () => true,
          () => false,
        ),
      () => `the replica: ${replica?.reason()}`,
    )
  }
  const kill = async () => {
    replica?.kill('SIGKILL')
    await replica?.exited
  }
  await start()

  return {
    database: { config: { connection, poolMax: 10 }, url, drop: async () => {} },
    primary,
    replicaUrl: urlOf(port),
    replicaPort: port,
    pause: () => ask('select pg_wal_replay_pause()'),
    resume: () => ask('select pg_wal_replay_resume()'),
    setReplica: async (setting, value) => {
      await ask(`alter system set ${setting} = '${value}'`)
      await ask('select pg_reload_conf()')
    },
    promote: () => ask('select pg_promote()'),
    kill,
    start,
    stop: async () => {
      await kill()
      await primary.end()
      await server.stop()
      await removePlace(place)
    },
  }
}
