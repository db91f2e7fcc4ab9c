import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SUPERUSER, startEmbeddedPostgres } from '../../src/infra/local/embedded-postgres.ts'
import { type LoadGenerator, loadGenerator } from './load.ts'
import { type Data, prepare } from './operations.ts'
import { requirePeers } from './peers.ts'
import { type Tasktrail, type TasktrailPlace, tasktrail } from './systems.ts'

export type Running = {
  readonly system: Tasktrail
  readonly data: Data
  readonly generator: LoadGenerator
  /** Of PostgreSQL's first process. */
  readonly postgres: number
}

/**
 * Runs Tasktrail alone, with tasks, on a PostgreSQL of its own, for as long as `work` takes. An error is
 * printed, and the process's exit code becomes 1.
 */
export async function withTasktrail(
  options: Pick<TasktrailPlace, 'users' | 'flags' | 'more'>,
  work: (running: Running) => Promise<void>,
): Promise<void> {
  requirePeers()
  const directory = await mkdtemp(join(tmpdir(), 'tasktrail-alone-'))
  const [password, database] = [randomUUID(), 'tasktrail']
  const dataDir = join(directory, 'postgres')
  const postgres = await startEmbeddedPostgres({ dataDir, password, database })
  const databaseUrl = `postgres://${SUPERUSER}:${password}@127.0.0.1:${postgres.port}/${database}`
  const generator = loadGenerator()
  const stops: (() => unknown)[] = [generator.stop]
  try {
    const system = await tasktrail({ ...options, databaseUrl, directory })
    stops.unshift(system.stop)
    await work({ system, data: await prepare(system), generator, postgres: postgres.pid })
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exitCode = 1
  } finally {
    for (const stop of stops) await stop()
    await postgres.stop()
    await rm(directory, { recursive: true, force: true })
  }
}
