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
        res.end()
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

  const reporting = (status: number | null, patienceMs = 5_000) => {
    answer = status
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

  for (const status of [200, 204, 404, 409, 410]) {
    it(`is done with ${status}`, async () => {
      expect(await reporting(status)).to.equal(true)
    })
  }

  it('says when its key is not known', async () => {
    expect(await reporting(401)).to.equal(false)
  })

  for (const status of [302, 400, 429, 500, 503]) {
    it(`fails with ${status}, so that Lambda tries again, in a line without the key`, async () => {
      const message = await failure(status)
      expect(message).to.equal(`POST ${url} answered ${status} for ${OBJECT}`)
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
