import { readdir, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'chai'
import pg from 'pg'
import sharp from 'sharp'
import { AppError } from '../../../../src/app/errors.ts'
import { checkPhotos } from '../../../../src/app/photo-check.ts'
import { ALL_PHOTOS, photoKey, photoPrefix } from '../../../../src/app/photo-keys.ts'
import { removePhotos, shrinkNext, sweep } from '../../../../src/app/photo-upkeep.ts'
import type { Thumbnailer } from '../../../../src/app/ports/images.ts'
import type { ObjectStorage } from '../../../../src/app/ports/object-storage.ts'
import { vipsThumbnailer } from '../../../../src/infra/images/thumbnailer.ts'
import { type Database, openDatabase } from '../../../../src/infra/postgres/connection/database.ts'
import { postgresPhotoUpkeep } from '../../../../src/infra/postgres/photos/photo-upkeep.ts'
import { post } from '../../../support/object-storage-contract.ts'
import { type PhotoStorage, startPhotoStorage } from '../../../support/photo-storage.ts'
import { givenPhoto, jpeg, offered, promiseOf } from '../../../support/photos.ts'
import { type Call, type System, startSystem } from '../../../support/system.ts'

const silent = { info: () => {}, warn: () => {}, error: () => {} }
const never = new AbortController().signal
const away = () => Promise.reject(new AppError('storage_unavailable'))

describe('The upkeep of photos', function () {
  this.timeout(60_000)
  let photos: PhotoStorage
  let system: System
  let db: Database
  let sql: pg.Client
  let user: Awaited<ReturnType<System['newUser']>>
  let task: number
  before(async () => {
    photos = await startPhotoStorage()
    system = await startSystem(photos.env)
    const { config } = system.database
    db = openDatabase({ ...config, role: 'tasktrail_worker', log: silent })
    sql = new pg.Client(config.connection)
    await sql.connect()
  })
  beforeEach(async () => {
    await sql.query('delete from photos')
    await removeAll()
    user = await system.newUser()
    task = (await call('POST', '/tasks', { body: { title: 'Kitchen' } })).body.task.id
  })
  after(async () => {
    await db?.close()
    await sql?.end()
    await system?.stop()
    await photos?.stop()
  })
  const call = (method: string, path: string, more: Call = {}) =>
    system.call(method, path, { token: user.token, ...more })
  const given = async (tint = 0) => givenPhoto(system.call, user, task, await jpeg(tint))
  const remove = (storage: ObjectStorage = photos.storage) =>
    removePhotos(postgresPhotoUpkeep(db), storage)()
  const shrink = (
    storage: ObjectStorage = photos.storage,
    thumbnailer: Thumbnailer = vipsThumbnailer(),
  ) => shrinkNext(postgresPhotoUpkeep(db), storage, thumbnailer)()
  const objects = async () => (await photos.storage.list(ALL_PHOTOS)).versions
  const removeAll = async () => {
    for (const { key, version } of await objects()) {
      await photos.storage.remove({ key: key as never, version })
    }
  }
  const known = async () =>
    (await sql.query('select photo_id from photos order by photo_id')).rows.map(
      ({ photo_id }) => photo_id,
    )
  const erase = async ({ token, password }: typeof user) => {
    const { status } = await system.call('DELETE', '/auth/me', { token, body: { password } })
    expect(status).to.equal(204)
  }
  const minutesAfterErasure = (minutes: number) =>
    sql.query('update user_keys set destroyed_at = destroyed_at - make_interval(mins => $1)', [
      minutes,
    ])
  const past = (column: string, interval: string, id: string) =>
    sql.query(`update photos set ${column} = now() - interval '${interval}' where photo_id = $1`, [
      id,
    ])
  /** Nobody is about to note what is there. */
  const aged = async () => {
    const { PHOTOS_DIR } = photos.env
    for (const file of await readdir(PHOTOS_DIR, { recursive: true, withFileTypes: true })) {
      if (file.isFile()) await utimes(join(file.parentPath, file.name), new Date(0), new Date(0))
    }
  }
  const swept = () => sweep(postgresPhotoUpkeep(db), photos.storage, () => new Date(), never)

  describe('makes thumbnails', () => {
    it('of each photo once, and the list of photos leads to them', async () => {
      const id = await given()
      expect(await shrink()).to.deep.include({ id, failed: null })
      expect(await shrink()).to.equal(null)
      const { body } = await call('GET', `/tasks/${task}/photos`)
      const { small, large } = body.photos[0].thumbnails
      for (const { url, width, height } of [small, large]) {
        const answer = await fetch(url)
        expect(answer.headers.get('content-type')).to.equal('image/webp')
        const image = await sharp(await answer.arrayBuffer()).metadata()
        expect([image.format, image.width, image.height]).to.deep.equal(['webp', width, height])
      }
      const again = await call('GET', `/tasks/${task}/photos`)
      expect(again.body.photos[0].thumbnails.small.url).to.equal(small.url)
      const path = `/tasks/${task}/photos/${id}?size=small`
      const headers = { authorization: `Bearer ${user.token}` }
      const one = await fetch(system.urls.task + path, { headers, redirect: 'manual' })
      expect([one.status, one.headers.get('location')]).to.deep.equal([302, small.url])
    })

    it('of others when one photo cannot be decoded, which is parked', async () => {
      const [bad, good] = [await given(1), await given(2)]
      const failing: Thumbnailer = async () => 'not_decodable'
      expect(await shrink(photos.storage, failing)).to.deep.include({
        id: bad,
        failed: 'not_decodable',
      })
      expect(await shrink()).to.deep.include({ id: good, failed: null })
      expect(await shrink()).to.equal(null)
      const { body } = await call('GET', `/tasks/${task}/photos`)
      expect(body.photos[0]).to.include({ thumbnails: null, thumbnails_failed: true })
      const answer = await call('GET', `/tasks/${task}/photos/${bad}?size=large`)
      expect([answer.status, answer.body.code]).to.deep.equal([404, 'thumbnail_not_found'])
    })

    it('later, when the storage is away, and of others meanwhile', async () => {
      const [one, other] = [await given(1), await given(2)]
      const failure = await shrink({ ...photos.storage, read: away }).catch((error) => error)
      expect(failure.code).to.equal('storage_unavailable')
      expect(await shrink()).to.include({ id: other })
      expect(await shrink()).to.equal(null)
      await past('thumbnails_due_at', '1 second', one)
      expect(await shrink()).to.deep.include({ id: one, failed: null })
    })

    it('of no photo again that brings the worker down with a fault of ours', async () => {
      const bad = await given()
      const faulty: Thumbnailer = () => Promise.reject(new Error('a fault'))
      const failure = await shrink(photos.storage, faulty).catch((error) => error)
      expect(failure.message).to.equal('a fault')
      expect(await shrink()).to.equal(null)
      const { rows } = await sql.query('select thumbnails_failed from photos where photo_id = $1', [
        bad,
      ])
      expect(rows[0].thumbnails_failed).to.equal('error')
    })

    it('of no photo of an erased user, of whom something would be left', async () => {
      await given()
      await erase(user)
      expect(await shrink()).to.equal(null)
      expect((await postgresPhotoUpkeep(db).status()).waiting).to.equal(0)
    })

    it('that do not stay if the photo goes meanwhile', async () => {
      const id = await given()
      const going: Thumbnailer = async (bytes) => {
        await sql.query('update photos set gone_at = now() where photo_id = $1', [id])
        return vipsThumbnailer()(bytes)
      }
      await shrink(photos.storage, going)
      expect((await objects()).map(({ key }) => key)).to.deep.equal([
        photoKey({ id, user_id: user.id }, 'original'),
      ])
    })
  })

  describe('removes for good', () => {
    it('a photo that was removed more than 30 days ago, and not one day earlier', async () => {
      const [old, young] = [await given(1), await given(2)]
      await shrink()
      await shrink()
      for (const id of [old, young]) await call('DELETE', `/tasks/${task}/photos/${id}`)
      await past('removed_at', '30 days 1 minute', old)
      await past('removed_at', '29 days 23 hours', young)
      expect(await remove()).to.deep.equal({ photos: 1, users: 0 })
      expect(await known()).to.deep.equal([young])
      expect(await objects()).to.have.length(3)
      const gone = await call('POST', `/tasks/${task}/photos/${old}/restore`, { body: {} })
      expect(gone.body.code).to.equal('photo_not_found')
      const undone = await call('POST', `/tasks/${task}/undo`, { body: { version: 5 } })
      expect(undone.status).to.equal(200)
      const undo = await call('POST', `/tasks/${task}/undo`, { body: { version: 4 } })
      expect([undo.status, undo.body.code]).to.deep.equal([410, 'photo_gone'])
    })

    it('nothing that an undo still brings back; afterwards the undo says that it is gone', async () => {
      const id = await given()
      await call('DELETE', `/tasks/${task}/photos/${id}`)
      await past('removed_at', '31 days', id)
      expect((await call('POST', `/tasks/${task}/undo`, { body: {} })).status).to.equal(200)
      expect(await remove()).to.deep.equal({ photos: 0, users: 0 })
      await call('POST', `/tasks/${task}/redo`, { body: {} })
      await past('removed_at', '31 days', id)
      await remove()
      const undo = await call('POST', `/tasks/${task}/undo`, { body: {} })
      expect([undo.status, undo.body.code]).to.deep.equal([410, 'photo_gone'])
      expect((await call('GET', `/tasks/${task}`)).body.task.photos).to.deep.equal([])
    })

    it('an upload that nobody completed, and completes it no more', async () => {
      const bytes = await jpeg()
      const { photo_id, upload } = await offered(system.call, user, task, promiseOf(bytes))
      await post(upload, bytes)
      expect(await remove()).to.deep.equal({ photos: 0, users: 0 })
      await past('upload_ends_at', '61 minutes', photo_id)
      expect(await remove()).to.deep.equal({ photos: 1, users: 0 })
      expect(await objects()).to.deep.equal([])
      const late = await call('POST', `/tasks/${task}/photos/${photo_id}/complete`, { body: {} })
      expect([late.status, late.body.code]).to.deep.equal([404, 'photo_not_found'])
    })

    it('all objects of an erased user, says so once in the log, and leaves those of others', async () => {
      const kept = await given(1)
      const other = await system.newUser()
      const theirs = await system.call('POST', '/tasks', {
        token: other.token,
        body: { title: 'x' },
      })
      const its = await givenPhoto(system.call, other, theirs.body.task.id, await jpeg(2))
      await shrink()
      await shrink()
      const bytes = await jpeg(3)
      const late = await offered(system.call, other, theirs.body.task.id, promiseOf(bytes))
      await erase(other)
      // Their form still works.
      expect(await remove()).to.deep.equal({ photos: 0, users: 0 })
      expect(await post(late.upload, bytes)).to.equal(204)
      await sql.query("update photos set upload_ends_at = now() - interval '16 minutes'")
      // A thumbnail that was being made at the erasure may be stored yet.
      expect(await remove()).to.deep.equal({ photos: 0, users: 0 })
      await minutesAfterErasure(16)
      expect(await remove()).to.deep.equal({ photos: 0, users: 1 })
      expect(await remove()).to.deep.equal({ photos: 0, users: 0 })
      expect(await known()).to.deep.equal([kept])
      expect((await objects()).filter(({ key }) => key.includes(its))).to.deep.equal([])
      expect(await objects()).to.have.length(3)
      const { rows } = await sql.query(
        'select type from events where stream_id = $1 order by version',
        [`user-${other.id}`],
      )
      expect(rows.map(({ type }) => type)).to.deep.equal(['UserErased', 'UserPhotosErased'])
    })

    it('what an erased user had removed long ago with the rest, and so says that it is gone', async () => {
      const ids = [await given(1), await given(2)]
      for (const id of ids) await call('DELETE', `/tasks/${task}/photos/${id}`)
      await sql.query("update photos set removed_at = now() - interval '31 days'")
      const [first] = ids
      await sql.query('update photos set gone_at = now() where photo_id = $1', [first])
      await erase(user)
      await sql.query("update photos set upload_ends_at = now() - interval '16 minutes'")
      expect(await remove()).to.deep.equal({ photos: 0, users: 0 })
      expect(await objects()).to.deep.equal([])
      await minutesAfterErasure(16)
      expect(await remove()).to.deep.equal({ photos: 0, users: 1 })
      expect(await known()).to.deep.equal([])
    })

    it('the rest, when the storage was away in between', async () => {
      const ids = [await given(1), await given(2)]
      for (const id of ids) {
        await call('DELETE', `/tasks/${task}/photos/${id}`)
        await past('removed_at', '31 days', id)
      }
      let calls = 0
      const removeSome: ObjectStorage['removeSome'] = (prefix) =>
        ++calls === 2 ? away() : photos.storage.removeSome(prefix)
      const failure = await remove({ ...photos.storage, removeSome }).catch((error) => error)
      expect(failure.code).to.equal('storage_unavailable')
      expect(await known()).to.have.length(1)
      expect(await remove()).to.deep.equal({ photos: 1, users: 0 })
      expect([await known(), await objects()]).to.deep.equal([[], []])
    })
  })

  describe('compares', () => {
    const check = () => checkPhotos(postgresPhotoUpkeep(db), photos.storage)

    it('tasks, photos and objects, and names what differs', async () => {
      const ids = [await given(1), await given(2), await given(3)]
      const [one = '', two = '', three = ''] = ids
      await offered(system.call, user, task, promiseOf(await jpeg(4)))
      await call('DELETE', `/tasks/${task}/photos/${three}`)
      await shrink()
      expect(await check()).to.deep.equal({ photos: 4, differences: [] })
      const [{ version = '' } = {}] = (
        await photos.storage.list(photoPrefix({ id: two, user_id: user.id }))
      ).versions
      await photos.storage.remove({
        key: photoKey({ id: two, user_id: user.id }, 'original'),
        version,
      })
      const small = await photos.storage.head(photoKey({ id: one, user_id: user.id }, 'small'))
      if (small)
        await photos.storage.remove({
          key: photoKey({ id: one, user_id: user.id }, 'small'),
          version: small.version,
        })
      await sql.query('update photos set removed_at = now() where photo_id = $1', [one])
      await sql.query('update photos set removed_at = null where photo_id = $1', [three])
      expect((await check()).differences).to.deep.equal([
        `photo ${one} is shown in, but was removed from task ${task}`,
        `the small thumbnail of photo ${one} is not there`,
        `the bytes of photo ${two} are not there`,
        `photo ${three} is not shown in task ${task}`,
      ])
    })

    it('nothing of erased users, whose objects are being removed', async () => {
      await given(1)
      await erase(user)
      await sql.query('delete from tasks where user_id = $1', [user.id])
      await remove()
      expect(await check()).to.deep.equal({ photos: 0, differences: [] })
    })
  })

  describe('sweeps', () => {
    it('objects that nobody knows, and none that an event names', async () => {
      const id = await given(1)
      await shrink()
      const bytes = await jpeg(2)
      const { photo_id, upload } = await offered(system.call, user, task, promiseOf(bytes))
      await post(upload, bytes)
      await post(upload, bytes)
      const own = { id, user_id: user.id }
      const stray = { contentType: 'image/webp' }
      await photos.storage.put({ key: photoKey(own, 'original'), ...stray }, Buffer.from('again'))
      await photos.storage.put({ key: photoKey(own, 'small'), ...stray }, Buffer.from('unnoted'))
      const nobodys = { id: '01890000-0000-7000-8000-000000000000', user_id: user.id }
      await photos.storage.put({ key: photoKey(nobodys, 'large'), ...stray }, Buffer.from('lost'))
      const anothers = { id, user_id: user.id + 1 }
      await photos.storage.put(
        { key: photoKey(anothers, 'original'), ...stray },
        Buffer.from('lost'),
      )
      await photos.storage.put({ key: 'users/odd' as never, ...stray }, Buffer.from('lost'))
      expect(await swept()).to.deep.equal({ looked: 10, removed: 0 })
      await aged()
      expect(await swept()).to.deep.equal({ looked: 10, removed: 5 })
      expect(await swept()).to.deep.equal({ looked: 5, removed: 0 })
      // What was uploaded twice is known until somebody has looked at one of them.
      const done = await call('POST', `/tasks/${task}/photos/${photo_id}/complete`, { body: {} })
      expect(done.body.task.photos).to.have.length(2)
      expect(await swept()).to.deep.equal({ looked: 5, removed: 1 })
      for (const { id, version } of done.body.task.photos) {
        const key = photoKey({ id, user_id: user.id }, 'original')
        expect(await photos.storage.head(key, version)).to.include({ version })
      }
    })
  })
})
