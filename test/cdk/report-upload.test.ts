import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import { expect } from 'chai'
import { reportUpload } from '../../cdk/handlers/report-upload.ts'
import { freePorts } from '../../src/infra/local/free-ports.ts'

const KEY = 'the-internal-api-key'
const OBJECT = 'users/17/photos/0193/original'

/** As EventBridge sends it, in part. */
const created = {
  'detail-type': 'Object Created',
  detail: { bucket: { name: 'photos' }, object: { key: OBJECT, size: 5, 'version-id': 'v1' } },
}

type Asked = {
  readonly line: string
  readonly headers: IncomingHttpHeaders
  readonly body: unknown
}

describe('A report of an upload', () => {
  let server: Server
  let url: string
  let asked: Asked[]
  let answer: number | null
  let code: string

  before(async () => {
    server = createServer(async (req, res) => {
      asked.push({
        line: `${req.method} ${req.url}`,
        headers: req.headers,
        body: await json(req),
      })
      // Null: never.
      if (answer !== null) {
        res.writeHead(answer, answer === 302 ? { location: '/elsewhere' } : {})
        res.end(answer === 204 ? undefined : JSON.stringify({ code }))
      }
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    url = `http://127.0.0.1:${port}/internal/photo-uploads`
  })
  beforeEach(() => {
    asked = []
  })
  after(() => {
    server.closeAllConnections()
    server.close()
  })

  const reporting = (status: number | null, patienceMs = 5_000, says = 'some_code') => {
    answer = status
    code = says
    return reportUpload(url, KEY, created, patienceMs)
  }
  const failure = (status: number | null, patienceMs?: number): Promise<string> =>
    reporting(status, patienceMs).then(
      (done) => `no error but ${done}`,
      ({ message }: Error) => message,
    )

  it('names the key and the version, and shows the internal API key', async () => {
    expect(await reporting(204)).to.equal(true)
    const [one, ...others] = asked
    expect(others).to.deep.equal([])
    expect(one?.line).to.equal('POST /internal/photo-uploads')
    expect(one?.body).to.deep.equal({ key: OBJECT, version: 'v1' })
    expect(one?.headers).to.include({
      'x-internal-api-key': KEY,
      'content-type': 'application/json',
    })
  })

  for (const status of [200, 204, 403, 404, 409, 410, 422]) {
    it(`is done with ${status}, which another try would not change`, async () => {
      expect(await reporting(status)).to.equal(true)
    })
  }

  it('says when its key is not known', async () => {
    expect(await reporting(403, 5_000, 'internal_key_required')).to.equal(false)
  })

  it('fails with a conflict of writes, which is over soon', async () => {
    const error = await reporting(409, 5_000, 'write_conflict').catch((thrown: Error) => thrown)
    expect(error).to.have.property(
      'message',
      `POST ${url} answered 409 write_conflict for ${OBJECT}`,
    )
  })

  for (const status of [302, 400, 401, 429, 500, 501, 503]) {
    it(`fails with ${status}, so that Lambda tries again, in a line without the key`, async () => {
      const message = await failure(status)
      expect(message).to.equal(`POST ${url} answered ${status} some_code for ${OBJECT}`)
      expect(asked).to.have.length(1)
    })
  }

  it('fails when there is no answer in time', async () => {
    expect(await failure(null, 100)).to.equal(`POST ${url}: no answer within 100 ms`)
  })

  it('fails when nobody listens', async () => {
    const [port = 0] = await freePorts(1)
    const nowhere = `http://127.0.0.1:${port}/internal/photo-uploads`
    const error = await reportUpload(nowhere, KEY, created).catch((thrown: Error) => thrown)
    expect(error).to.have.property('message', `POST ${nowhere}: ECONNREFUSED`)
  })
})
