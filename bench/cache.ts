import { randomUUID } from 'node:crypto'
import { createClient } from '@redis/client'
import { objectKey } from '../src/app/object-keys.ts'
import { wholeNumbers } from '../src/command-line.ts'
import { taskStreamId } from '../src/domain/task/view.ts'
import { encryptText, secretKeyWrap } from '../src/infra/encryption/text-cipher.ts'
import { postgresUserKeys } from '../src/infra/encryption/user-keys.ts'
import { lastingLinks } from '../src/infra/object-links/lasting-links.ts'
import { postgresAuditFacets } from '../src/infra/postgres/audit/audit-facets.ts'
import { INDEX_ORDER_SETTINGS } from '../src/infra/postgres/audit/audit-query.ts'
import { openDatabase, PLANNED_ONCE } from '../src/infra/postgres/connection/database.ts'
import { postgresTaskList } from '../src/infra/postgres/tasks/task-list.ts'
import { s3Storage } from '../src/infra/s3/s3-storage.ts'
import { testRedis } from '../test/support/redis.ts'
import { insertTasks } from '../test/support/task-rows.ts'
import { fill } from './audit-rows.ts'
import { percentile } from './percentile.ts'
import { scratchDatabase } from './scratch-database.ts'

const USAGE = `Usage: npm run bench:cache [-- rows]

What it is worth to keep things (docs/adr/0029-caches.md): links to thumbnails, the counts of the audit trail (of
1,000,000 rows), and, which is not done, tasks in Redis. Needs redis-server 7.`

const [ROWS = 1_000_000] = wholeNumbers({ usage: USAGE, takes: [0, 1] })
const LINKS = 2_000
const TASKS = 1_000
const READS = 5_000
const CLIENTS = 32
const silent = { info: () => {}, warn: () => {}, error: () => {} }

const cpuMs = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

/** Milliseconds of this process's CPU for each call, and the median time of one. */
async function measured(times: number, at: number, call: (n: number) => Promise<unknown>) {
  for (let n = 0; n < Math.min(times, 500); n++) await call(n)
  const took: number[] = []
  const began = cpuMs()
  let next = 0
  const client = async () => {
    while (next < times) {
      const n = next++
      const start = performance.now()
      await call(n)
      took.push(performance.now() - start)
    }
  }
  await Promise.all(Array.from({ length: at }, client))
  return { cpu: (cpuMs() - began) / times, median: percentile(took, 0.5) }
}

const line = (what: string, { cpu, median }: Awaited<ReturnType<typeof measured>>) =>
  console.log(
    `${what.padEnd(52)} ${median.toFixed(3).padStart(8)} ms  ${cpu.toFixed(3).padStart(8)} ms CPU`,
  )

const credentials = { accessKeyId: 'a', secretAccessKey: randomUUID() }
const storage = s3Storage({ bucket: 'bucket', region: 'us-east-1', credentials })
const offer = (n: number) => ({
  key: objectKey('users', '1', 'photos', String(n % 400), 'small'),
  version: 'v',
  contentType: 'image/webp',
  disposition: 'inline' as const,
  fileName: 'kitchen.jpg',
})
const kept = lastingLinks(storage)
console.log(`${''.padEnd(52)}   median           this process`)
line(
  'a link to a thumbnail, signed',
  await measured(LINKS, 1, (n) => storage.offerDownload(offer(n), 600)),
)
line('  kept', await measured(LINKS, 1, (n) => kept(offer(n))))
storage.close()

const database = await scratchDatabase()
const redis = await testRedis()
const cache = createClient({ url: redis.config.url })
const connection = { connectionString: database.url }
const role = 'tasktrail_task'
try {
  await fill(database.sql, ROWS, ['audit_events'])
  const audit = openDatabase({
    connection,
    poolMax: 2,
    role,
    settings: INDEX_ORDER_SETTINGS,
    log: silent,
  })
  const facets = postgresAuditFacets(audit)
  const count = async () => {
    const start = performance.now()
    const { counts } = await facets({ user_id: null })
    const events = counts.reduce((sum, each) => sum + each.events, 0)
    return `${events} events in ${(performance.now() - start).toFixed(1)} ms`
  }
  console.log(`counts of the trail, for the first time              ${await count()}`)
  console.log(`  once more                                          ${await count()}`)
  await audit.close()

  const wrap = secretKeyWrap(randomUUID())
  const ids = Array.from({ length: TASKS }, (_, n) => n + 1)
  const texts = { title: 'Write the report', description: 'words '.repeat(40) }
  await insertTasks(
    database.sql,
    wrap,
    ids.map((id) => ({ id, user_id: 1 + (id % 64), ...texts })),
  )
  const db = openDatabase({ connection, poolMax: 10, role, settings: PLANNED_ONCE, log: silent })
  const tasks = postgresTaskList(db, postgresUserKeys(db, wrap))
  const id = (n: number) => 1 + ((n * 7) % TASKS)
  await cache.connect()
  // As it would have to be kept: not in the clear.
  for (const one of ids) {
    const text = JSON.stringify(await tasks.find(one))
    const sealed = encryptText(
      Buffer.alloc(32),
      1,
      { stream_id: taskStreamId(one), field: 'row' },
      text,
    )
    await cache.set(`task-${one}`, JSON.stringify(sealed))
  }
  const cached = async (n: number) => JSON.parse((await cache.get(`task-${id(n)}`)) ?? '')
  for (const at of [1, CLIENTS]) {
    const who = at === 1 ? 'one at a time' : `${at} at a time`
    line(`a task from PostgreSQL, ${who}`, await measured(READS, at, (n) => tasks.find(id(n))))
    line('  from Redis, not yet decrypted or known as current', await measured(READS, at, cached))
  }
  await db.close()
} finally {
  cache.destroy()
  await redis.stop()
  await database.drop()
}
