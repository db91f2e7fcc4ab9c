import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { RedisConfig } from '../../src/infra/counters/redis-connection.ts'
import { freePorts } from '../../src/infra/local/free-ports.ts'
import type { ServerCertificate } from './certificates.ts'

const run = promisify(execFile)

export const NO_REDIS = 'no redis-server 7 on this machine'
export const hasRedis = / v=[7-9]\./.test(
  spawnSync('redis-server', ['--version'], { encoding: 'utf8' }).stdout ?? '',
)

/** Long enough for a busy machine, where the subject is not time. */
export const PATIENT_MS = 1_000

export type TestRedis = {
  readonly port: number
  readonly config: RedisConfig
  readonly cli: (...args: readonly string[]) => Promise<string>
  /** SIGSTOP: its connections stay open, and nobody answers. */
  readonly freeze: () => void
  readonly thaw: () => void
  readonly kill: () => Promise<void>
  /** Empty, on the same port. */
  readonly start: () => Promise<void>
  readonly stop: () => Promise<void>
}

export type RedisOptions = {
  readonly password?: string
  /** What the server shows; without one it speaks in the clear. */
  readonly certificate?: ServerCertificate
  readonly settings?: readonly string[]
}

/** A redis-server of its own, which keeps nothing. */
export async function testRedis(options: RedisOptions = {}): Promise<TestRedis> {
  const { password, certificate, settings = [] } = options
  const host = certificate === undefined ? '127.0.0.1' : 'localhost'
  const [port = 0] = await freePorts(1)
  const directory = await mkdtemp(join(tmpdir(), 'tasktrail-redis-'))
  const args = [
    ...['--bind', '127.0.0.1', '--dir', directory, '--save', '', '--appendonly', 'no'],
    ...placeOf(port, certificate),
    ...(password === undefined ? [] : ['--requirepass', password, '--masterauth', password]),
    ...settings,
  ]
  const ofClient = [
    ...['-h', host, '-p', String(port)],
    ...(certificate === undefined ? [] : ['--tls', '--cacert', certificate.authority]),
  ]
  const env = { ...process.env, ...(password !== undefined && { REDISCLI_AUTH: password }) }
  const cli = async (...command: readonly string[]) =>
    (await run('redis-cli', [...ofClient, ...command], { env })).stdout.trim()

  let server: ChildProcess | undefined
  const whenWeEnd = () => void server?.kill('SIGKILL')
  process.once('exit', whenWeEnd)
  const start = async () => {
    server = spawn('redis-server', args, { stdio: 'ignore' })
    while ((await cli('ping').catch(() => '')) !== 'PONG') {
      if (server.exitCode !== null) throw new Error('redis-server ended')
    }
  }
  const kill = async () => {
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return
    const ended = once(server, 'exit')
    server.kill('SIGKILL')
    await ended
  }
  await start()
  return {
    port,
    config: {
      url: `${certificate === undefined ? 'redis' : 'rediss'}://${host}:${port}`,
      password,
      mode: 'single',
      timeoutMs: PATIENT_MS,
    },
    cli,
    freeze: () => void server?.kill('SIGSTOP'),
    thaw: () => void server?.kill('SIGCONT'),
    kill,
    start,
    stop: async () => {
      await kill()
      process.off('exit', whenWeEnd)
      await rm(directory, { recursive: true })
    },
  }
}

function placeOf(port: number, certificate: ServerCertificate | undefined): readonly string[] {
  if (certificate === undefined) return ['--port', String(port)]
  return [
    ...['--port', '0', '--tls-port', String(port), '--tls-auth-clients', 'no'],
    ...['--tls-cert-file', certificate.certificate, '--tls-key-file', certificate.key],
    ...['--tls-ca-cert-file', certificate.authority],
  ]
}

export type TestCluster = {
  readonly nodes: readonly TestRedis[]
  readonly config: RedisConfig
  readonly stop: () => Promise<void>
}

/** Three nodes with a third of the keys each. */
export async function testCluster(options: Omit<RedisOptions, 'settings'>): Promise<TestCluster> {
  const buses = await freePorts(3)
  const settings = (bus: number) => [
    ...['--cluster-enabled', 'yes', '--cluster-config-file', 'nodes.conf'],
    ...['--cluster-node-timeout', '1000', '--cluster-port', String(bus)],
    // By name, as their certificates are.
    ...(options.certificate !== undefined
      ? [
          '--tls-cluster',
          'yes',
          '--cluster-announce-hostname',
          'localhost',
          '--cluster-preferred-endpoint-type',
          'hostname',
        ]
      : []),
  ]
  const nodes = await Promise.all(
    buses.map((bus) => testRedis({ ...options, settings: settings(bus) })),
  )
  const [node] = nodes as [TestRedis, ...TestRedis[]]
  const addresses = nodes.map(({ port }) => `127.0.0.1:${port}`)
  // By address, which no certificate names.
  const insecure = options.certificate === undefined ? [] : ['--insecure']
  await node.cli(...insecure, '--cluster', 'create', ...addresses, '--cluster-yes')
  for (const { cli } of nodes) {
    while (!(await cli('cluster', 'info')).includes('cluster_state:ok'));
  }
  return {
    nodes,
    config: { ...node.config, mode: 'cluster' },
    stop: async () => {
      await Promise.all(nodes.map(({ stop }) => stop()))
    },
  }
}
