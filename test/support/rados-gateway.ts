import { execFile, execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { CreateBucketCommand, PutBucketVersioningCommand, S3Client } from '@aws-sdk/client-s3'
import { freePorts } from '../../src/infra/local/free-ports.ts'
import type { S3Options } from '../../src/infra/s3/s3-storage.ts'
import { killAll, removePlace, type Started, startProcess, until } from './processes.ts'

/** Debian has it in radosgw, ceph-mon and ceph-osd. */
export const hasRadosGateway = ['ceph', 'ceph-mon', 'ceph-osd', 'radosgw'].every((program) => {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
})

export type RadosGateway = {
  readonly options: Omit<S3Options, 'bucket'> & { readonly endpoint: string }
  readonly client: S3Client
  /** A new one; its name. */
  readonly bucket: (facts?: { readonly versions: boolean }) => Promise<string>
  readonly stop: () => Promise<void>
}

/** A cluster of Ceph as small as it gets: one monitor, one OSD in memory, one gateway. */
export async function startRadosGateway(): Promise<RadosGateway> {
  const place = await mkdtemp(join(tmpdir(), 'tasktrail-rados-'))
  const started: Started[] = []
  const stop = async () => {
    killAll(started.map(({ pid }) => pid))
    await Promise.all(started.map(({ ended }) => ended))
    await removePlace(place)
  }
  try {
    const gateway = await start(place, started)
    return {
      ...gateway,
      stop: async () => {
        gateway.client.destroy()
        await stop()
      },
    }
  } catch (error) {
    await stop()
    throw error
  }
}

async function start(place: string, started: Started[]): Promise<Omit<RadosGateway, 'stop'>> {
  const [monitor = 0, port = 0] = await freePorts(2)
  const cluster = randomUUID()
  const address = `[v2:127.0.0.1:${monitor}]`
  const settings = join(place, 'ceph.conf')
  await writeFile(settings, configuration({ place, cluster, address, port }))
  for (const each of ['monitor', 'osd', 'gateway', 'run']) await mkdir(join(place, each))

  const env = { CEPH_CONF: settings }
  const run = (program: string, ...args: string[]) =>
    promisify(execFile)(program, args, { env: { ...process.env, ...env }, timeout: 60_000 })
  const serve = (program: string, ...args: string[]) => {
    const server = startProcess(program, ['-f', ...args], { env })
    started.push(server)
    return server
  }

  const map = join(place, 'map')
  await run('monmaptool', '--create', '--fsid', cluster, '--addv', 'a', address, map)
  await run('ceph-mon', '--mkfs', '-i', 'a', '--monmap', map)
  serve('ceph-mon', '-i', 'a')
  const osd = randomUUID()
  await run('ceph', '--connect-timeout', '30', 'osd', 'new', osd, '0')
  await run('ceph-osd', '-i', '0', '--mkfs', '--osd-uuid', osd)
  serve('ceph-osd', '-i', '0')
  const gateway = serve('radosgw', '-n', 'client.admin')
  const keys = { accessKeyId: 'tasktrail', secretAccessKey: randomUUID() }
  const given = ['--access-key', keys.accessKeyId, '--secret-key', keys.secretAccessKey]
  await run('radosgw-admin', 'user', 'create', '--uid=test', '--display-name=test', ...given)

  const endpoint = `http://127.0.0.1:${port}`
  const answers = () =>
    fetch(endpoint).then(
      ({ ok }) => ok,
      () => false,
    )
  await until(answers, () => `the gateway: ${gateway.err.join('\n')}`)
  const options = { endpoint, region: 'us-east-1', forcePathStyle: true, credentials: keys }
  const client = new S3Client(options)
  return { options, client, bucket: (facts) => newBucket(client, facts) }
}

async function newBucket(client: S3Client, { versions } = { versions: true }): Promise<string> {
  const Bucket = `b-${randomUUID()}`
  await client.send(new CreateBucketCommand({ Bucket }))
  const VersioningConfiguration = { Status: 'Enabled' } as const
  if (versions)
    await client.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration }))
  return Bucket
}

type Cluster = {
  readonly place: string
  readonly cluster: string
  readonly address: string
  readonly port: number
}

const configuration = ({ place, cluster, address, port }: Cluster): string => `
[global]
fsid = ${cluster}
mon_host = ${address}
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
# The gateway would take nothing but encryption, which there is none of without keys.
ms_mon_client_mode = crc
ms_bind_msgr1 = false
public_network = 127.0.0.1/32
run_dir = ${place}/run
crash_dir = ${place}/run
admin_socket =
pid_file =
log_file = ${place}/$name.log
mon_cluster_log_file = ${place}/cluster.log
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_data_avail_crit = 1
# A new pool waits for this long, and there are eight of them.
paxos_propose_interval = 0.02
paxos_min_wait = 0.01
[mon.a]
mon_data = ${place}/monitor
[osd.0]
osd_data = ${place}/osd
osd_objectstore = memstore
memstore_device_bytes = 1073741824
[client.admin]
rgw_data = ${place}/gateway
rgw_frontends = beast endpoint=127.0.0.1:${port}
`
