import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import fc from 'fast-check'
import pg from 'pg'
import { userPrefix } from '../../../../src/app/photo-keys.ts'
import { removePhotos, sweep } from '../../../../src/app/photo-upkeep.ts'
import { type Database, openDatabase } from '../../../../src/infra/postgres/connection/database.ts'
import { postgresPhotoUpkeep } from '../../../../src/infra/postgres/photos/photo-upkeep.ts'
import { silent } from '../../../support/log.ts'
import { arbitraryPhotoStep, type PhotoClient, photoClient } from '../../../support/photo-client.ts'
import { expectObjectsOfTable, expectPhotosOfLog } from '../../../support/photo-laws.ts'
import { PHOTO_PLACE, type PhotoPlace, startPhotoPlace } from '../../../support/photo-place.ts'
import { type PhotoProcesses, photoProcesses } from '../../../support/photo-processes.ts'
import { type TestDatabase, testDatabase } from '../../../support/postgres.ts'
import { type Started, until } from '../../../support/processes.ts'

/** `PHOTO_KILLS=100` for the long form. */
const KILLS = Number(process.env.PHOTO_KILLS ?? 6)
/** What clients do and who is killed when; not what of it happens at the same time. */
const SEED = Number(process.env.PHOTO_SEED ?? Math.floor(Math.random() * 1e9))
/** Between two times that all is compared. */
const ROUND = 20
const CLIENTS = 3

const HOUR = 3_600_000
/** An object that was stored so long ago belongs to nobody who is still about to note it. */
const NOTED_WITHIN = 15_000
/** A thumbnail that was being made when its user was erased is made or given up by then. */
const SETTLED_WITHIN = 10_000

/** Who is killed, and how long after it has begun to work. */
const arbitraryKill = fc.record({
  victim: fc.constantFrom('task-service', 'worker'),
  after: fc.integer({ min: 0, max: 1_500 }),
})

const sampled = <T>(arbitrary: fc.Arbitrary<T>, seed: number, numRuns: number) =>
  fc.sample(arbitrary, { seed, numRuns })

const never = new AbortController().signal

describe(`Photos, while task-service and worker are killed ${KILLS} times`, function () {
  this.timeout(120_000 + KILLS * 20_000)
  let place: PhotoPlace
  let database: TestDatabase
  let processes: PhotoProcesses
  let db: Database
  let sql: pg.Pool
  before(async () => {
    place = await startPhotoPlace()
    database = await testDatabase()
    processes = await photoProcesses(database.url, place.env)
    db = openDatabase({ ...database.config, role: 'tasktrail_worker', log: silent })
    sql = new pg.Pool({ connectionString: database.url })
  })
  after(async () => {
    processes?.stop()
    await db?.close()
    await sql?.end()
    await database?.drop()
    await place?.stop()
  })

  const upkeep = () => postgresPhotoUpkeep(db)
  const removal = () => removePhotos(upkeep(), place.storage)()
  /** Sweeps as if it were later, so that what is older than `ms` is swept. */
  const sweptAfter = (ms: number) =>
    sweep(upkeep(), place.storage, () => new Date(Date.now() + HOUR - ms), never)

  /** What was begun in the database by a process that is gone has ended there. */
  const forgotten = () =>
    until(async () => {
      const { rows } = await sql.query(`
        select from pg_stat_activity
        where datname = current_database() and application_name = 'tasktrail_task'`)
      return rows.length === 0
    }, 'the end of its connections')

  /** The forms and uploads of erased users are over. */
  const settle = (users: Iterable<number>) =>
    sql.query(
      `with erased as (
        update user_keys set destroyed_at = now() - interval '1 hour'
        where user_id = any ($1) returning user_id)
      update photos set upload_ends_at = now() - interval '1 hour' where user_id in (select user_id from erased)`,
      [[...users]],
    )

  /** Everybody who has to wait has waited. */
  const isEmpty = async (user: number) =>
    (await place.storage.list(userPrefix(user))).versions.length === 0
  /** Of whom the log says that no object is left. */
  const gone = async (): Promise<readonly number[]> => {
    const { rows } = await sql.query(
      "select substr(stream_id, 6)::int as user from events where type = 'UserPhotosErased' order by 1",
    )
    return rows.map(({ user }) => user)
  }

  const settleAll = async (clients: readonly PhotoClient[]) => {
    await until(async () => (await upkeep().status()).waiting === 0, 'all thumbnails', 180_000)
    const erased = new Map(clients.flatMap((client) => [...client.erased]))
    await settle(erased.keys())
    await sql.query(
      "update photos set upload_ends_at = now() - interval '2 hours' where added_at is null",
    )
    for (const { begun } of clients.flatMap((client) => client.told())) begun.clear()
    const left = async () => {
      const { rows } = await sql.query(
        'select from photos where gone_at is not null or added_at is null or user_id = any ($1)',
        [[...erased.keys()]],
      )
      return rows.length
    }
    while ((await left()) > 0) await removal()
    await sweptAfter(0)
    return erased
  }

  const compare = async (clients: readonly PhotoClient[]) => {
    const erased = await settleAll(clients)
    await expectObjectsOfTable({ sql, storage: place.storage })
    const photos = await expectPhotosOfLog(upkeep(), { db, sql, storage: place.storage })
    // Once each.
    const wanted = [...erased].flatMap(([user, { hadPhotos }]) => (hadPhotos ? [user] : []))
    expect(await gone()).to.deep.equal(wanted.toSorted((a, b) => a - b))
    expect((await upkeep().status()).failed).to.deep.equal([])
    for (const task of clients.flatMap((client) => client.told())) {
      const shown = await sql.query('select photos from tasks where id = $1', [task.id])
      expect(shown.rows[0].photos.map(({ id }: { id: string }) => id)).to.deep.equal(task.photos)
    }
    return { photos, erased: erased.size }
  }

  it(`are the same in trail, tasks, table and storage: ${PHOTO_PLACE}; PHOTO_SEED=${SEED}`, async () => {
    const start = { 'task-service': processes.startTaskService, worker: processes.startWorker }
    const alive: Record<keyof typeof start, Started> = {
      'task-service': await start['task-service'](),
      worker: await start.worker(),
    }
    const clients = await Promise.all(
      Array.from({ length: CLIENTS }, () => photoClient(processes.call, sql)),
    )
    const courses = clients.map((_, n) => sampled(arbitraryPhotoStep, SEED + n, 100_000).values())
    const kills = sampled(arbitraryKill, SEED, KILLS)
    let found = { photos: 0, erased: 0 }
    while (kills.length > 0) {
      let killing = true
      const background = [
        ...clients.map(async ({ step }, n) => {
          // Slowly enough for thumbnails to be made of most photos meanwhile.
          for (; killing; await sleep(100)) await step(courses[n]?.next().value as never)
        }),
        (async () => {
          for (; killing; await sleep(200)) {
            const erased = clients.flatMap((client) => [...client.erased])
            const settled = erased.filter(([, { at }]) => Date.now() - at > SETTLED_WITHIN)
            await settle(settled.map(([user]) => user))
            await removal()
            await sweptAfter(NOTED_WITHIN)
            for (const user of await gone()) expect(await isEmpty(user), `${user}`).to.equal(true)
          }
        })(),
      ]
      const failing = Promise.all(background)
      const killed = (async () => {
        for (const { victim, after } of kills.splice(0, ROUND)) {
          await sleep(after)
          if (!killing) return
          alive[victim].child.kill('SIGKILL')
          expect(await alive[victim].ended).to.equal('signal SIGKILL')
          if (victim === 'task-service') await forgotten()
          alive[victim] = await start[victim]()
        }
      })()
      try {
        await Promise.race([killed, failing])
      } finally {
        killing = false
        await killed
      }
      await failing
      found = await compare(clients)
    }
    expect(found.photos).to.be.above(KILLS)
  })
})
