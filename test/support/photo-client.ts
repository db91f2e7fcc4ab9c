import { expect } from 'chai'
import fc from 'fast-check'
import type pg from 'pg'
import type { Photo } from '../../src/domain/task/photos.ts'
import { post } from './object-storage-contract.ts'
import { jpeg, promiseOf } from './photos.ts'
import { type Answer, type Client, newUser } from './system.ts'

/** What clients do, and how often. */
const WEIGHTS = {
  upload: 10,
  /** Uploads, and completes it later. */
  begin: 2,
  finish: 2,
  remove: 5,
  restore: 3,
  undo: 3,
  redo: 1,
  /** Time goes by for a photo that is in no task. */
  age: 3,
  erase: 1,
} as const
type Kind = keyof typeof WEIGHTS

/** `pick` says with which of the client's photos. */
export type PhotoStep = { readonly kind: Kind; readonly pick: number }

export const arbitraryPhotoStep: fc.Arbitrary<PhotoStep> = fc.record({
  kind: fc.oneof(
    ...Object.entries(WEIGHTS).map(([kind, weight]) => {
      return { weight, arbitrary: fc.constant(kind as Kind) }
    }),
  ),
  pick: fc.nat(10_000),
})

/** A task, as its owner has been told that it is. */
export type ToldTask = {
  readonly id: number
  photos: readonly string[]
  /** Lists that it had before, which an undo may bring back. */
  readonly lists: (readonly string[])[]
  /** Completed, and not in it. */
  readonly removed: Set<string>
  /** Uploaded, and not completed. */
  readonly begun: Set<string>
  /** In no task for so long that they may be gone. */
  readonly aged: Set<string>
}

/** When, as milliseconds since 1970, and whether something was known of photos then. */
export type Erased = { readonly at: number; readonly hadPhotos: boolean }

export type PhotoClient = {
  readonly step: (step: PhotoStep) => Promise<void>
  /** Of the present user. */
  readonly told: () => readonly ToldTask[]
  /** By user. */
  readonly erased: ReadonlyMap<number, Erased>
}

const MONTH_AGO = "set removed_at = now() - interval '31 days' where removed_at is not null"
const HOURS_AGO = "set upload_ends_at = now() - interval '2 hours' where added_at is null"

/** What may be said of one that is in no task for that long. */
const GONE = ['photo_not_found', 'photo_gone', 'photo_not_uploaded']
const NOTHING_BACK = ['nothing_to_undo', 'nothing_to_redo', 'undo_conflict', 'photo_gone']

const idsOf = ({ status, body }: Answer): readonly string[] => {
  expect(status, JSON.stringify(body)).to.equal(200)
  return body.task.photos.map(({ id }: Photo) => id)
}

const pickOf = <T>(from: Iterable<T>, pick: number): T | undefined => {
  const all = [...from]
  return all[pick % all.length]
}

/** Users, one after the other, who do one thing at a time, and hold the API to what it has told them. */
export async function photoClient(call: Client, sql: Pick<pg.Pool, 'query'>): Promise<PhotoClient> {
  const erased = new Map<number, Erased>()
  let user = await newUser(call)
  let tasks: readonly ToldTask[] = []

  /** Null: nobody answered, or not with what became of it. */
  const ask = async (method: string, path: string, body?: unknown): Promise<Answer | null> => {
    try {
      const answer = await call(method, path, { token: user.token, body })
      return answer.status === 503 ? null : answer
    } catch (error) {
      // As fetch says it; all others are broken promises.
      if (error instanceof TypeError) return null
      throw error
    }
  }
  const asked = async (method: string, path: string, body?: unknown): Promise<Answer> => {
    for (;;) {
      const answer = await ask(method, path, body)
      if (answer !== null) return answer
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  const newTask = async (): Promise<ToldTask> => {
    const { status, body } = await asked('POST', '/tasks', { title: 'Kitchen' })
    expect(status).to.equal(201)
    const sets = { removed: new Set<string>(), begun: new Set<string>(), aged: new Set<string>() }
    return { id: body.task.id, photos: [], lists: [[]], ...sets }
  }
  const newTasks = async () => [await newTask(), await newTask()]

  /** The first undo of a task undoes that it was created, so it is brought back. */
  const present = async ({ id }: ToldTask) => {
    const answer = await asked('GET', `/tasks/${id}`)
    if (answer.status !== 404) return idsOf(answer)
    return idsOf(await asked('POST', `/tasks/${id}/restore`, {}))
  }

  const became = (task: ToldTask, photos: readonly string[]) => {
    for (const id of task.photos) if (!photos.includes(id)) task.removed.add(id)
    for (const id of photos) {
      task.removed.delete(id)
      task.begun.delete(id)
      task.aged.delete(id)
    }
    task.photos = photos
    task.lists.push(photos)
  }
  /** Asks for a change; without an answer it has happened, or nothing has. */
  const change = async (
    task: ToldTask,
    [method, path, body]: readonly [string, string, unknown?],
    wanted: readonly (readonly string[])[],
    refusals: readonly string[],
  ) => {
    const answer = await ask(method, `/tasks/${task.id}${path}`, body)
    const isDone = answer !== null && answer.status < 300
    if (answer !== null && !isDone) {
      const said = `${method} ${path}: ${answer.status} ${answer.body.code}`
      expect(refusals.includes(answer.body.code), said).to.equal(true)
    }
    const now = await present(task)
    if (answer?.status === 200) expect(now).to.deep.equal(idsOf(answer))
    const possible = [
      ...(isDone ? [] : [task.photos]),
      ...(answer === null || isDone ? wanted : []),
    ]
    expect(possible, `${method} ${path}: ${answer?.status}`).to.deep.include(now)
    became(task, now)
    return answer
  }

  const completed = async (task: ToldTask, id: string) => {
    const wanted = task.photos.includes(id) ? task.photos : [...task.photos, id]
    const refusals = ['too_many_photos', ...(task.aged.has(id) ? GONE : [])]
    const request = ['POST', `/photos/${id}/complete`, {}] as const
    while ((await change(task, request, [wanted], refusals)) === null);
    if (!task.photos.includes(id) && task.aged.has(id)) task.begun.delete(id)
  }
  const upload = async (task: ToldTask, pick: number): Promise<string | null> => {
    const bytes = await jpeg(pick % 300)
    const answer = await ask('POST', `/tasks/${task.id}/photos`, promiseOf(bytes))
    // An offer that nobody heard of is never completed.
    if (answer === null || answer.body.code === 'too_many_photos') return null
    expect(answer.status, JSON.stringify(answer.body)).to.equal(201)
    const { photo_id, upload: form } = answer.body
    for (let times = pick % 5 === 0 ? 2 : 1; times > 0; times--) {
      expect(await post(form, bytes)).to.equal(204)
    }
    task.begun.add(photo_id)
    return photo_id
  }
  const age = async (task: ToldTask, pick: number) => {
    const id = pickOf([...task.begun, ...task.removed], pick)
    if (id === undefined) return
    task.aged.add(id)
    const by = task.begun.has(id) ? HOURS_AGO : MONTH_AGO
    await sql.query(`update photos ${by} and photo_id = $1`, [id])
  }
  const erase = async () => {
    const body = { password: user.password }
    const { status } = await call('DELETE', '/auth/me', { token: user.token, body })
    expect(status).to.equal(204)
    const known = 'select from photos where user_id = $1 and gone_at is null'
    const hadPhotos = (await sql.query(known, [user.id])).rows.length > 0
    erased.set(user.id, { at: Date.now(), hadPhotos })
    user = await newUser(call)
    tasks = await newTasks()
  }

  const steps: Record<Kind, (task: ToldTask, pick: number) => Promise<unknown>> = {
    begin: upload,
    async upload(task, pick) {
      const id = await upload(task, pick)
      if (id !== null) await completed(task, id)
    },
    async finish(task, pick) {
      const id = pickOf(task.begun, pick)
      if (id !== undefined) await completed(task, id)
    },
    async remove(task, pick) {
      const id = pickOf(task.photos, pick)
      if (id === undefined) return
      const rest = task.photos.filter((each) => each !== id)
      await change(task, ['DELETE', `/photos/${id}`], [rest], [])
    },
    async restore(task, pick) {
      const id = pickOf(task.removed, pick)
      if (id === undefined) return
      const refusals = ['too_many_photos', ...(task.aged.has(id) ? GONE : [])]
      const request = ['POST', `/photos/${id}/restore`, {}] as const
      await change(task, request, [[...task.photos, id]], refusals)
    },
    undo: (task) => change(task, ['POST', '/undo', {}], task.lists, NOTHING_BACK),
    redo: (task) => change(task, ['POST', '/redo', {}], task.lists, NOTHING_BACK),
    age,
    erase,
  }

  tasks = await newTasks()
  return {
    told: () => tasks,
    erased,
    async step({ kind, pick }) {
      await steps[kind](pickOf(tasks, pick) as ToldTask, pick)
    },
  }
}
