import { readFile, readlink, realpath } from 'node:fs/promises'
import { join } from 'node:path'

/** What a PostgreSQL server writes about itself into its data directory. */
export type Postmaster = {
  readonly pid: number
  readonly port: number
  /** `starting`, `ready`, `stopping`, or empty if it has not got that far. */
  readonly status: string
}

/** The contents of postmaster.pid, or null if there is none. The server may be long dead. */
export async function readPostmaster(dataDir: string): Promise<Postmaster | null> {
  let text: string
  try {
    text = await readFile(join(dataDir, 'postmaster.pid'), 'utf8')
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return null
    throw error
  }
  const lines = text.split('\n').map((line) => line.trim())
  return { pid: Number(lines[0]), port: Number(lines[3]), status: lines[7] ?? '' }
}

/** The server that is alive in this data directory, or null. */
export async function livePostmaster(dataDir: string): Promise<Postmaster | null> {
  const postmaster = await readPostmaster(dataDir)
  return postmaster !== null && (await isPostmaster(postmaster.pid, dataDir)) ? postmaster : null
}

/**
 * Whether the process is a server on this data directory. Being alive is not enough: after a crash the pid
 * in a stale file may belong to any process, and in a container it usually does.
 */
export async function isPostmaster(pid: number, dataDir: string): Promise<boolean> {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false
  }
  try {
    // The server makes its data directory its working directory.
    return (await readlink(`/proc/${pid}/cwd`)) === (await realpath(dataDir))
  } catch (error) {
    if (process.platform !== 'linux') return true
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    // Another user's process shows only its name, not its directory.
    const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')
    return name.trim() === 'postgres'
  }
}
