import { randomUUID } from 'node:crypto'
import { commandLine } from '../src/command-line.ts'
import { photograph } from '../test/support/images.ts'
import { post } from '../test/support/object-storage-contract.ts'
import { type PhotoPlace, startPhotoPlace } from '../test/support/photo-place.ts'
import { type PhotoProcesses, photoProcesses } from '../test/support/photo-processes.ts'
import { promiseOf } from '../test/support/photos.ts'
import { newUser } from '../test/support/system.ts'
import { median } from './compare/results.ts'
import { cpuOf, cpuOfFamily, residentMemory } from './compare/usage.ts'
import { percentile } from './percentile.ts'
import { type ScratchDatabase, scratchDatabase } from './scratch-database.ts'

const LINE = {
  usage: `Usage: npm run bench:uploads [-- --quick]

Uploads 200 photos of 2 MB, 16 at the same time: each is offered, sent to the storage by its form and completed, while
the worker makes thumbnails. Shows how long each takes, and memory and CPU of task-service. Fails if one of them fails, or
if task-service has more than a tenth more memory in the last quarter of the time than in the second. The storage is the
gateway of Ceph if radosgw, ceph-mon and ceph-osd are installed; else a directory. Linux only: it reads /proc.

  --quick    few small photos: shows that it runs`,
  options: { quick: { type: 'boolean' } },
} as const

const QUICK = commandLine(LINE).values.quick === true
const UPLOADS = QUICK ? 24 : 200
/** Not measured; it takes that many until code is compiled and connections are open. */
const BEFORE = QUICK ? 16 : 100
const [WIDTH, HEIGHT] = QUICK ? [800, 600] : [2_840, 2_130]
const IN_FLIGHT = 16
/** As many as a task takes. */
const OF_A_USER = 20
const SAMPLE_MS = 100
const GROWTH = 1.1

const STEPS = ['offer', 'upload', 'complete'] as const
type Times = Record<(typeof STEPS)[number], number[]>

type Owner = { readonly token: string; readonly task: number }

/** With a comment of its own, and so with bytes of its own. */
function distinct(jpeg: Buffer): Buffer {
  const comment = Buffer.from(randomUUID())
  const length = Buffer.alloc(2)
  length.writeUInt16BE(comment.length + 2)
  return Buffer.concat([
    jpeg.subarray(0, 2),
    Buffer.from([0xff, 0xfe]),
    length,
    comment,
    jpeg.subarray(2),
  ])
}

async function owners(call: PhotoProcesses['call'], count: number): Promise<readonly Owner[]> {
  const made: Owner[] = []
  while (made.length < count) {
    const { token } = await newUser(call)
    const { body } = await call('POST', '/tasks', { token, body: { title: 'Kitchen' } })
    made.push({ token, task: body.task.id })
  }
  return made
}

/** All steps of one upload; the error of the first that fails. */
async function upload(call: PhotoProcesses['call'], owner: Owner, bytes: Buffer, times: Times) {
  const { token, task } = owner
  const timed = async <T>(step: keyof Times, work: () => Promise<T>): Promise<T> => {
    const began = performance.now()
    const result = await work()
    times[step].push(performance.now() - began)
    return result
  }
  const path = `/tasks/${task}/photos`
  const promised = promiseOf(bytes)
  const offer = await timed('offer', () => call('POST', path, { token, body: promised }))
  if (offer.status !== 201) throw new Error(`offer: ${JSON.stringify(offer.body)}`)
  const { photo_id, upload: form } = offer.body
  const stored = await timed('upload', () => post(form, bytes))
  if (stored !== 204) throw new Error(`upload: ${stored}`)
  const done = await timed('complete', () =>
    call('POST', `${path}/${photo_id}/complete`, { token, body: {} }),
  )
  if (done.status !== 200) throw new Error(`complete: ${JSON.stringify(done.body)}`)
}

/** Returns the errors. */
async function uploads(call: PhotoProcesses['call'], count: number, jpeg: Buffer, times: Times) {
  const all = await owners(call, Math.ceil(count / OF_A_USER))
  const errors: string[] = []
  let next = 0
  const one = async () => {
    while (next < count) {
      const owner = all[next++ % all.length] as Owner
      await upload(call, owner, distinct(jpeg), times).catch(({ message }) => errors.push(message))
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, one))
  return errors
}

const noTimes = (): Times => ({ offer: [], upload: [], complete: [] })
const ms = (value: number): string => `${value.toFixed(0)} ms`
const cpuEach = (seconds: number): string =>
  `${((seconds * 1_000) / UPLOADS).toFixed(1)} ms of CPU an upload`

function showTimes(times: Times): void {
  for (const step of STEPS) {
    const [half, most] = [percentile(times[step], 0.5), percentile(times[step], 0.99)]
    console.log(`${step}: median ${ms(half)}, p99 ${ms(most)}`)
  }
}

/** Whether it has stopped to grow. */
function showMemory(memory: readonly number[], cpu: number): boolean {
  const quarters = [0, 1, 2, 3].map((n) =>
    median(memory.slice((n * memory.length) / 4, ((n + 1) * memory.length) / 4)),
  )
  const [, second = 0, , last = 0] = quarters
  const isFlat = last <= GROWTH * second
  console.log(
    `task-service: ${memory[0]} MB before, ${Math.max(...memory)} MB at most, ${memory.at(-1)} MB after;`,
    `${quarters.join(', ')} MB in each quarter of the time${isFlat ? '' : ': MISSED'};`,
    cpuEach(cpu),
  )
  return isFlat
}

async function measure({ sql }: ScratchDatabase, processes: PhotoProcesses, place: PhotoPlace) {
  const service = await processes.startTaskService()
  const worker = await processes.startWorker()
  const jpeg = await photograph(WIDTH, HEIGHT).jpeg({ quality: 90 }).toBuffer()
  const errors = [...(await uploads(processes.call, BEFORE, jpeg, noTimes()))]

  const thumbnails = async () =>
    Number((await sql.query('select count(thumbnails) from photos')).rows[0].count)
  const cpu = () => ({ service: cpuOf(service.pid), worker: cpuOfFamily(worker.pid) })
  const times = noTimes()
  const memory = [residentMemory(service.pid)]
  const sampling = setInterval(() => memory.push(residentMemory(service.pid)), SAMPLE_MS)
  const [before, madeBefore, began] = [cpu(), await thumbnails(), performance.now()]
  errors.push(...(await uploads(processes.call, UPLOADS, jpeg, times)))
  const rate = (UPLOADS * 1_000) / (performance.now() - began)
  clearInterval(sampling)
  const [after, made] = [cpu(), (await thumbnails()) - madeBefore]
  memory.push(residentMemory(service.pid))

  for (const error of errors) console.error(error)
  console.log(
    `${UPLOADS} uploads of ${(jpeg.length / 1e6).toFixed(1)} MB, ${IN_FLIGHT} in flight,`,
    `to ${place.name}: ${errors.length} errors, ${rate.toFixed(1)} uploads/s`,
  )
  showTimes(times)
  const isFlat = showMemory(memory, after.service - before.service)
  const ofWorker = cpuEach(after.worker - before.worker)
  console.log(`worker: ${made} photos got thumbnails meanwhile; ${ofWorker}`)
  if (errors.length > 0 || (!isFlat && !QUICK)) process.exitCode = 1
}

const database = await scratchDatabase()
const place = await startPhotoPlace()
const processes = await photoProcesses(database.url, place.env)
try {
  await measure(database, processes, place)
} finally {
  processes.stop()
  await place.stop()
  await database.drop()
}
