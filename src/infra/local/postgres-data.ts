import { mkdir, readdir, readFile, rename, rm, unlink, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Binaries, realPlace } from './postgres-binaries.ts'
import { isPostmaster, readPostmaster } from './postmaster.ts'

export const SUPERUSER = 'tasktrail'
const MAJOR = '15'

// A server that was just killed, or lost its parent, still has backends to end and a checkpoint to write.
const PREDECESSOR_MS = { running: 3_000, stopping: 30_000 }

/** Ensures a data directory of this version, with the superuser's password if it is new. */
export async function prepareData(
  binaries: Binaries,
  dataDir: string,
  password: string,
  syncs: boolean,
): Promise<void> {
  if (await isNew(dataDir)) await initialise(binaries, dataDir, password, syncs)
}

async function isNew(dataDir: string): Promise<boolean> {
  const entries = await readdir(dataDir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  if (entries.length === 0) return true
  const major = await readFile(join(dataDir, 'PG_VERSION'), 'utf8').catch(() => null)
  if (major === null) throw new Error(`${dataDir} is not empty and holds no PostgreSQL data.`)
  if (major.trim() === MAJOR) return false
  throw new Error(
    `${dataDir} was created by PostgreSQL ${major.trim()}, but this is PostgreSQL ${MAJOR}: ` +
      'move it away, or set DATA_DIR to another directory.',
  )
}

/** Works in a directory beside it that is renamed at the end, so that a kill leaves nothing half done. */
async function initialise(
  binaries: Binaries,
  dataDir: string,
  password: string,
  syncs: boolean,
): Promise<void> {
  const real = await realPlace(dataDir)
  await removeLeftovers(real)
  const staging = `${real}.initdb-${process.pid}`
  const [made, passwordFile] = [join(staging, 'data'), join(staging, 'password')]
  try {
    await mkdir(staging, { mode: 0o700 })
    await writeFile(passwordFile, password, { mode: 0o600 })
    await binaries.own(staging)
    const args = [`--pgdata=${made}`, `--username=${SUPERUSER}`, `--pwfile=${passwordFile}`]
    args.push('--auth=scram-sha-256', '--encoding=UTF8', '--locale=C.UTF-8')
    const initdb = binaries.run('initdb', syncs ? args : [...args, '--no-sync'])
    if ((await initdb.exited) !== 'code 0') {
      throw new Error(`initdb failed in ${dataDir}: ${initdb.reason()}`)
    }
    await rename(made, real)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOTEMPTY') throw alreadyRunning(dataDir)
    throw error
  } finally {
    await remove(staging)
  }
}

/** Left by starts that were killed while they created a data directory. */
async function removeLeftovers(real: string): Promise<void> {
  for (const name of await readdir(dirname(real))) {
    const [, pid] = name.match(/\.initdb-(\d+)$/) ?? []
    if (pid === undefined || !name.startsWith(`${basename(real)}.`) || isAlive(Number(pid)))
      continue
    await remove(join(dirname(real), name))
  }
}

/** A killed initdb may still be writing, and removing a directory that gains a file fails. */
const remove = (directory: string): Promise<void> =>
  rm(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })

function isAlive(pid: number): boolean {
  if (pid === process.pid) return false // A reused pid: this process has created nothing yet.
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Waits for a server that is about to end; fails if it keeps running. */
export async function predecessorIsGone(dataDir: string): Promise<void> {
  const start = Date.now()
  for (;;) {
    const server = await readPostmaster(dataDir)
    if (server === null) return
    if (!(await isPostmaster(server.pid, dataDir))) {
      // PostgreSQL would take any live process with the stale pid for another server. Another start may
      // have put its own there by now.
      const now = await readPostmaster(dataDir)
      if (now?.pid === server.pid) return unlink(join(dataDir, 'postmaster.pid'))
      continue
    }
    const patience = server.status === 'stopping' ? 'stopping' : 'running'
    if (Date.now() - start > PREDECESSOR_MS[patience]) throw alreadyRunning(dataDir, server.pid)
    await sleep(50)
  }
}

const alreadyRunning = (dataDir: string, pid?: number): Error =>
  new Error(
    `Another Tasktrail already runs on ${dataDir}${pid === undefined ? '' : ` (PostgreSQL, pid ${pid})`}: ` +
      'stop it, or set DATA_DIR to another directory.',
  )
