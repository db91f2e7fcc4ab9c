import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { DeleteObjectCommand } from '@aws-sdk/client-s3'
import { expect } from 'chai'
import { AppError } from '../../../src/app/errors.ts'
import { keyPrefix, objectKey } from '../../../src/app/object-keys.ts'
import type { ObjectStorage } from '../../../src/app/ports/object-storage.ts'
import { freePorts } from '../../../src/infra/local/free-ports.ts'
import { type S3Options, s3Storage } from '../../../src/infra/s3/s3-storage.ts'
import { objectStorageContract } from '../../support/object-storage-contract.ts'
import {
  hasRadosGateway,
  type RadosGateway,
  startRadosGateway,
} from '../../support/rados-gateway.ts'
import { skipped } from '../../support/skipped.ts'

const KEY = objectKey('photos', 'a')

describe('Object storage over S3, with the gateway of Ceph', function () {
  this.timeout(120_000)
  let gateway: RadosGateway
  let bucket: string
  let storage: ObjectStorage
  before(async function () {
    if (!hasRadosGateway) {
      return skipped(this, 'radosgw is not installed: apt-get install radosgw ceph-mon ceph-osd')
    }
    gateway = await startRadosGateway()
    bucket = await gateway.bucket()
    storage = s3Storage({ ...gateway.options, bucket, timeoutMs: 30_000 })
  })
  after(async () => {
    storage?.close()
    await gateway?.stop()
  })

  objectStorageContract({
    storage: () => storage,
    // Version 16, which Debian 12 has, stores any bytes of the right length, and tells no checksum.
    knowsChecksums: false,
    // It takes the bucket from the path.
    unread: ['bucket'],
  })

  it('removes delete markers too', async () => {
    const key = objectKey('marked', 'a')
    const stored = await storage.put({ key, contentType: 'image/jpeg' }, Buffer.from('x'))
    await gateway.client.send(new DeleteObjectCommand({ Bucket: bucket, Key: key }))
    expect(await storage.head(key)).to.equal(null)
    expect(await storage.head(key, stored.version)).to.include({ size: 1 })
    const { versions } = await storage.list(keyPrefix('marked'))
    expect(versions.map(({ isMarker }) => isMarker)).to.have.members([true, false])
    const marker = versions.find(({ isMarker }) => isMarker)
    expect(await storage.head(key, marker?.version)).to.equal(null)
    expect(await storage.removeSome(keyPrefix('marked'))).to.deep.equal({ more: false })
    expect(await storage.list(keyPrefix('marked'))).to.deep.equal({ versions: [], next: null })
  })

  it('is unavailable if the bucket keeps no versions, and says why', async () => {
    const bucket = await gateway.bucket({ versions: false })
    const unversioned = s3Storage({ ...gateway.options, bucket })
    const error = await failure(
      unversioned.put({ key: KEY, contentType: 'image/png' }, Buffer.from('x')),
    )
    expect(error.cause).to.have.property('message').that.includes('switch versioning on')
    unversioned.close()
  })

  it('is unavailable without the bucket, and with keys that are not right', async () => {
    const none = s3Storage({ ...gateway.options, bucket: 'b-there-is-none' })
    await failure(none.ping())
    await failure(none.list(keyPrefix('photos')))
    await failure(none.read({ key: KEY, version: 'v' }, 10))
    none.close()
    const credentials = { accessKeyId: 'tasktrail', secretAccessKey: 'wrong' }
    const stranger = s3Storage({ ...gateway.options, credentials, bucket })
    const { cause } = await failure(stranger.list(keyPrefix('photos')))
    expect(cause).to.have.property('message', 'S3 answers 403 SignatureDoesNotMatch')
    expect(Object.keys(cause as Error)).to.deep.equal([])
    stranger.close()
  })
})

/** That of a call, which has to be `storage_unavailable`. */
async function failure(call: Promise<unknown>): Promise<AppError> {
  const error = await call.then(
    () => new Error('it succeeded'),
    (error) => error,
  )
  expect(error).to.be.instanceOf(AppError).with.property('code', 'storage_unavailable')
  return error
}

describe('Object storage over S3 that is in trouble', () => {
  const options = {
    bucket: 'photos',
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: 'a', secretAccessKey: 'b' },
    timeoutMs: 400,
  } satisfies S3Options

  const calls = (
    storage: ObjectStorage,
  ): readonly (readonly [string, () => Promise<unknown>])[] => [
    ['put', () => storage.put({ key: KEY, contentType: 'image/png' }, Buffer.from('x'))],
    ['head', () => storage.head(KEY)],
    ['read', () => storage.read({ key: KEY, version: 'v' }, 10)],
    ['remove', () => storage.remove({ key: KEY, version: 'v' })],
    ['removeSome', () => storage.removeSome(keyPrefix('photos'))],
    ['list', () => storage.list(keyPrefix('photos'))],
    ['ping', () => storage.ping()],
  ]

  const allFail = async (endpoint: string, timeoutMs: number) => {
    const storage = s3Storage({ ...options, endpoint, timeoutMs })
    for (const [name, call] of calls(storage)) {
      const began = performance.now()
      const error = await failure(call())
      expect(performance.now() - began, name).to.be.below(timeoutMs + 1_000)
      expect(error.retryAfter).to.equal(1)
    }
    storage.close()
  }

  const withServer = async (listener: RequestListener, work: (url: string) => Promise<void>) => {
    const server = createServer(listener).listen(0, '127.0.0.1')
    await once(server, 'listening')
    try {
      await work(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    } finally {
      server.closeAllConnections()
      server.close()
    }
  }

  it('is unavailable at once when nobody listens', async () => {
    const [port = 0] = await freePorts(1)
    await allFail(`http://127.0.0.1:${port}`, 5_000)
  })

  it('is unavailable in time when nothing is answered', () =>
    withServer(
      () => {},
      (url) => allFail(url, 400),
    ))

  it('is unavailable in time when an answer stops in the middle', () =>
    withServer(
      (_, response) => {
        response.writeHead(206, { 'Content-Length': '10', 'Content-Type': 'image/png' })
        response.write('half')
      },
      async (endpoint) => {
        const storage = s3Storage({ ...options, endpoint })
        const began = performance.now()
        await failure(storage.read({ key: KEY, version: 'v' }, 10))
        expect(performance.now() - began).to.be.within(350, 1_400)
        storage.close()
      },
    ))

  const ANSWERS = [
    [503, 'SlowDown'],
    [507, 'InsufficientStorage'],
    [403, 'QuotaExceeded'],
    [500, 'InternalError'],
  ] as const
  for (const [status, code] of ANSWERS) {
    it(`is unavailable in time when it answers ${status} ${code}`, () =>
      withServer(
        (_, response) => {
          response.writeHead(status, { 'Content-Type': 'application/xml' })
          response.end(`<Error><Code>${code}</Code></Error>`)
        },
        async (endpoint) => {
          const storage = s3Storage({ ...options, endpoint, timeoutMs: 5_000 })
          expect((await failure(storage.head(KEY))).retryAfter).to.equal(1)
          const { cause } = await failure(storage.list(keyPrefix('photos')))
          expect(cause).to.have.property('message', `S3 answers ${status} ${code}`)
          storage.close()
        },
      ))
  }

  it('reads no more than was asked for from a server that sends everything', () =>
    withServer(
      (_, response) => {
        response.writeHead(200, { 'Content-Type': 'image/png' })
        response.end('everything')
      },
      async (endpoint) => {
        const storage = s3Storage({ ...options, endpoint })
        const read = await storage.read({ key: KEY, version: 'v' }, 5)
        expect(read?.toString()).to.equal('every')
        storage.close()
      },
    ))

  it('tries again when a connection was cut', async () => {
    let asked = 0
    await withServer(
      (request, response) => {
        asked++
        if (asked === 1) request.socket.destroy()
        else response.writeHead(200).end()
      },
      async (endpoint) => {
        const storage = s3Storage({ ...options, endpoint, timeoutMs: 5_000 })
        await storage.ping()
        expect(asked).to.equal(2)
        storage.close()
      },
    )
  })

  it('finds nothing at a delete marker, which AWS answers with 405', () =>
    withServer(
      (_, response) => response.writeHead(405).end(),
      async (endpoint) => {
        const storage = s3Storage({ ...options, endpoint, timeoutMs: 5_000 })
        expect(await storage.head(KEY, 'v')).to.equal(null)
        storage.close()
      },
    ))

  it('is unavailable when one of many versions cannot be removed', () =>
    withServer(
      (request, response) => {
        const version = '<Key>photos/a</Key><VersionId>v</VersionId>'
        const isList = request.method === 'GET'
        const answer = isList
          ? `<ListVersionsResult><Version>${version}</Version></ListVersionsResult>`
          : `<DeleteResult><Error>${version}<Code>AccessDenied</Code></Error></DeleteResult>`
        response.writeHead(200, { 'Content-Type': 'application/xml' }).end(answer)
      },
      async (endpoint) => {
        const storage = s3Storage({ ...options, endpoint, timeoutMs: 5_000 })
        const { cause } = await failure(storage.removeSome(keyPrefix('photos')))
        expect(cause).to.have.property('message', 'S3 does not remove a version: AccessDenied')
        storage.close()
      },
    ))

  it('tells the checksum that the storage tells', () =>
    withServer(
      (request, response) => {
        expect(request.headers['x-amz-checksum-mode']).to.equal('ENABLED')
        response.writeHead(200, {
          'Content-Length': '5',
          'Content-Type': 'image/png',
          'Last-Modified': 'Sat, 28 Nov 2026 11:26:05 GMT',
          'x-amz-version-id': 'v1',
          'x-amz-checksum-sha256': 'LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=',
        })
        response.end()
      },
      async (endpoint) => {
        const storage = s3Storage({ ...options, endpoint, timeoutMs: 5_000 })
        expect(await storage.head(KEY)).to.deep.equal({
          version: 'v1',
          size: 5,
          contentType: 'image/png',
          sha256: '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824',
          modified: '2026-11-28T11:26:05.000Z',
        })
        storage.close()
      },
    ))

  it('sends the checksum of what it puts, and asks for it in its forms', async () => {
    let header: unknown
    await withServer(
      (request, response) => {
        header = request.headers['x-amz-checksum-sha256']
        response.writeHead(200, { 'x-amz-version-id': 'v1' }).end()
      },
      async (endpoint) => {
        const storage = s3Storage({ ...options, endpoint, timeoutMs: 5_000 })
        await storage.put({ key: KEY, contentType: 'image/png' }, Buffer.from('hello'))
        expect(header).to.equal('LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=')
        const sha256 = Buffer.from(String(header), 'base64').toString('hex')
        const facts = { key: KEY, contentType: 'image/png', size: 5, sha256 }
        const { fields } = await storage.offerUpload(facts, 300)
        const policy = JSON.parse(Buffer.from(fields.Policy ?? '', 'base64').toString())
        expect(policy.conditions).to.deep.include.members([
          { key: 'photos/a' },
          { 'Content-Type': 'image/png' },
          ['content-length-range', 5, 5],
          { 'x-amz-checksum-algorithm': 'SHA256' },
          { 'x-amz-checksum-sha256': header },
        ])
        storage.close()
      },
    )
  })
})
