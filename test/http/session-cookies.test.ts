import { expect } from 'chai'
import { type Answer, type System, startSystem } from '../support/system.ts'

const ATTRIBUTES = 'Path=/; Secure; HttpOnly; SameSite=Lax'
const APP = 'https://app.example.com'

/** What a browser keeps of an answer, and sends from then on. */
const cookiesOf = ({ headers }: Answer): string =>
  headers
    .getSetCookie()
    .map((cookie) => cookie.split(';')[0])
    .join('; ')

describe('A browser that holds its session in cookies', () => {
  let system: System
  let ann: Awaited<ReturnType<System['newUser']>>
  const own = { 'sec-fetch-site': 'same-origin' }

  before(async () => {
    system = await startSystem({ CORS_ORIGINS: APP })
    ann = await system.newUser()
  })
  after(() => system.stop())

  const login = (headers: Record<string, string> = own): Promise<Answer> => {
    const { username, password } = ann
    return system.call('POST', '/auth/login', {
      headers,
      body: { username, password, cookie: true },
    })
  }
  const newTask = (cookie: string, headers: Record<string, string>) =>
    system.call('POST', '/tasks', { headers: { ...headers, cookie }, body: { title: 'By cookie' } })

  it('gets cookies that no script reads and no other host can set, and no token besides', async () => {
    const { body, headers } = await login()
    expect(body).to.have.all.keys('expires_in', 'refresh_expires_in', 'user')
    const [access = '', refresh = '', ...others] = headers.getSetCookie()
    expect(others).to.have.length(0)
    expect(access).to.match(/^__Host-tasktrail=[\w-]+\.[\w-]+\.[\w-]+; Max-Age=3600; /)
    expect(refresh).to.match(/^__Host-tasktrail-refresh=[\w-]{43}; Max-Age=2592000; /)
    for (const cookie of [access, refresh]) expect(cookie.endsWith(ATTRIBUTES)).to.equal(true)
  })

  it('is let in by them, to both services and to the stream', async () => {
    const cookie = cookiesOf(await login())
    const headers = { ...own, cookie }
    expect((await system.call('GET', '/auth/me', { headers })).status).to.equal(200)
    expect((await newTask(cookie, own)).status).to.equal(201)
    const leaving = new AbortController()
    const stream = await fetch(`${system.urls.task}/tasks/stream`, {
      headers,
      signal: leaving.signal,
    })
    expect(stream.headers.get('content-type')).to.match(/^text\/event-stream/)
    leaving.abort()
  })

  it('refreshes by the cookie, and gets the next ones', async () => {
    const before = cookiesOf(await login())
    const { status, body, ...answer } = await system.call('POST', '/auth/refresh', {
      headers: { ...own, cookie: before },
      body: {},
    })
    expect(status).to.equal(200)
    expect(body).to.have.all.keys('expires_in', 'refresh_expires_in', 'user')
    const after = cookiesOf({ status, body, ...answer })
    expect(after).to.not.equal(before)
    expect((await newTask(after, own)).status).to.equal(201)
  })

  it('steps up by them: the new access token is in the cookie', async () => {
    const cookie = cookiesOf(await login())
    const body = { password: ann.password }
    const answer = await system.call('POST', '/auth/step-up', { headers: { ...own, cookie }, body })
    expect(answer.body).to.have.all.keys('expires_in')
    expect(cookiesOf(answer)).to.match(/^__Host-tasktrail=[\w.-]+$/)
  })

  it('loses them at a logout', async () => {
    const cookie = cookiesOf(await login())
    const { status, headers } = await system.call('POST', '/auth/logout', {
      headers: { ...own, cookie },
    })
    expect(status).to.equal(204)
    for (const each of headers.getSetCookie()) expect(each).to.match(/^__Host-[\w-]+=; Max-Age=0; /)
    expect((await system.call('GET', '/auth/me', { headers: { cookie } })).status).to.equal(401)
  })

  const foreign: Readonly<Record<string, Record<string, string>>> = {
    'another site': { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' },
    'a neighbour of the same site': { 'sec-fetch-site': 'same-site', origin: 'https://x.example' },
    'a link or an address typed in': { 'sec-fetch-site': 'none' },
    'an old browser on another site': { origin: 'https://evil.example' },
    'a page without an origin': { origin: 'null' },
    'nobody knows where': {},
    'another site that names us in its path': { origin: 'https://evil.example/127.0.0.1' },
  }
  for (const [where, headers] of Object.entries(foreign)) {
    it(`changes nothing when asked from ${where}`, async () => {
      const cookie = cookiesOf(await login())
      const calls = [
        newTask(cookie, headers),
        system.call('POST', '/auth/logout', { headers: { ...headers, cookie } }),
        system.call('POST', '/auth/refresh', { headers: { ...headers, cookie }, body: {} }),
        system.call('DELETE', '/auth/me', {
          headers: { ...headers, cookie },
          body: { password: ann.password },
        }),
        login(headers),
      ]
      for (const { status, body, headers } of await Promise.all(calls)) {
        expect([status, body.code]).to.deep.equal([403, 'cross_site_request'])
        expect(headers.getSetCookie()).to.have.length(0)
      }
      expect((await newTask(cookie, own)).status).to.equal(201)
    })
  }

  it('may call from a page of an origin that CORS_ORIGINS names, and from an old browser on our own', async () => {
    const cookie = cookiesOf(await login({ 'sec-fetch-site': 'same-site', origin: APP }))
    expect((await newTask(cookie, { 'sec-fetch-site': 'same-site', origin: APP })).status).to.equal(
      201,
    )
    expect((await newTask(cookie, { origin: system.urls.task })).status).to.equal(201)
  })

  it('reads from anywhere that the browser sends cookies to: pages of others cannot see the answer', async () => {
    const cookie = cookiesOf(await login())
    const headers = { cookie, 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }
    const answer = await system.call('GET', '/tasks', { headers })
    expect(answer.status).to.equal(200)
    expect(answer.headers.get('access-control-allow-origin')).to.equal(null)
  })

  it('is who its Authorization header says, if it sends one', async () => {
    const cookie = cookiesOf(await login())
    const bob = await system.newUser()
    const me = await system.call('GET', '/auth/me', { token: bob.token, headers: { cookie } })
    expect(me.body.user.id).to.equal(bob.id)
    const headers = { cookie, authorization: 'Bearer nonsense' }
    expect((await system.call('GET', '/auth/me', { headers })).status).to.equal(401)
  })

  it('is nobody with a cookie that comes twice, or is none of ours', async () => {
    const cookie = cookiesOf(await login())
    const [access] = cookie.split('; ')
    for (const sent of [`${access}; ${access}`, `x${access}`, '__Host-tasktrail=', 'tasktrail=x']) {
      const { status } = await system.call('GET', '/auth/me', { headers: { cookie: sent } })
      expect(status, sent.slice(0, 30)).to.equal(401)
    }
  })
})
