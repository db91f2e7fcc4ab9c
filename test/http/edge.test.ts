import { expect } from 'chai'
import fc from 'fast-check'
import { AppError } from '../../src/app/errors.ts'
import { isOpen, refusal } from '../../src/http/edge.ts'
import { PATH_RULES, route } from '../../src/http/routing.ts'
import { deprecation } from '../../src/http/versions.ts'
import { ENDPOINTS } from '../support/endpoints.ts'

const OPEN = [
  '/health',
  '/auth/register',
  '/auth/login',
  '/auth/password/strength',
  '/auth/register/confirm',
  '/auth/register/code',
  '/auth/login/second-factor',
  '/auth/password/code',
  '/auth/password/by-code',
  '/auth/providers',
  '/auth/providers/:name/start',
  '/auth/providers/:name/callback',
  '/auth/providers/acme/start',
  '/auth/providers/acme-2/callback',
  ...['/auth', '/tasks'].flatMap((base) => [
    `${base}/health`,
    `${base}/openapi.json`,
    `${base}/docs`,
    `${base}/docs/start.js`,
    `${base}/docs/swagger-ui.css`,
    `${base}/docs/swagger-ui-bundle.js`,
    `${base}/docs/favicon-32x32.png`,
  ]),
]
const EITHER = new Set([...OPEN, ...OPEN.map((path) => `/v1${path}`)])
/** In the list, `:name` being the name of a provider. */
const isListed = (path: string): boolean =>
  EITHER.has(path) ||
  EITHER.has(path.replace(/(?<=\/auth\/providers\/)[a-z][a-z0-9-]{0,30}(?=\/)/, ':name'))

const ask = (path: string, authorization?: string, method = 'GET') =>
  refusal({ method, path, authorization }, (token) => {
    if (token !== 'good') throw new AppError('token_invalid')
  })

/** Paths that are almost one of the list: other letters, other spellings, more or less of them. */
const nearly = fc
  .record({
    path: fc.constantFrom(...EITHER, '/v1/tasks', '/tasks/17', '/auth/me', '/v1/v1/health'),
    at: fc.nat(),
    put: fc.constantFrom('', '/', '//', '.', '/..', '/../', '%2f', '%00', ';', '?', '#', 'x', ' '),
    drop: fc.nat(2),
    change: fc.constantFrom<(text: string) => string>(
      (text) => text,
      (text) => text.toUpperCase(),
      (text) => text.replace(/[a-z]/, (letter) => `%${letter.charCodeAt(0).toString(16)}`),
      (text) => `/v1${text}`,
      (text) => `${text}/../../tasks`,
      (text) => `/tasks/..${text}`,
      (text) => `${text}\n`,
    ),
  })
  .map(({ path, at, put, drop, change }) => {
    const place = at % (path.length + 1)
    return change(path.slice(0, place) + put + path.slice(place + drop))
  })

describe('The edge', () => {
  it('lets a path through without a token exactly if it is in the list, to the letter', () => {
    fc.assert(
      fc.property(fc.oneof(nearly, fc.webPath(), fc.string()), (path) => {
        expect(ask(path) === null).to.equal(isListed(path))
      }),
      { numRuns: 2_000 },
    )
    for (const path of EITHER) expect(ask(path), path).to.equal(null)
  })

  it('lets no path through with a bad token but those, and every path with a good one', () => {
    fc.assert(
      fc.property(fc.oneof(nearly, fc.webPath()), (path) => {
        expect(ask(path, 'Bearer bad') === null).to.equal(isListed(path))
        expect(ask(path, 'Bearer good')).to.equal(null)
      }),
      { numRuns: 500 },
    )
  })

  it('asks for a token exactly where the services do', () => {
    for (const { path, access } of ENDPOINTS) {
      const target = route(path)
      if (target === 'refused' || target === 'not-found') continue
      expect(isOpen(path), path).to.equal(access !== 'token')
      expect(isOpen(`/v1${path}`), path).to.equal(access !== 'token')
    }
  })

  it('lets OPTIONS through: a browser asks before it sends a token', () => {
    expect(ask('/v1/tasks', undefined, 'OPTIONS')).to.equal(null)
    expect(ask('/v1/tasks', undefined, 'options')).to.equal('token_missing')
  })

  it('does not take a fault of its own for a bad token', () => {
    const broken = () => {
      throw new TypeError('broken')
    }
    const asked = { method: 'GET', path: '/v1/tasks', authorization: 'Bearer x' }
    expect(() => refusal(asked, broken)).to.throw(TypeError)
  })

  it('routes a path under the base path as without it, and nothing else under it', () => {
    fc.assert(
      fc.property(fc.oneof(nearly, fc.webPath()), (path) => {
        const isVersioned = path.startsWith('/v1/')
        expect(route(`/v1${path}`)).to.equal(isVersioned ? 'not-found' : route(path))
      }),
      { numRuns: 500 },
    )
    for (const path of [
      '/v1',
      '/v1/',
      '/v1x',
      '/v1x/tasks',
      '/v2/tasks',
      '/V1/tasks',
      '/v1tasks',
    ]) {
      expect(route(path), path).to.equal('not-found')
    }
  })

  it('has rules that the load balancer takes: five patterns at most', () => {
    for (const { patterns } of PATH_RULES) expect(patterns.length).to.be.within(1, 5)
  })
})

describe('The deprecation of paths without the base path', () => {
  it('is said of what clients call', () => {
    const api = ENDPOINTS.filter(({ access, path }) => access === 'token' || path === '/auth/login')
    for (const { path } of api) {
      expect(deprecation(path), path).to.deep.equal({
        since: '@1795824000',
        link: `</v1${path}>; rel="successor-version"`,
      })
      expect(deprecation(`/v1${path}`)).to.equal(null)
    }
    expect(deprecation('/tasks/a>b')?.link).to.equal('</v1/tasks/a%3Eb>; rel="successor-version"')
  })

  it('is not said of health, documents, internal calls and what is not ours', () => {
    for (const path of [
      ...OPEN.filter((path) => !/register|login|strength|providers|password/.test(path)),
      ...['/ready', '/auth/validate', '/auth/validate/batch', '/worker/health', '/witness/health'],
      ...['/', '/nothing', '/tasksx', '/v1/tasks', '/v2/tasks', '/objects'],
    ]) {
      expect(deprecation(path), path).to.equal(null)
    }
  })
})
