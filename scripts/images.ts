import { type SpawnSyncOptions, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import packageJson from '../package.json' with { type: 'json' }
import { command, UsageError } from '../src/command-line.ts'

const REPOSITORY = fileURLToPath(new URL('..', import.meta.url))
const VERSION = /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$/

export type Engine = {
  readonly name: 'docker' | 'buildah'
  readonly build: readonly string[]
  /** Bytes of all layers of a local image. */
  readonly size: (image: string) => number
}

const docker: Engine = {
  name: 'docker',
  build: ['docker', 'build'],
  size: (image) => {
    const inspect = ['docker', 'image', 'inspect', '--format', '{{.Size}}', image]
    if (succeeds(inspect)) return Number(output(inspect))
    run(['docker', 'pull', '--quiet', image])
    return Number(output(inspect))
  },
}

const buildah: Engine = {
  name: 'buildah',
  // OCI's own format has no health check; the layers are what the targets share.
  build: ['buildah', 'build', '--format=docker', '--layers'],
  size: (image) => {
    const { Manifest } = JSON.parse(output(['buildah', 'inspect', '--type=image', image]))
    const { layers } = JSON.parse(Manifest) as { layers: { size: number }[] }
    return layers.reduce((sum, { size }) => sum + size, 0)
  },
}

/** Docker if an engine answers, else buildah; null if this machine has neither. */
export const findEngine = (): Engine | null => {
  if (succeeds(['docker', 'version', '--format', '{{.Server.Version}}'])) return docker
  return succeeds(['buildah', '--version']) ? buildah : null
}

/** A version without the `v` of its git tag; a name that can change its meaning is refused. */
export function versionOf(tag: string): string {
  const version = tag.replace(/^v(?=\d)/, '')
  if (VERSION.test(version)) return version
  throw new UsageError(
    `"${tag}" is not a semantic version: use one such as v1.2.3, which never moves.`,
  )
}

/** A tag can be moved: an image for a registry names exact bytes, by digest. */
export function checkBase(base: string, repository: string | undefined): void {
  if (repository === undefined || /@sha256:[0-9a-f]{64}$/.test(base)) return
  throw new UsageError(
    `For ${repository} name the base by its digest: --base ${base}@sha256:<digest>.`,
  )
}

/** The names of the Dockerfile's last stages: one per image. */
export const imageNames = (dockerfile: string): readonly string[] =>
  [...dockerfile.matchAll(/^FROM runtime AS (\S+)$/gm)].map(([, name = '']) => name)

export const baseOf = (dockerfile: string): string => {
  const [, base] = /^ARG BASE=(\S+)$/m.exec(dockerfile) ?? []
  if (base === undefined) throw new Error('The Dockerfile names no base.')
  return base
}

// ------------------------------------------------------------------------------------ processes

const options: SpawnSyncOptions = {
  cwd: REPOSITORY,
  // For Docker: without attestations a tag names an image, not a list that also holds one.
  env: { ...process.env, BUILDX_NO_DEFAULT_ATTESTATIONS: '1' },
  stdio: ['ignore', 'pipe', 'inherit'],
}

const succeeds = ([command = '', ...args]: readonly string[]): boolean =>
  spawnSync(command, args, { ...options, stdio: 'ignore' }).status === 0

const output = ([command = '', ...args]: readonly string[]): string => {
  const { status, stdout } = spawnSync(command, args, options)
  if (status !== 0) throw new Error(`${command} ${args[0]} failed.`)
  return stdout.toString().trim()
}

const run = ([command = '', ...args]: readonly string[]): void => {
  const { status } = spawnSync(command, args, {
    ...options,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  if (status !== 0) throw new Error(`${command} ${args[0]} failed.`)
}

/** The commit, and whether the working tree differs from it. */
const revision = (): string => {
  if (!succeeds(['git', 'rev-parse', 'HEAD'])) return 'unknown'
  const changes = output(['git', 'status', '--porcelain'])
  return output(['git', 'rev-parse', 'HEAD']) + (changes === '' ? '' : '-dirty')
}

// -------------------------------------------------------------------------------------- command

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`

const USAGE = `Usage: npm run images [-- --tag v1.2.3] [--repository <prefix>] [--platform linux/arm64] [--base <image>]

Builds every image of the Dockerfile with Docker or buildah, and prints the size of each. For a registry,
name the base by its digest: --base <image>@sha256:...`

const OPTIONS = {
  tag: { type: 'string', default: packageJson.version },
  repository: { type: 'string' },
  // Fargate's platform, not that of the machine that builds.
  platform: { type: 'string', default: 'linux/amd64' },
  base: { type: 'string' },
} as const

type Wanted = {
  readonly tag: string
  readonly platform: string
  readonly repository?: string
  readonly base: string
}

function buildImages(dockerfile: string, values: Wanted): readonly string[] {
  const version = versionOf(values.tag)
  checkBase(values.base, values.repository)
  const engine = findEngine()
  if (engine === null) {
    throw new Error(
      'There is neither a Docker engine nor buildah: start one, or install the other.',
    )
  }
  const given = [`BASE=${values.base}`, `VERSION=${version}`, `REVISION=${revision()}`]
  const arguments_ = given.flatMap((argument) => ['--build-arg', argument])
  return imageNames(dockerfile).map((name) => {
    const image = `${values.repository ?? 'tasktrail'}/${name}:${version}`
    const place = ['--platform', values.platform, '--target', name, '--tag', image, '.']
    run([...engine.build, ...arguments_, ...place])
    const base = engine.size(values.base)
    return `${image}: ${megabytes(engine.size(image) - base)} over its ${megabytes(base)} base`
  })
}

if (import.meta.main) {
  await command({ usage: USAGE, options: OPTIONS }, ({ values }) => {
    const dockerfile = readFileSync(`${REPOSITORY}/Dockerfile`, 'utf8')
    return buildImages(dockerfile, { base: baseOf(dockerfile), ...values })
  })
}
