import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import type { Env } from '../../src/settings.ts'

const run = promisify(execFile)

/** What node:24-bookworm-slim has of Debian as far as our Dockerfile uses it. */
const PACKAGES = ['base-files', 'base-passwd', 'coreutils', 'dash', 'libstdc++6']
const CERTIFICATES = 'etc/ssl/certs/ca-certificates.crt'

/**
 * Makes an image that can stand where the Dockerfile names Node's own one, when no registry of images
 * is in reach: Debian's packages, the Node of node_modules and this machine's npm, with its way to the
 * registry of packages. Kept in buildah's storage, and made only when it is not there.
 */
export async function makeStandInBase(name: string, env: Env): Promise<void> {
  const buildah = async (...args: string[]) => (await run('buildah', args, { env })).stdout.trim()
  if (await buildah('inspect', '--type=image', name).catch(() => null)) return
  const root = await mkdtemp(join(tmpdir(), 'tasktrail-base-'))
  try {
    await installDebian(root)
    await installNode(root)
    await useOurRegistry(root)
    const container = await buildah('from', 'scratch')
    await buildah('add', '--quiet', container, root, '/')
    const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
    await buildah(
      'config',
      '--env',
      `PATH=${path}`,
      '--label',
      'tasktrail.base=stand-in',
      container,
    )
    await buildah('commit', '--quiet', '--format=docker', '--rm', container, name)
  } finally {
    await rm(root, { recursive: true, force: true })
  }
}

/** Unpacked and not configured: seconds instead of minutes. */
async function installDebian(root: string): Promise<void> {
  const without = ['man', 'doc', 'locale', 'info'].map(
    (name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`,
  )
  const options = ['--mode=root', '--variant=extract', `--include=${PACKAGES}`, ...without]
  await run('mmdebstrap', [...options, 'bookworm', root])
  await writeFile(
    join(root, 'etc/passwd'),
    'root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\n',
  )
  await writeFile(join(root, 'etc/group'), 'root:x:0:\nnode:x:1000:\n')
  await mkdir(join(root, 'home/node'), { recursive: true })
}

async function installNode(root: string): Promise<void> {
  const local = join(root, 'usr/local')
  const { resolve } = createRequire(import.meta.url)
  const node = resolve(`node-${process.platform}-${process.arch}/bin/node`)
  const { stdout } = await run('sh', ['-c', 'readlink -f "$(command -v npm)"'])
  await mkdir(join(local, 'bin'), { recursive: true })
  await cp(node, join(local, 'bin/node'))
  await cp(dirname(dirname(stdout.trim())), join(local, 'lib/node_modules/npm'), {
    recursive: true,
  })
  await symlink('../lib/node_modules/npm/bin/npm-cli.js', join(local, 'bin/npm'))
}

async function useOurRegistry(root: string): Promise<void> {
  const setting = async (name: string) =>
    (await run('npm', ['config', 'get', name])).stdout.trim().replace(/^(null|undefined)$/, '')
  const lines = [`registry=${await setting('registry')}`]
  const cafile = await setting('cafile')
  if (cafile !== '') {
    await cp(cafile, join(root, CERTIFICATES), { recursive: true, dereference: true })
    lines.push(`cafile=/${CERTIFICATES}`)
  }
  await mkdir(join(root, 'usr/local/etc'), { recursive: true })
  await writeFile(join(root, 'usr/local/etc/npmrc'), `${lines.join('\n')}\n`)
}
