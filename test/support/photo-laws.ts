import { expect } from 'chai'
import type pg from 'pg'
import { checkPhotos } from '../../src/app/photo-check.ts'
import { ALL_PHOTOS, photoKey } from '../../src/app/photo-keys.ts'
import type { Recorded } from '../../src/app/ports/event-store.ts'
import type { ListedVersion, ObjectStorage } from '../../src/app/ports/object-storage.ts'
import type { PhotoUpkeep } from '../../src/app/ports/photo-upkeep.ts'
import type { TaskEvent } from '../../src/domain/task/events.ts'
import { isIn, type Photo } from '../../src/domain/task/photos.ts'
import { isTaskStreamId, type TaskView, taskIdOf, viewTask } from '../../src/domain/task/view.ts'
import type { Database } from '../../src/infra/postgres/connection/database.ts'
import { postgresEventStore } from '../../src/infra/postgres/event-store/event-store.ts'

const PAGE = 5_000

type Places = {
  readonly db: Database
  readonly sql: Pick<pg.Pool, 'query'>
  readonly storage: ObjectStorage
}

async function taskStreams(db: Database): Promise<Map<string, readonly Recorded<TaskEvent>[]>> {
  const { readAll } = postgresEventStore<TaskEvent, never>(db)
  const events: Recorded<TaskEvent>[] = []
  for (let page = await readAll(0, PAGE); page.length > 0; ) {
    events.push(...page)
    page = await readAll(page.at(-1)?.position ?? 0, PAGE)
  }
  const ofTasks = events.filter(({ stream_id }) => isTaskStreamId(stream_id))
  return Map.groupBy(ofTasks, ({ stream_id }) => stream_id)
}

export async function objectsIn(storage: ObjectStorage): Promise<readonly ListedVersion[]> {
  const all: ListedVersion[] = []
  for (let after: string | null | undefined; after !== null; ) {
    const { versions, next } = await storage.list(ALL_PHOTOS, after)
    all.push(...versions)
    after = next
  }
  return all
}

/** Each list that an event has is one list further than the one before, and no photo is added twice. */
function listsOf(events: readonly Recorded<TaskEvent>[]): readonly Photo[] {
  const seen = new Map<string, Photo>()
  let now: readonly Photo[] = []
  for (const { type, data } of events) {
    if (!('photos' in data)) continue
    const { photos } = data
    expect(new Set(photos.map(({ id }) => id)).size)
      .to.equal(photos.length)
      .and.be.at.most(20)
    const came = photos.filter(({ id }) => !isIn(now, id))
    expect(came.length + now.filter(({ id }) => !isIn(photos, id)).length).to.equal(1)
    for (const photo of came) {
      expect(type, photo.id).to.equal(seen.has(photo.id) ? 'PhotoRestored' : 'PhotoAdded')
      expect(seen.get(photo.id) ?? photo).to.deep.equal(photo)
      seen.set(photo.id, photo)
    }
    now = photos
  }
  return [...seen.values()]
}

/**
 * What the log says of photos is what the tasks show, the table has and the storage holds, byte for byte. Returns how
 * many photos events tell of.
 */
export async function expectPhotosOfLog(upkeep: PhotoUpkeep, places: Places): Promise<number> {
  const { db, sql, storage } = places
  expect((await checkPhotos(upkeep, storage)).differences).to.deep.equal([])
  const tasks = new Map<number, readonly Photo[]>(
    (await sql.query('select id::int, photos from tasks')).rows.map(({ id, photos }) => [
      id,
      photos,
    ]),
  )
  const kept = new Map<string, string>(
    (await sql.query('select photo_id, version from photos where gone_at is null')).rows.map(
      ({ photo_id, version }) => [photo_id, version],
    ),
  )
  let photos = 0
  for (const [stream_id, events] of await taskStreams(db)) {
    const said = listsOf(events)
    photos += said.length
    const shown = tasks.get(taskIdOf(stream_id))
    // The rows of an erased user's tasks are deleted.
    if (shown === undefined) continue
    const folded = events.reduce<TaskView | null>(viewTask, null)
    expect(shown, stream_id).to.deep.equal(folded?.photos)
    for (const { id } of shown) expect(kept.has(id), `a row of ${id}`).to.equal(true)
    for (const { id, version, sha256 } of said) {
      if (!kept.has(id)) continue
      expect(kept.get(id)).to.equal(version)
      const key = photoKey({ id, user_id: folded?.user_id ?? 0 }, 'original')
      expect(await storage.checksum({ key, version }), key).to.equal(sha256)
    }
  }
  return photos
}

/** Each object is one that the table names, and each that it names is there. */
export async function expectObjectsOfTable({ sql, storage }: Omit<Places, 'db'>): Promise<void> {
  const { rows } = await sql.query(`
    select photo_id as id, user_id::int, version, thumbnails from photos where version is not null`)
  const named = rows.flatMap(({ id, user_id, version, thumbnails }) => [
    [photoKey({ id, user_id }, 'original'), version],
    ...Object.entries(thumbnails ?? {}).map(([size, made]) => [
      photoKey({ id, user_id }, size as 'small' | 'large'),
      (made as { version: string }).version,
    ]),
  ])
  const there = (await objectsIn(storage)).map(({ key, version }) => [key, version])
  expect(there).to.have.deep.members(named)
}
