import { Readable } from 'node:stream'
import { finished } from 'node:stream/promises'
import type { Context } from 'koa'
import yazl from 'yazl'
import { z } from 'zod'
import type { ExportAudit } from '../app/audit-export.ts'
import { photoKey } from '../app/photo-keys.ts'
import type { OwnAccountRecords } from '../app/ports/account-records.ts'
import type { Caller } from '../app/ports/authorization.ts'
import type { ObjectStorage } from '../app/ports/object-storage.ts'
import type { PhotoRecord, PhotoRecords } from '../app/ports/photos.ts'
import type { Clock } from '../app/ports/process.ts'
import type { TaskCursor, TaskList } from '../app/ports/tasks.ts'
import { MOST_BYTES } from '../domain/task/photos.ts'
import type { RecordAccess } from './audit-access.ts'
import { ndjson } from './audit-formats.ts'
import { accessToken, type Recheck } from './authenticate.ts'
import type { Endpoint, routes } from './endpoint.ts'
import { checked, exportPlaces, GRACE_MS, LONGEST_EXPORT_MS, paced } from './long-answers.ts'
import type { RateLimit } from './rate-limit.ts'
import { taskJson } from './task-schemas.ts'

const exportPerson = {
  method: 'get',
  path: '/auth/me/export',
  summary: 'Everything that is kept of the caller',
  description:
    'One ZIP archive: the account with its sessions, factors, security events and mails; all tasks; every event of them, ' +
    'as `GET /audit/events` exports them, so that `verify-audit.mjs` can check them; and the photos. Not in it: passwords, ' +
    'secrets and tokens, of which only hashes or encrypted forms are kept. One export of a user at a time; it is recorded.',
  access: 'token',
  answers: {
    200: {
      description: 'The archive; one that was cut off has no end, and no program opens it',
      body: z.string().meta({ format: 'binary' }),
      type: 'application/zip',
      headers: { 'Content-Disposition': 'File name of the archive' },
    },
  },
  errors: ['export_under_way'],
} as const satisfies Endpoint

export const PERSON_EXPORT_ENDPOINTS: readonly Endpoint[] = [exportPerson] as readonly Endpoint[]

const README = `What Tasktrail keeps of you, as of the time in this archive's name.

account.ndjson   your account: a line for each thing that is kept; "record" says what it is
tasks.ndjson     your tasks as they are now, a line for each
events.ndjson    every change of your tasks and your account, with its proof: node verify-audit.mjs events.ndjson
photos.ndjson    what is known of the photos in your tasks
photos/          their bytes, as you uploaded them

Deleted tasks and removed photos are in events.ndjson. Passwords, secrets and tokens are kept as hashes or encrypted, and
are not in here.
`

export type PersonExport = {
  readonly account: OwnAccountRecords
  readonly tasks: TaskList
  readonly photos: PhotoRecords
  readonly storage: ObjectStorage
  readonly exportAudit: ExportAudit
  /** Records that the caller exported what is theirs. */
  readonly copy: RecordAccess
  readonly limit: RateLimit
  readonly clock: Clock
  readonly recheck: Recheck
}

type Entry = { readonly name: string; readonly content: AsyncIterable<string | Uint8Array> }

const TASKS_AT_ONCE = 200

export function personExportRoutes(on: ReturnType<typeof routes>, dependencies: PersonExport) {
  const { copy, limit, clock } = dependencies
  const enter = exportPlaces()

  on(exportPerson, async (_input, ctx, caller) => {
    await limit(ctx, String(caller.user_id))
    const moment = clock()
      .toISOString()
      .replace(/[-:]|\.\d+/g, '')
    ctx.attachment(`tasktrail-${caller.username}-${moment}.zip`)
    ctx.type = 'application/zip'
    ctx.status = 200
    if (ctx.method === 'HEAD') return
    const leave = await enter(caller)
    try {
      await copy(ctx, caller, { format: 'zip', user_id: caller.user_id })
      const archive = zip(entries(dependencies, ctx, caller))
      const taken = paced(archive, () => ctx.res.destroy(), GRACE_MS)
      const signal = AbortSignal.timeout(LONGEST_EXPORT_MS)
      ctx.body = Readable.from(taken, { objectMode: false, signal }).once('close', leave)
    } catch (error) {
      leave()
      throw error
    }
  })
}

/** Read as fast as the client takes it. An error midway leaves it without its end. */
function zip(all: AsyncIterable<Entry>): AsyncIterable<Buffer> {
  const archive = new yazl.ZipFile()
  // The same error ends the output, below.
  archive.on('error', () => {})
  const output = archive.outputStream as Readable
  const fill = async () => {
    for await (const { name, content } of all) {
      const bytes = Readable.from(content, { objectMode: false })
      archive.addReadStream(bytes, name)
      await finished(bytes)
    }
    archive.end()
  }
  fill().catch((error) => output.destroy(error))
  return output
}

async function* entries(from: PersonExport, ctx: Context, caller: Caller): AsyncGenerator<Entry> {
  const { account, tasks, photos, storage, exportAudit, clock, recheck } = from
  const check = () => recheck(ctx, caller)
  const withPhotos: number[] = []
  const ofPhotos: PhotoRecord[] = []

  async function* accountLines() {
    const token = accessToken(ctx)
    for (let after: string | null = null, first = true; first || after !== null; first = false) {
      const page = await account(token, after, ctx.state.request_id)
      yield lines(page.records)
      after = page.next
    }
  }
  async function* taskLines() {
    for (let after: TaskCursor | null | undefined; after !== null; ) {
      const { user_id } = caller
      const order = { sort: 'created_at', descending: false, limit: TASKS_AT_ONCE } as const
      const page = await tasks.list({ user_id, ...order, after })
      for (const task of page.tasks) if (task.photos.length > 0) withPhotos.push(task.id)
      yield page.tasks.map((task) => `${taskJson(task)}\n`).join('')
      after = page.next
    }
  }
  async function* eventLines() {
    const query = { user_id: caller.user_id }
    const exported = await exportAudit(query)
    const facts = { exported_at: clock().toISOString(), exported_by: caller.user_id, query }
    yield* ndjson({ ...exported, lines: checked(exported.lines, check) }, facts)
  }
  async function* photoLines() {
    for (const id of withPhotos) {
      const records = (await photos.inTask(id)).filter(({ found }) => found !== null)
      ofPhotos.push(...records)
      yield lines(records.map((record) => ({ ...shown(record), file: fileOf(record) })))
    }
  }

  yield { name: 'README.txt', content: once(README) }
  yield { name: 'account.ndjson', content: checked(accountLines(), check) }
  yield { name: 'tasks.ndjson', content: checked(taskLines(), check) }
  yield { name: 'events.ndjson', content: eventLines() }
  yield { name: 'photos.ndjson', content: checked(photoLines(), check) }
  for (const record of ofPhotos) {
    await check()
    const { found } = record
    const key = photoKey(record, 'original')
    const bytes = found && (await storage.read({ key, version: found.version }, MOST_BYTES))
    // It was removed for good meanwhile.
    if (bytes) yield { name: fileOf(record), content: once(bytes) }
  }
}

async function* once<T>(content: T): AsyncGenerator<T> {
  yield content
}

const lines = (rows: readonly object[]): string =>
  rows.map((row) => `${JSON.stringify(row)}\n`).join('')

const shown = ({ id, task_id, name, content_type, size, sha256, added_at }: PhotoRecord) => {
  return { id, task_id, name, content_type, size, sha256, added_at }
}

/** By id: names may be anything, and twice the same. */
const fileOf = ({ id, task_id, content_type }: PhotoRecord): string =>
  `photos/${task_id}/${id}.${content_type.replace('image/', '').replace('jpeg', 'jpg')}`
