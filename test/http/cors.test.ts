import { expect } from 'chai'
import { AppError } from '../../src/app/errors.ts'
import { type Gateway, startGateway } from '../../src/http/gateway.ts'
import { freePorts } from '../../src/infra/local/free-ports.ts'
import { ENDPOINTS } from '../support/endpoints.ts'
import { type System, startSystem } from '../support/system.ts'

const OURS = 'https://app.example.com'
const LOCAL = 'http://localhost:5173'

const words = (header: string | null) => (header ?? '').toLowerCase().split(', ')
const corsOf = ({ headers }: Response) =>
  [...headers.keys()].filter((name) => name.startsWith('access-control-'))
const preflight = (origin: string) => ({
  method: 'OPTIONS',
  headers: {
    origin,
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'authorization,content-type',
  },
})

describe('Pages of other origins', () => {
  let system: System
  let gateway: Gateway
  let url: string

  before(async () => {
    // The second request of a user within a second is one too many.
    const CORS_ORIGINS = `${OURS}, ${LOCAL}`
    system = await startSystem({ CORS_ORIGINS, RATE_LIMIT_PER_SECOND: '1' })
    const at = (url: string) => ({ host: '127.0.0.1', port: Number(new URL(url).port) })
    const upstreams = { 'auth-service': at(system.urls.auth), 'task-service': at(system.urls.task) }
    const [port = 0] = await freePorts(1)
    gateway = await startGateway({
      ...{ host: '127.0.0.1', port, upstreams, origins: [OURS, LOCAL] },
      verify: () => {
        throw new AppError('token_invalid')
      },
      objects: (_req, res) => res.writeHead(403).end(),
    })
    url = `http://127.0.0.1:${port}`
  })
  after(async () => {
    gateway.destroy()
    await gateway.close()
    await system.stop()
  })

  /** Both services and the gateway. */
  const everywhere = () => [
    `${system.urls.task}/v1/tasks`,
    `${system.urls.auth}/v1/auth/me`,
    `${url}/v1/tasks`,
    `${url}/v1/auth/me`,
  ]

  it('may ask first, as often as they like, without a token', async () => {
    for (const place of [...everywhere(), `${url}/v1/nothing`, `${url}/objects`]) {
      for (const origin of [OURS, LOCAL, OURS]) {
        const answer = await fetch(place, preflight(origin))
        expect(answer.status, place).to.equal(204)
        const { headers } = answer
        expect(headers.get('access-control-allow-origin')).to.equal(origin)
        expect(headers.get('vary')).to.equal('Origin')
        expect(headers.get('access-control-max-age')).to.equal('3600')
        expect(headers.get('access-control-allow-credentials')).to.equal(null)
      }
    }
  })

  it('may send every method and header that a call takes', async () => {
    const { headers } = await fetch(everywhere()[0] ?? '', preflight(OURS))
    const methods = words(headers.get('access-control-allow-methods'))
    const names = words(headers.get('access-control-allow-headers'))
    expect(names).to.include.members(['authorization', 'content-type', 'x-request-id', 'accept'])
    for (const { method, headers: taken = {} } of ENDPOINTS) {
      expect(methods).to.include(method)
      expect(names).to.include.members(Object.keys(taken).map((name) => name.toLowerCase()))
    }
  })

  it('may read every answer, refusals too, with every header that answers have', async () => {
    const refusals = [
      [everywhere()[0], 401],
      [everywhere()[1], 401],
      [everywhere()[2], 401],
      [`${url}/v1/auth/validate`, 403],
      [`${url}/v1/nothing`, 404],
      [`${url}/objects/a`, 403],
      [`${system.urls.task}/v1/health`, 200],
      [`${url}/v1/health`, 200],
    ] as const
    for (const [place = '', status] of refusals) {
      const answer = await fetch(place, { headers: { origin: OURS } })
      expect(answer.status, place).to.equal(status)
      expect(answer.headers.get('access-control-allow-origin'), place).to.equal(OURS)
      expect(words(answer.headers.get('vary')), place).to.include('origin')
      const readable = words(answer.headers.get('access-control-expose-headers'))
      const sent = ENDPOINTS.flatMap(({ answers }) =>
        Object.values(answers).flatMap(({ headers = {} }) => Object.keys(headers)),
      )
      expect(readable).to.include.members(sent.map((name) => name.toLowerCase()))
      expect(readable).to.include.members([
        ...['etag', 'location', 'link', 'ratelimit', 'ratelimit-policy', 'retry-after'],
        ...['x-request-id', 'deprecation', 'idempotent-replayed'],
      ])
    }
  })

  it('may not, if their origin is not one of ours to the letter, and all else is as before', async () => {
    for (const origin of [
      'https://evil.example',
      'https://app.example.com.evil.example',
      'https://app.example.com:8443',
      'http://app.example.com',
      'HTTPS://APP.EXAMPLE.COM',
      'null',
      '*',
    ]) {
      for (const place of everywhere()) {
        const asked = await fetch(place, preflight(origin))
        expect(corsOf(asked), place).to.deep.equal([])
        expect(asked.headers.get('allow')).to.include('GET')
        const answer = await fetch(place, { headers: { origin } })
        expect(answer.status).to.be.oneOf([401, 429])
        expect(corsOf(answer), place).to.deep.equal([])
        expect(words(answer.headers.get('vary'))).to.include('origin')
      }
    }
  })

  it('get the cookie that binds a sign-in with another provider, and no other', async () => {
    for (const base of [system.urls.auth, url]) {
      for (const path of [
        'providers/acme/start',
        'providers/acme/callback',
        'me/identities/acme/start',
      ]) {
        const at = `${base}/v1/auth/${path}`
        for (const init of [preflight(OURS), { method: 'POST', headers: { origin: OURS } }]) {
          const { headers } = await fetch(at, init)
          expect(headers.get('access-control-allow-credentials'), at).to.equal('true')
        }
        expect(corsOf(await fetch(at, preflight('https://evil.example')))).to.deep.equal([])
      }
      const other = await fetch(
        `${base}/v1/auth/login?x=/auth/providers/acme/start`,
        preflight(OURS),
      )
      expect(other.headers.get('access-control-allow-credentials')).to.equal(null)
    }
  })

  it('may not, if no origins are set, and answers do not mention them', async () => {
    const other = await startSystem()
    for (const init of [preflight(OURS), { headers: { origin: OURS } }]) {
      const answer = await fetch(`${other.urls.task}/v1/health`, init)
      expect(answer.status).to.be.oneOf([200, 204])
      expect(corsOf(answer)).to.deep.equal([])
      expect(words(answer.headers.get('vary'))).to.not.include('origin')
    }
    await other.stop()
  })
})
