import { execFile, execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdir, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Engine, findEngine } from '../../scripts/images.ts'
import { type Started, startProcess } from './processes.ts'
import { makeStandInBase } from './stand-in-base.ts'

const execute = promisify(execFile)

/** Two clones on one machine can share it; nothing that a release is built on may come from here. */
const STORAGE = '/var/tmp/tasktrail-images'
const OVERLAYFS = 0x794c7630
const STAND_IN_TOOLS = ['buildah', 'mmdebstrap', 'podman', 'runc']

/** As ECS runs them: no file system to write to, no capability, no way to more rights. */
const AS_DEPLOYED = [
  ...['--read-only', '--cap-drop=all', '--security-opt=no-new-privileges'],
  // The tests' PostgreSQL listens on this machine's loopback.
  '--network=host',
  // Run by the tests themselves; podman would ask systemd for a timer.
  '--no-healthcheck',
  // Within what a sandbox may set that cannot raise its own limits.
  ...['--ulimit=nofile=1024:1024', '--ulimit=nproc=1024:1024'],
]

export type Container = Started & {
  /** Runs a command inside; resolves with how it ended. */
  readonly exec: (...command: string[]) => Promise<{ code: number; output: string }>
  /** What the kernel says of the container's first process. */
  readonly processId: () => Promise<number>
  /** Sends the image's stop signal and waits. */
  readonly stop: () => Promise<string>
}

export type RunOptions = {
  readonly env: Readonly<Record<string, string>>
  readonly command?: readonly string[]
  /** Files of this machine, read-only, by their place in the container. */
  readonly files?: Readonly<Record<string, string>>
  /** Directories of this machine that it may write to, by their place in the container. */
  readonly stores?: Readonly<Record<string, string>>
}

export type Containers = {
  readonly engine: Engine['name']
  /** The variables with which the engine's own commands work on the tests' storage. */
  readonly env: Record<string, string>
  /** Makes what the Dockerfile builds on, where it cannot be pulled. */
  readonly provideBase: (image: string) => Promise<void>
  readonly run: (image: string, options: RunOptions) => Container
  readonly inspect: (image: string) => Promise<ImageConfig>
  readonly removeAll: () => Promise<void>
}

export type ImageConfig = {
  readonly User: string
  readonly Entrypoint: readonly string[]
  readonly Cmd: readonly string[] | null
  readonly StopSignal: string
  readonly Healthcheck?: { readonly Test: readonly string[] }
  readonly Labels: Readonly<Record<string, string>>
  readonly Env: readonly string[]
}

const has = (command: string): boolean => {
  try {
    execFileSync('sh', ['-c', `command -v ${command}`], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** Why no image can be built and run here; null when it can. */
export function whyNoContainers(): string | null {
  if (process.platform !== 'linux') return 'the containers use the network of a Linux machine'
  const engineless = findEngine()?.name !== 'docker'
  if (engineless && process.getuid?.() !== 0) {
    return 'no Docker engine answers, and without one it takes root'
  }
  const missing = ['openssl', ...(engineless ? STAND_IN_TOOLS : [])].filter((tool) => !has(tool))
  if (missing.length === 0) return null
  return `${engineless ? 'no Docker engine answers, and ' : ''}${missing.join(', ')} is not here`
}

export const openContainers = async (): Promise<Containers> =>
  findEngine()?.name === 'docker'
    ? containers('docker', ['docker'], {}, async () => {})
    : containers(
        'buildah',
        ['podman', '--runtime=runc', '--cgroup-manager=cgroupfs'],
        await ownStorage(),
        makeStandInBase,
      )

async function ownStorage(): Promise<Record<string, string>> {
  await mkdir(STORAGE, { recursive: true, mode: 0o700 })
  const driver = (await statfs(STORAGE)).type === OVERLAYFS ? 'vfs' : 'overlay'
  const settings = { driver, graphroot: join(STORAGE, 'storage'), runroot: join(STORAGE, 'run') }
  const file = join(STORAGE, 'storage.conf')
  const lines = Object.entries(settings).map(([name, value]) => `${name} = "${value}"`)
  await writeFile(file, ['[storage]', ...lines, ''].join('\n'))
  return { CONTAINERS_STORAGE_CONF: file, BUILDAH_ISOLATION: 'chroot' }
}

function containers(
  engine: Engine['name'],
  [command = '', ...global]: readonly string[],
  own: Record<string, string>,
  makeBase: (image: string, env: Record<string, string>) => Promise<void>,
): Containers {
  const env = { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '/root', ...own }
  const names: string[] = []
  const call = async (...args: string[]) => {
    const { stdout } = await execute(command, [...global, ...args], { env })
    return stdout.trim()
  }
  const readOnly = engine === 'buildah' ? ['--read-only-tmpfs=false'] : []

  return {
    engine,
    env,
    provideBase: (image) => makeBase(image, env),

    run(image, { env: variables, command: arguments_ = [], files = {}, stores = {} }) {
      const name = `tasktrail-test-${randomUUID()}`
      names.push(name)
      const given = Object.entries(variables).flatMap(([key, value]) => [
        '--env',
        `${key}=${value}`,
      ])
      const mounts = [
        ...Object.entries(files).map(([place, file]) => `--volume=${file}:${place}:ro`),
        ...Object.entries(stores).map(([place, store]) => `--volume=${store}:${place}:rw`),
      ]
      const options = ['--rm', '--name', name, ...AS_DEPLOYED, ...readOnly, ...mounts, ...given]
      const started = startProcess(command, [...global, 'run', ...options, image, ...arguments_], {
        env,
      })
      return {
        ...started,
        exec: (...inside) =>
          execute(command, [...global, 'exec', name, ...inside], { env }).then(
            ({ stdout }) => ({ code: 0, output: stdout.trim() }),
            ({ code, stderr }) => ({ code, output: String(stderr).trim() }),
          ),
        processId: async () => Number(await call('inspect', '--format={{.State.Pid}}', name)),
        stop: async () => {
          await call('stop', '-t', '30', name)
          return started.ended
        },
      }
    },

    async inspect(image) {
      const [{ Config, Healthcheck }] = JSON.parse(await call('image', 'inspect', image))
      return { Healthcheck, ...Config }
    },

    async removeAll() {
      // Those that have ended are gone already.
      for (const name of names) await call('rm', '--force', name).catch(() => {})
      // A developer's next run is quick by the layers of this one; older ones only fill the disk.
      if (engine === 'buildah') await call('image', 'prune', '--force', '--filter=until=48h')
    },
  }
}
