import { expect } from 'chai'
import pg from 'pg'
import { blackPng, NO_PHOTOS } from '../support/images.ts'
import { post, sha256 } from '../support/object-storage-contract.ts'
import { type PhotoStorage, startPhotoStorage } from '../support/photo-storage.ts'
import { complete, givenPhoto, jpeg, offered, promiseOf } from '../support/photos.ts'
import { giveRole } from '../support/roles.ts'
import { type Call, type System, startSystem } from '../support/system.ts'

const KEY = 'an-internal-key-of-the-tests'

describe('Photos of a task', function () {
  this.timeout(60_000)
  let photos: PhotoStorage
  let system: System
  let user: Awaited<ReturnType<System['newUser']>>
  before(async () => {
    photos = await startPhotoStorage()
    system = await startSystem({ ...photos.env, INTERNAL_API_KEY: KEY, QUOTA_PHOTOS: '30' })
  })
  beforeEach(async () => {
    user = await system.newUser()
  })
  after(async () => {
    await system?.stop()
    await photos?.stop()
  })
  const call = (method: string, path: string, more: Call = {}) =>
    system.call(method, path, { token: user.token, ...more })
  const newTask = async (): Promise<number> =>
    (await call('POST', '/tasks', { body: { title: 'Kitchen' } })).body.task.id
  const given = (task: number, bytes: Buffer, name?: string) =>
    givenPhoto(system.call, user, task, bytes, name)
  const idsIn = async (task: number): Promise<string[]> =>
    (await call('GET', `/tasks/${task}`)).body.task.photos.map(({ id }: { id: string }) => id)
  const query = async (text: string) => {
    const client = new pg.Client(system.database.config.connection)
    await client.connect()
    return (await client.query(text).finally(() => client.end())).rows
  }
  /** Where a redirect leads, and what is there. */
  const followed = async (path: string, token = user.token) => {
    const headers = { authorization: `Bearer ${token}` }
    const response = await fetch(system.urls.task + path, { headers, redirect: 'manual' })
    const link = response.headers.get('location') ?? ''
    return { status: response.status, headers: response.headers, at: await fetch(link) }
  }

  it('are uploaded to the storage, looked at, and then in the task', async () => {
    const task = await newTask()
    const bytes = await jpeg()
    const { photo_id, upload } = await offered(system.call, user, task, promiseOf(bytes))
    expect(new Date(upload.expires_at).getTime() - Date.now()).to.be.within(290_000, 300_000)
    expect(await idsIn(task)).to.deep.equal([])
    expect(await post(upload, bytes)).to.equal(204)
    const completed = await complete(system.call, user, task, photo_id)
    const facts = { content_type: 'image/jpeg', size: bytes.length, sha256: sha256(bytes) }
    expect(completed.body.task).to.deep.include({ id: task, version: 2 })
    const [photo] = completed.body.task.photos
    expect(photo).to.include({ id: photo_id, ...facts, width: 40, height: 30 })
    expect(completed.headers.get('etag')).to.equal('"2"')
    const { body } = await call('GET', `/tasks/${task}/photos`)
    const { name, added_at, thumbnails, thumbnails_failed, ...same } = body.photos[0]
    expect(same).to.deep.equal(photo)
    expect({ name, thumbnails, thumbnails_failed }).to.deep.equal({
      name: 'A kitchen.jpg',
      thumbnails: null,
      thumbnails_failed: false,
    })
    expect(added_at).to.equal(completed.body.task.updated_at)
  })

  it('are downloaded by a link of a minute, with a name that leads nowhere', async () => {
    const task = await newTask()
    const bytes = await jpeg()
    const id = await given(task, bytes, '../../é"; x=y.jpg')
    const { status, headers, at } = await followed(`/tasks/${task}/photos/${id}`)
    expect(status).to.equal(302)
    expect(headers.get('cache-control')).to.equal('no-store')
    expect(Buffer.from(await at.arrayBuffer()).equals(bytes)).to.equal(true)
    expect(at.headers.get('content-type')).to.equal('image/jpeg')
    const { body } = await call('GET', `/tasks/${task}/photos/${id}/link`)
    expect(Buffer.from(await (await fetch(body.url)).arrayBuffer()).equals(bytes)).to.equal(true)
    expect(at.headers.get('content-disposition')).to.equal(
      `inline; filename="__..___; x=y.jpg"; filename*=UTF-8''__.._%C3%A9_%3B%20x%3Dy.jpg`,
    )
  })

  it('are completed once, however often and at the same time that is asked for', async () => {
    const task = await newTask()
    const bytes = await jpeg()
    const { photo_id, upload } = await offered(system.call, user, task, promiseOf(bytes))
    await post(upload, bytes)
    await post(upload, bytes)
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => complete(system.call, user, task, photo_id)),
    )
    expect(answers.map(({ status }) => status)).to.deep.equal(answers.map(() => 200))
    const again = await complete(system.call, user, task, photo_id)
    expect(again.body.task).to.deep.include({ version: 2 })
    expect(again.body.task.photos).to.have.length(1)
  })

  it('stay removed when a late call completes them again', async () => {
    const task = await newTask()
    const id = await given(task, await jpeg())
    expect((await call('DELETE', `/tasks/${task}/photos/${id}`)).status).to.equal(204)
    const late = await complete(system.call, user, task, id)
    expect([late.status, late.body.code]).to.deep.equal([404, 'photo_not_found'])
    expect(await idsIn(task)).to.deep.equal([])
  })

  it('come back by undo and by restore, in their place', async () => {
    const task = await newTask()
    const one = await given(task, await jpeg(1))
    const two = await given(task, await jpeg(2))
    const removed = await call('DELETE', `/tasks/${task}/photos/${one}`, {
      headers: { 'if-match': '"3"' },
    })
    expect([removed.status, removed.headers.get('etag')]).to.deep.equal([204, '"4"'])
    expect(await idsIn(task)).to.deep.equal([two])
    const undone = await call('POST', `/tasks/${task}/undo`, { body: {} })
    expect(undone.body).to.include({ undone: 4, next_undo: 3 })
    expect(await idsIn(task)).to.deep.equal([one, two])
    await call('POST', `/tasks/${task}/redo`, { body: {} })
    expect(await idsIn(task)).to.deep.equal([two])
    const restored = await call('POST', `/tasks/${task}/photos/${one}/restore`, { body: {} })
    expect(restored.status).to.equal(200)
    expect(await idsIn(task)).to.deep.equal([two, one])
    const { body } = await call('GET', `/tasks/${task}/history`)
    expect(body.events.map(({ type }: { type: string }) => type)).to.deep.equal([
      'TaskCreated',
      'PhotoAdded',
      'PhotoAdded',
      'PhotoRemoved',
      'PhotoRestored',
      'PhotoRemoved',
      'PhotoRestored',
    ])
    const past = await call('GET', `/tasks/${task}?version=3`)
    expect(past.body.task.photos.map(({ id }: { id: string }) => id)).to.deep.equal([one, two])
  })

  it('are undone back to the creation, and stay with a task that is deleted and restored', async () => {
    const task = await newTask()
    await given(task, await jpeg())
    await call('DELETE', `/tasks/${task}`)
    expect((await call('GET', `/tasks/${task}/photos`)).status).to.equal(404)
    await call('POST', `/tasks/${task}/restore`, { body: {} })
    expect(await idsIn(task)).to.have.length(1)
    await call('POST', `/tasks/${task}/undo`, { body: { version: 2 } })
    expect(await idsIn(task)).to.deep.equal([])
  })

  it('are in the trail with version and checksum, without their names', async () => {
    const task = await newTask()
    const bytes = await jpeg()
    await given(task, bytes, 'Very private.jpg')
    const { body } = await call('GET', `/tasks/${task}/history`)
    const { from, to } = body.events[1].changes.photos
    expect(from).to.deep.equal([])
    expect(to[0]).to.include({ sha256: sha256(bytes) })
    const head = await photos.storage.list(`users/${user.id}/` as never)
    expect(to[0].version).to.equal(head.versions[0]?.version)
    const rows = await query('select * from photos, events')
    expect(JSON.stringify(rows)).not.to.include('Very private')
  })

  describe('are refused, and nothing is recorded,', () => {
    const refused = async (bytes: Buffer, promised: object): Promise<unknown> => {
      const task = await newTask()
      const { photo_id, upload } = await offered(system.call, user, task, promised)
      const uploaded = await post(upload, bytes)
      const { status, body } = await complete(system.call, user, task, photo_id)
      const { version, photos: there } = (await call('GET', `/tasks/${task}`)).body.task
      expect([version, there]).to.deep.equal([1, []])
      return [uploaded, status, body.code]
    }

    for (const [what, make] of Object.entries(NO_PHOTOS)) {
      if (what === 'nothing at all') continue
      it(`if they are ${what}`, async () => {
        const bytes = await make()
        expect(await refused(bytes, promiseOf(bytes))).to.deep.equal([204, 422, 'not_an_image'])
      })
    }

    it('if they are an image of another type than was promised', async () => {
      const bytes = blackPng(3, 3)
      expect(await refused(bytes, promiseOf(bytes))).to.deep.equal([204, 422, 'not_an_image'])
    })

    it('if they have too many pixels for their bytes', async () => {
      const bytes = blackPng(20_000, 20_000)
      const promised = { ...promiseOf(bytes), content_type: 'image/png' }
      expect(await refused(bytes, promised)).to.deep.equal([204, 422, 'too_many_pixels'])
    })

    it('if nothing was uploaded, or other bytes', async () => {
      const [bytes, others] = [await jpeg(1), await jpeg(2)]
      const differs = { ...promiseOf(bytes), size: others.length }
      expect(await refused(others, differs)).to.deep.equal([400, 409, 'photo_not_uploaded'])
    })

    for (const [field, value, message] of [
      [
        'content_type',
        'image/svg+xml',
        'Content type must be one of: image/jpeg, image/png, image/webp, image/avif',
      ],
      ['size', 26_214_401, 'Size must be from 1 to 26214400'],
      ['size', 0, 'Size must be from 1 to 26214400'],
      ['size', 1.5, 'Size must be a whole number'],
      ['sha256', 'A'.repeat(64), 'Sha256 must be the SHA-256 of the bytes in lower-case hex'],
      ['name', '', 'Name is required'],
      ['name', 'two\nlines', 'Name must not contain line breaks, tabs or other control characters'],
    ] as const) {
      it(`if the ${field} is ${JSON.stringify(value).slice(0, 20)}`, async () => {
        const task = await newTask()
        const body = { ...promiseOf(Buffer.from('x')), [field]: value }
        const answer = await call('POST', `/tasks/${task}/photos`, { body })
        expect(answer.body).to.deep.include({
          code: 'validation_failed',
          details: [{ field, message }],
        })
      })
    }
  })

  it("are their owner's alone", async () => {
    const task = await newTask()
    const id = await given(task, await jpeg())
    const other = await system.newUser()
    const sql = new pg.Client(system.database.url)
    await sql.connect()
    await giveRole(sql, other.id, 'auditor').finally(() => sql.end())
    const { token } = other
    const promised = promiseOf(await jpeg())
    for (const [method, path, body] of [
      ['POST', `/tasks/${task}/photos`, promised],
      ['GET', `/tasks/${task}/photos`, undefined],
      ['GET', `/tasks/${task}/photos/${id}`, undefined],
      ['GET', `/tasks/${task}/photos/${id}/link`, undefined],
      ['POST', `/tasks/${task}/photos/${id}/complete`, {}],
      ['DELETE', `/tasks/${task}/photos/${id}`, undefined],
      ['POST', `/tasks/${task}/photos/${id}/restore`, {}],
    ] as const) {
      const answer = await system.call(method, path, { token, body })
      expect([answer.status, answer.body.code], path).to.deep.equal([403, 'task_forbidden'])
    }
    // An auditor sees that it was there.
    const { body } = await system.call('GET', `/tasks/${task}/history`, { token })
    expect(body.events[1].type).to.equal('PhotoAdded')
  })

  it('are found in their own task only', async () => {
    const [one, other] = [await newTask(), await newTask()]
    const id = await given(one, await jpeg())
    const pending = await offered(system.call, user, one, promiseOf(await jpeg(3)))
    for (const [method, path] of [
      ['GET', `/tasks/${other}/photos/${id}`],
      ['POST', `/tasks/${other}/photos/${id}/complete`],
      ['POST', `/tasks/${other}/photos/${id}/restore`],
      ['DELETE', `/tasks/${other}/photos/${id}`],
      ['GET', `/tasks/${one}/photos/${pending.photo_id}`],
      ['POST', `/tasks/${one}/photos/${pending.photo_id}/restore`],
      ['GET', `/tasks/${one}/photos/01890000-0000-7000-8000-000000000000`],
    ] as const) {
      const answer = await call(method, path, method === 'POST' ? { body: {} } : {})
      expect([answer.status, answer.body.code], path).to.deep.equal([404, 'photo_not_found'])
    }
  })

  it('are counted: twenty a task, those included that are on their way', async () => {
    const task = await newTask()
    const bytes = await jpeg()
    await given(task, bytes)
    for (let n = 1; n < 20; n++) await offered(system.call, user, task, promiseOf(bytes))
    const answer = await call('POST', `/tasks/${task}/photos`, { body: promiseOf(bytes) })
    expect([answer.status, answer.body.code]).to.deep.equal([409, 'too_many_photos'])
  })

  it('are counted: as many a user, and as many bytes, as the quotas say', async () => {
    const tasks = [await newTask(), await newTask()]
    const big = { ...promiseOf(await jpeg()), size: 26_214_400 }
    const offers = Array.from({ length: 36 }, (_, n) =>
      call('POST', `/tasks/${tasks[n % 2]}/photos`, { body: big }),
    )
    const codes = (await Promise.all(offers)).map(({ status }) => status)
    expect(codes.filter((status) => status === 201)).to.have.length(30)
    const refused = await call('POST', `/tasks/${tasks[0]}/photos`, { body: big })
    expect(refused.body).to.deep.include({ code: 'quota_exceeded' })
    expect(refused.body.message).to.match(/^You have 30 photos, of 30 that you may have/)
  })

  it('are added by the notification of a storage, too', async () => {
    const task = await newTask()
    const bytes = await jpeg()
    const { photo_id, upload } = await offered(system.call, user, task, promiseOf(bytes))
    const key = `users/${user.id}/photos/${photo_id}/original`
    const notify = (body: object, headers = { 'x-internal-api-key': KEY }) =>
      system.call('POST', '/internal/photo-uploads', { body, headers })
    expect((await notify({ key })).body.code).to.equal('photo_not_uploaded')
    await post(upload, bytes)
    expect((await notify({ key }, { 'x-internal-api-key': 'another' })).status).to.equal(403)
    expect((await notify({ key })).status).to.equal(204)
    expect((await notify({ key })).status).to.equal(204)
    expect(await idsIn(task)).to.deep.equal([photo_id])
    for (const other of ['users/1/photos/x/original', key.replace('original', 'small'), '../x']) {
      expect((await notify({ key: other })).body.code).to.equal('photo_not_found')
    }
  })

  it('of an erased user are found by nobody', async () => {
    const task = await newTask()
    const bytes = await jpeg()
    const { photo_id, upload } = await offered(system.call, user, task, promiseOf(bytes))
    await post(upload, bytes)
    await call('DELETE', '/auth/me', { body: { password: user.password } })
    const headers = { 'x-internal-api-key': KEY }
    const body = { key: `users/${user.id}/photos/${photo_id}/original` }
    const answer = await system.call('POST', '/internal/photo-uploads', { body, headers })
    expect([answer.status, answer.body.code]).to.deep.equal([404, 'photo_not_found'])
  })
})

describe('Photos where there is no place for them', function () {
  this.timeout(60_000)
  let system: System
  before(async () => {
    system = await startSystem()
  })
  after(() => system?.stop())

  it('are refused in words, and nothing else is', async () => {
    const { token } = await system.newUser()
    const { body } = await system.call('POST', '/tasks', { token, body: { title: 'A' } })
    const path = `/tasks/${body.task.id}/photos`
    const answer = await system.call('POST', path, { token, body: promiseOf(await jpeg()) })
    expect([answer.status, answer.body.message]).to.deep.equal([
      501,
      'This installation keeps no photos',
    ])
    expect((await system.call('GET', path, { token })).body).to.deep.equal({ photos: [] })
    expect((await system.call('GET', '/ready')).status).to.equal(200)
  })
})
