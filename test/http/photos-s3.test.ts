import { expect } from 'chai'
import { post, sha256 } from '../support/object-storage-contract.ts'
import { complete, givenPhoto, jpeg, offered, promiseOf } from '../support/photos.ts'
import { hasRadosGateway, type RadosGateway, startRadosGateway } from '../support/rados-gateway.ts'
import { skipped } from '../support/skipped.ts'
import { type Call, type System, startSystem } from '../support/system.ts'
import { type TcpProxy, tcpProxy } from '../support/tcp-proxy.ts'

describe('Photos in S3, with the gateway of Ceph', function () {
  this.timeout(120_000)
  let gateway: RadosGateway
  let proxy: TcpProxy
  let system: System
  let user: Awaited<ReturnType<System['newUser']>>
  let task: number
  const environment = { ...process.env }
  before(async function () {
    if (!hasRadosGateway) {
      return skipped(this, 'radosgw is not installed: apt-get install radosgw ceph-mon ceph-osd')
    }
    gateway = await startRadosGateway()
    const { endpoint, credentials, ...options } = gateway.options
    const { hostname: host, port } = new URL(endpoint)
    proxy = await tcpProxy({ host, port: Number(port) })
    const bucket = await gateway.bucket()
    const keys = credentials as { accessKeyId: string; secretAccessKey: string }
    // As the SDK finds them on a machine.
    process.env.AWS_ACCESS_KEY_ID = keys.accessKeyId
    process.env.AWS_SECRET_ACCESS_KEY = keys.secretAccessKey
    system = await startSystem({
      PHOTOS_BUCKET: bucket,
      AWS_REGION: options.region,
      AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${proxy.port}`,
      S3_FORCE_PATH_STYLE: 'true',
    })
  })
  beforeEach(async () => {
    user = await system.newUser()
    task = (await call('POST', '/tasks', { body: { title: 'Kitchen' } })).body.task.id
  })
  after(async () => {
    await system?.stop()
    await proxy?.close()
    await gateway?.stop()
    process.env = environment
  })
  const call = (method: string, path: string, more: Call = {}) =>
    system.call(method, path, { token: user.token, ...more })

  it('go there and come back by forms and links', async () => {
    const bytes = await jpeg()
    const id = await givenPhoto(system.call, user, task, bytes, 'é "x".jpg')
    const headers = { authorization: `Bearer ${user.token}` }
    const path = `${system.urls.task}/tasks/${task}/photos/${id}`
    const { status, headers: answer } = await fetch(path, { headers, redirect: 'manual' })
    expect(status).to.equal(302)
    const at = await fetch(answer.get('location') ?? '')
    expect(sha256(Buffer.from(await at.arrayBuffer()))).to.equal(sha256(bytes))
    expect(at.headers.get('content-type')).to.equal('image/jpeg')
    expect(at.headers.get('content-disposition')).to.match(/^inline; filename="_ _x_.jpg"; /)
  })

  it('are refused with other bytes than promised, though this gateway stores them', async () => {
    const [bytes, others] = [await jpeg(1), await jpeg(2)]
    const same = Buffer.concat([others, bytes]).subarray(0, bytes.length)
    const { photo_id, upload } = await offered(system.call, user, task, promiseOf(bytes))
    expect(await post(upload, same)).to.equal(204)
    const refused = await complete(system.call, user, task, photo_id)
    expect([refused.status, refused.body.code]).to.deep.equal([422, 'photo_differs'])
    // The form still works.
    expect(await post(upload, bytes)).to.equal(204)
    expect((await complete(system.call, user, task, photo_id)).status).to.equal(200)
  })

  for (const [how, interrupt] of [
    ['away', () => proxy.cut()],
    ['silent', () => proxy.hang()],
  ] as const) {
    it(`are completed later, when the storage is ${how}: nothing is half recorded`, async () => {
      const bytes = await jpeg()
      const { photo_id, upload } = await offered(system.call, user, task, promiseOf(bytes))
      const { port } = new URL(gateway.options.endpoint)
      const straight = { ...upload, url: upload.url.replace(`:${proxy.port}`, `:${port}`) }
      expect(await post(straight, bytes)).to.equal(204)
      interrupt()
      const failed = await complete(system.call, user, task, photo_id)
      expect([failed.status, failed.body.code]).to.deep.equal([503, 'storage_unavailable'])
      expect(Number(failed.headers.get('retry-after'))).to.be.at.least(1)
      const ready = await system.call('GET', '/ready')
      expect([ready.status, ready.body.code]).to.deep.equal([503, 'storage_unavailable'])
      expect((await call('GET', `/tasks/${task}`)).body.task.photos).to.deep.equal([])
      proxy.restore()
      expect((await complete(system.call, user, task, photo_id)).body.task.photos).to.have.length(1)
      expect((await system.call('GET', '/ready')).status).to.equal(200)
    })
  }
})
