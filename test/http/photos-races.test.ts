import { expect } from 'chai'
import fc from 'fast-check'
import pg from 'pg'
import { userPrefix } from '../../src/app/photo-keys.ts'
import { removePhotos } from '../../src/app/photo-upkeep.ts'
import { type Database, openDatabase } from '../../src/infra/postgres/connection/database.ts'
import { postgresPhotoUpkeep } from '../../src/infra/postgres/photos/photo-upkeep.ts'
import { silent } from '../support/log.ts'
import { post } from '../support/object-storage-contract.ts'
import { expectPhotosOfLog } from '../support/photo-laws.ts'
import { type PhotoStorage, startPhotoStorage } from '../support/photo-storage.ts'
import { givenPhoto, jpeg, offered, promiseOf } from '../support/photos.ts'
import { type Answer, type System, startSystem } from '../support/system.ts'

const MOST = 20
const QUOTA = 30

/** Sent at the same time, to one instance and the other in turn. */
type Request = readonly [method: string, path: string, body?: unknown]

describe('Photos, when everything happens at the same time on two instances,', function () {
  this.timeout(120_000)
  let photos: PhotoStorage
  let systems: readonly [System, System]
  let db: Database
  let sql: pg.Client
  let user: Awaited<ReturnType<System['newUser']>>
  let task: number
  before(async () => {
    photos = await startPhotoStorage()
    const env = { ...photos.env, QUOTA_PHOTOS: String(QUOTA) }
    const one = await startSystem(env)
    systems = [one, await startSystem(env, undefined, one.database)]
    const { config } = one.database
    db = openDatabase({ ...config, role: 'tasktrail_worker', log: silent })
    sql = new pg.Client(config.connection)
    await sql.connect()
  })
  beforeEach(async () => {
    user = await systems[0].newUser()
    task = await newTask()
  })
  afterEach(async () => {
    await expectPhotosOfLog(postgresPhotoUpkeep(db), { db, sql, storage: photos.storage })
  })
  after(async () => {
    await db?.close()
    await sql?.end()
    for (const system of [...(systems ?? [])].reverse()) await system.stop()
    await photos?.stop()
  })

  const call = (method: string, path: string, body?: unknown, system = systems[0]) =>
    system.call(method, path, { token: user.token, body })
  const newTask = async (): Promise<number> =>
    (await call('POST', '/tasks', { title: 'Kitchen' })).body.task.id
  const sent = (requests: readonly Request[]): readonly Promise<Answer>[] =>
    requests.map(([method, path, body], n) =>
      call(method, path, body, systems[n % 2 === 0 ? 0 : 1]),
    )
  const together = (requests: readonly Request[]) => Promise.all(sent(requests))
  /** `200`, `404 photo_not_found`. */
  const said = (answers: readonly Answer[]): readonly string[] =>
    answers.map(({ status, body }) => (status < 300 ? `${status}` : `${status} ${body.code}`))
  const count = (answers: readonly Answer[], what: string) =>
    said(answers).filter((each) => each === what).length

  const uploaded = async (tint: number): Promise<string> => {
    const bytes = await jpeg(tint)
    const { photo_id, upload } = await offered(systems[0].call, user, task, promiseOf(bytes))
    expect(await post(upload, bytes)).to.equal(204)
    return photo_id
  }
  const given = async (tint: number) => givenPhoto(systems[0].call, user, task, await jpeg(tint))
  const several = (length: number, make: (tint: number) => Promise<string>) =>
    Promise.all(Array.from({ length }, (_, n) => make(n)))
  const removed = async (tint: number) => {
    const id = await given(tint)
    expect((await call('DELETE', `/tasks/${task}/photos/${id}`)).status).to.equal(204)
    return id
  }
  const shown = async (): Promise<readonly string[]> =>
    (await call('GET', `/tasks/${task}`)).body.task.photos.map(({ id }: { id: string }) => id)
  const completing = (id: string): Request => ['POST', `/tasks/${task}/photos/${id}/complete`, {}]
  const restoring = (id: string): Request => ['POST', `/tasks/${task}/photos/${id}/restore`, {}]

  it('are added once, and never twice in a task, however they come and go', async () => {
    const law = fc.asyncProperty(
      fc.array(fc.constantFrom('complete', 'DELETE', 'restore', 'undo', 'redo'), {
        minLength: 12,
        maxLength: 16,
      }),
      async (kinds) => {
        task = await newTask()
        const id = await uploaded(1)
        const path = `/tasks/${task}/photos/${id}`
        const requests = kinds.map((kind): Request => {
          if (kind === 'DELETE') return [kind, path]
          const isOfTask = kind === 'undo' || kind === 'redo'
          return ['POST', isOfTask ? `/tasks/${task}/${kind}` : `${path}/${kind}`, {}]
        })
        for (const answer of said(await together(requests))) {
          expect(answer).to.be.oneOf([
            '200',
            '204',
            '404 photo_not_found',
            // The first undo of all undoes that the task was created.
            '404 task_not_found',
            '409 nothing_to_undo',
            '409 nothing_to_redo',
            '409 undo_conflict',
            '409 write_conflict',
          ])
        }
      },
    )
    await fc.assert(law, { numRuns: 15 })
  })

  it('are twenty in a task, whether they are completed or come back', async () => {
    await several(16, given)
    const gone = await several(4, removed)
    const waiting = await several(4, uploaded)
    const answers = await together([...gone.map(restoring), ...waiting.map(completing)])
    expect(count(answers, '200')).to.equal(4)
    expect(count(answers, '409 too_many_photos')).to.equal(4)
    expect(await shown()).to.have.length(MOST)
  })

  it('are as many as the quota says, in whichever task they are offered', async () => {
    const tasks = [task, await newTask()]
    const body = promiseOf(await jpeg())
    const offers = Array.from(
      { length: QUOTA + 6 },
      (_, n): Request => ['POST', `/tasks/${tasks[(n >> 1) & 1]}/photos`, body],
    )
    const answers = await together(offers)
    expect(count(answers, '201')).to.equal(QUOTA)
    expect(count(answers, '403 quota_exceeded')).to.equal(6)
  })

  it('are in a task that is deleted and comes back, or were refused', async () => {
    const ids = await several(8, uploaded)
    const answers = await together([
      ...ids.slice(0, 4).map(completing),
      ['DELETE', `/tasks/${task}`],
      ...ids.slice(4).map(completing),
      ['POST', `/tasks/${task}/photos`, promiseOf(await jpeg())],
    ])
    for (const answer of said(answers)) {
      expect(answer).to.be.oneOf(['200', '201', '204', '404 task_not_found'])
    }
    expect((await call('POST', `/tasks/${task}/restore`, {})).status).to.equal(200)
    const added = ids.filter((_, n) => answers[n < 4 ? n : n + 1]?.status === 200)
    expect(await shown()).to.have.members(added)
  })

  it('are all gone with their user, whoever was offering and completing', async () => {
    const ids = await several(6, uploaded)
    const promised = promiseOf(await jpeg())
    const answers = await together([
      ...ids.slice(0, 3).map(completing),
      ['POST', `/tasks/${task}/photos`, promised],
      ['DELETE', '/auth/me', { password: user.password }],
      ...ids.slice(3).map(completing),
      ['POST', `/tasks/${task}/photos`, promised],
    ])
    for (const answer of said(answers)) {
      const refusals = ['401 session_ended', '404 task_not_found', '404 photo_not_found']
      expect(answer).to.be.oneOf(['200', '201', '204', ...refusals])
    }
    await sql.query("update photos set upload_ends_at = now() - interval '1 hour'")
    await sql.query(
      "update user_keys set destroyed_at = now() - interval '1 hour' where user_id = $1",
      [user.id],
    )
    await removePhotos(postgresPhotoUpkeep(db), photos.storage)()
    expect((await photos.storage.list(userPrefix(user.id))).versions).to.deep.equal([])
    const { rows } = await sql.query(
      "select from events where stream_id = 'user-' || $1::text and type = 'UserPhotosErased'",
      [user.id],
    )
    expect(rows).to.have.length(1)
  })

  it('have their bytes if they are in the task, while others go at that very moment', async () => {
    const upkeep = postgresPhotoUpkeep(db)
    // Whatever is in no task goes at once, also what may still be uploaded for five minutes.
    const letGo = () => upkeep.letGo(0, -600)
    const removal = removePhotos({ ...upkeep, letGo }, photos.storage)
    const answered: string[] = []
    for (let round = 0; round < 8; round++) {
      task = await newTask()
      const gone = await several(6, removed)
      const waiting = await several(6, uploaded)
      const requests = [...gone.map(restoring), ...waiting.map(completing)]
      const work = sent([...requests, ['POST', `/tasks/${task}/undo`, {}]])
      await Promise.race(work)
      for (let times = 0; times < 3; times++) await removal()
      const answers = await Promise.all(work)
      answered.push(...said(answers))
      const back = [...gone, ...waiting].filter((_, n) => answers[n]?.status === 200)
      const now = await shown()
      // The undo may have brought one back, or taken one away.
      expect(now.filter((id) => !back.includes(id)).length).to.be.at.most(1)
      expect(back.filter((id) => !now.includes(id)).length).to.be.at.most(1)
      await expectPhotosOfLog(upkeep, { db, sql, storage: photos.storage })
    }
    for (const answer of answered) {
      expect(answer).to.be.oneOf([
        '200',
        '404 photo_not_found',
        '409 photo_not_uploaded',
        '409 undo_conflict',
        '410 photo_gone',
      ])
    }
    expect(answered).to.include.members(['200', '404 photo_not_found'])
  })
})
