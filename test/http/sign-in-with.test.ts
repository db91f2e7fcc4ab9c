import { createHmac, generateKeyPairSync, randomUUID } from 'node:crypto'
import { expect } from 'chai'
import pg from 'pg'
import { hashOfLink, newLinkToken } from '../../src/infra/credentials/link-tokens.ts'
import { freePorts } from '../../src/infra/local/free-ports.ts'
import {
  encoded,
  type OidcPeer,
  type PeerAnswer,
  signInAt,
  startOidcPeer,
} from '../support/oidc-peer.ts'
import { type Answer, type System, startSystem } from '../support/system.ts'

const PUBLIC_URL = 'https://tasks.example.com'
const PAGE = 'https://app.example.com/signed-in'

const claimsOf = (token: string) =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())
const amrOf = (token: string) => claimsOf(token).amr

describe('Signing in with another identity provider', () => {
  let peer: OidcPeer
  let system: System
  let sql: pg.Client
  let now = new Date()

  before(async () => {
    const callback = `${PUBLIC_URL}/v1/auth/providers/acme/callback`
    peer = await startOidcPeer([callback, PAGE])
    const { issuer, client } = peer
    const { client_id } = client
    const [nobody] = await freePorts(1)
    const others = [
      { name: 'away', issuer: `http://127.0.0.1:${nobody}`, client_id },
      { name: 'other', issuer, client_id },
    ]
    const secret = client.client_secret
    system = await startSystem(
      {
        OIDC_PROVIDERS: JSON.stringify([{ name: 'acme', issuer, client_id }, ...others]),
        OIDC_SECRET_ACME: secret,
        OIDC_SECRET_AWAY: secret,
        OIDC_SECRET_OTHER: secret,
        PUBLIC_URL,
        CORS_ORIGINS: 'https://app.example.com',
      },
      () => now,
    )
    sql = new pg.Client(system.database.url)
    await sql.connect()
  })
  beforeEach(() => {
    now = new Date()
    peer.tamper(null)
  })
  after(async () => {
    await sql.end()
    await system.stop()
    await peer.stop()
  })

  const person = (facts: object = {}) => {
    const sub = randomUUID()
    const email = `p${sub.slice(0, 18)}@example.com`
    peer.people.set(sub, { email, email_verified: true, ...facts })
    return { sub, email }
  }
  const cookieOf = ({ headers }: Answer) =>
    /^[^;]+/.exec(headers.get('set-cookie') ?? '')?.[0] ?? ''
  const start = (name = 'acme', body: object = {}, headers = {}) =>
    system.call('POST', `/auth/providers/${name}/start`, { body, headers })

  type Way = { sub: string; url: string; cookie: string }
  /** What the browser takes back from the provider. */
  const goTo = async ({ sub, url, cookie }: Way) => {
    const back = await signInAt(url, sub)
    return { back, answer: Object.fromEntries(back.searchParams), cookie }
  }
  const begin = async (sub: string, name = 'acme', body = {}) => {
    const started = await start(name, body)
    return goTo({ sub, url: started.body.url, cookie: cookieOf(started) })
  }
  const finish = (answer: object, cookie: string, name = 'acme') =>
    system.call('POST', `/auth/providers/${name}/callback`, { body: answer, headers: { cookie } })
  const signIn = async (sub: string) => {
    const { answer, cookie } = await begin(sub)
    return finish(answer, cookie)
  }
  const eventsOf = async (id: number) => {
    const text = 'select type, details from security_events where user_id = $1 order by id'
    return (await sql.query(text, [id])).rows
  }

  it('makes an account of somebody new, and a session of it', async () => {
    const { sub, email } = person()
    const { status, body } = await signIn(sub)
    expect(status, JSON.stringify(body)).to.equal(200)
    expect(body.user).to.include({ email, role: 'user' })
    expect(body.user.username).to.equal(email.split('@')[0])
    const me = await system.call('GET', '/auth/me', { token: body.token })
    expect(me.body.user.email).to.equal(email)
    const details = { provider: 'acme' }
    expect(await eventsOf(body.user.id)).to.have.deep.members([
      { type: 'registered', details },
      { type: 'identity_linked', details },
      { type: 'login_succeeded', details: { ...details, amr: ['fed'] } },
    ])
  })

  it('says in the token how they proved it, and whether by more than one factor', async () => {
    const multiFactor = 'http://schemas.openid.net/pape/policies/2007/06/multi-factor'
    for (const [facts, amr] of [
      [{}, ['fed']],
      [{ amr: ['pwd'] }, ['fed']],
      [{ amr: ['pwd', 'otp', 'mfa'] }, ['fed', 'mfa']],
      [{ acr: multiFactor }, ['fed', 'mfa']],
    ] as const) {
      const { body } = await signIn(person(facts).sub)
      expect(amrOf(body.token), JSON.stringify(facts)).to.deep.equal(amr)
      expect(claimsOf(body.token).auth_time).to.equal(Math.floor(now.getTime() / 1000))
      expect(body.refresh_token).to.be.a('string')
    }
  })

  it('gives a page its tokens in cookies, if it asked for that', async () => {
    const { sub } = person()
    const origin = 'https://app.example.com'
    const body = { cookie: true }
    expect((await start('acme', body)).body.code).to.equal('cross_site_request')
    const started = await start('acme', body, { origin })
    const way = { sub, url: started.body.url, cookie: cookieOf(started) }
    const { answer, cookie } = await goTo(way)
    const done = await finish(answer, cookie)
    expect(done.status).to.equal(200)
    expect(done.body).to.not.have.any.keys('token', 'refresh_token')
    const names = done.headers.getSetCookie().map((line) => line.split('=')[0])
    expect(names).to.have.members(['__Host-tasktrail', '__Host-tasktrail-refresh'])
  })

  it('lets the same person in again, to the same account, with the name that they have there', async () => {
    const { sub, email } = person()
    const first = await signIn(sub)
    await sql.query('update users set username = $1 where id = $2', [
      `x${email.slice(0, 10)}`,
      first.body.user.id,
    ])
    peer.people.set(sub, { email: 'another@example.com', email_verified: false })
    const again = await signIn(sub)
    expect(again.status).to.equal(200)
    expect(again.body.user).to.deep.include({ id: first.body.user.id, email })
    const types = (await eventsOf(first.body.user.id)).map(({ type }) => type)
    expect(types.filter((type) => type === 'login_succeeded')).to.have.length(2)
    expect(types.filter((type) => type === 'registered')).to.have.length(1)
  })

  it('names the providers that there are', async () => {
    const { body } = await system.call('GET', '/auth/providers')
    expect(body).to.deep.equal({ providers: ['acme', 'away', 'other'].map((name) => ({ name })) })
    for (const name of ['unknown', 'constructor']) {
      const { status, body } = await start(name)
      expect([status, body.code]).to.deep.equal([404, 'provider_not_found'])
    }
  })

  it('asks the provider for what binds its answer to this sign-in, and to this browser', async () => {
    const started = await start()
    const asked = Object.fromEntries(new URL(started.body.url).searchParams)
    expect(asked).to.include({
      client_id: 'tasktrail',
      response_type: 'code',
      scope: 'openid email',
      redirect_uri: `${PUBLIC_URL}/v1/auth/providers/acme/callback`,
      code_challenge_method: 'S256',
    })
    for (const secret of ['state', 'nonce', 'code_challenge']) {
      expect(asked[secret]).to.match(/^[\w-]{43}$/)
    }
    expect(asked).not.to.have.property('prompt')
    expect(started.headers.get('set-cookie')).to.match(
      /^__Host-tasktrail-sign-in=[\w-]{43}; Path=\/; Secure; HttpOnly; SameSite=Lax; Max-Age=600$/,
    )
    const kept = await sql.query('select * from provider_sign_ins')
    const stored = JSON.stringify(kept.rows)
    expect(stored).not.to.include(asked.state).and.not.to.include(cookieOf(started).split('=')[1])
    const again = await start('acme', { again: true })
    expect(new URL(again.body.url).searchParams.get('prompt')).to.equal('login')
  })

  it("takes the provider's own redirect, with whatever else that brings", async () => {
    const { sub, email } = person()
    const { back, cookie } = await begin(sub)
    expect(back.href).to.match(
      /^https:\/\/tasks\.example\.com\/v1\/auth\/providers\/acme\/callback\?/,
    )
    back.searchParams.set('session_state', 'of the provider')
    const path = back.pathname + back.search
    const { status, body } = await system.call('GET', path, { headers: { cookie } })
    expect(status).to.equal(200)
    expect(body.user.email).to.equal(email)
  })

  it('hands the answer to a page of ours, and to no other', async () => {
    const { sub } = person()
    const { back, answer, cookie } = await begin(sub, 'acme', { redirect: PAGE })
    expect(back.origin + back.pathname).to.equal(PAGE)
    expect((await finish(answer, cookie)).status).to.equal(200)
    for (const redirect of [
      'https://evil.example/signed-in',
      'https://app.example.com.evil.example/',
      'https://app.example.com/signed-in?next=x',
      'https://app.example.com/#x',
      'javascript:alert(1)',
      'app.example.com',
    ]) {
      const { status, body } = await start('acme', { redirect })
      expect([status, body.code], redirect).to.deep.equal([400, 'validation_failed'])
    }
  })

  it('lets two sign-ins of one browser be under way at once', async () => {
    const [one, two] = [person(), person()]
    const first = await start()
    const cookie = cookieOf(first)
    const second = await start('acme', {}, { cookie })
    expect(cookieOf(second)).to.equal(cookie)
    for (const [{ sub, email }, { body }] of [
      [two, second],
      [one, first],
    ] as const) {
      const { answer } = await goTo({ sub, url: body.url, cookie })
      expect((await finish(answer, cookie)).body.user.email).to.equal(email)
    }
  })

  describe('is refused', () => {
    const expectUnknown = ({ status, body }: Answer) =>
      expect([status, body.code]).to.deep.equal([400, 'sign_in_unknown'])
    const expectRefused = ({ status, body }: Answer) =>
      expect([status, body.code], JSON.stringify(body)).to.deep.equal([401, 'provider_refused'])
    const accounts = async () => (await sql.query('select count(*)::int from users')).rows[0].count
    let before = 0
    beforeEach(async () => {
      before = await accounts()
    })
    afterEach(async () => {
      expect(await accounts()).to.equal(before)
    })

    it('with a state that nobody began', async () => {
      const { answer, cookie } = await begin(person().sub)
      expectUnknown(await finish({ ...answer, state: 'a'.repeat(43) }, cookie))
    })

    it('with a state that no database can hold', async () => {
      const { answer, cookie } = await begin(person().sub)
      expect((await finish({ ...answer, state: 'a\0b' }, cookie)).status).to.equal(400)
    })

    it('with a state that was used, though the code was not', async () => {
      const { answer, cookie } = await begin(person().sub)
      const { code, ...rest } = answer
      expectRefused(await finish({ ...rest, error: 'access_denied' }, cookie))
      expectUnknown(await finish(answer, cookie))
    })

    it('ten minutes after it was begun', async () => {
      const { answer, cookie } = await begin(person().sub)
      now = new Date(now.getTime() + 600_000)
      expectUnknown(await finish(answer, cookie))
    })

    it('in a browser that did not begin it, with a cookie of its own or none', async () => {
      for (const cookie of [cookieOf(await start()), '', '__Host-tasktrail-sign-in=x']) {
        const { answer, cookie: own } = await begin(person().sub)
        expectUnknown(await finish(answer, cookie))
        // Nor can it be completed after that: the state is used.
        expectUnknown(await finish(answer, own))
      }
    })

    it("with one provider's answer at another's address", async () => {
      const { answer, cookie } = await begin(person().sub)
      expectUnknown(await finish(answer, cookie, 'other'))
    })

    it('if the provider let nobody in', async () => {
      const { answer, cookie } = await begin('')
      expect(answer).to.include({ error: 'access_denied' })
      expectRefused(await finish(answer, cookie))
    })

    it('with an answer of another issuer, or of none', async () => {
      for (const iss of ['https://evil.example', undefined]) {
        const { answer, cookie } = await begin(person().sub)
        expectRefused(await finish({ ...answer, iss }, cookie))
      }
    })

    it('with a code that somebody else got, or that was used', async () => {
      const theirs = await begin(person().sub)
      const { answer, cookie } = await begin(person().sub)
      expectRefused(await finish({ ...answer, code: theirs.answer.code }, cookie))
      expectRefused(
        await finish({ ...answer, code: 'made-up', state: theirs.answer.state }, theirs.cookie),
      )
    })

    it('with an ID token for another sign-in', async () => {
      const started = await start()
      const url = new URL(started.body.url)
      url.searchParams.set('nonce', 'another')
      const way = { sub: person().sub, url: url.href, cookie: cookieOf(started) }
      const { answer, cookie } = await goTo(way)
      expectRefused(await finish(answer, cookie))
    })

    type Claims = Record<string, unknown>
    const spoil = (change: (claims: Claims) => string) =>
      peer.tamper((path, said) => {
        if (path !== '/token') return said
        const tokens = JSON.parse(said.body)
        const claims = JSON.parse(
          Buffer.from(tokens.id_token.split('.')[1], 'base64url').toString(),
        )
        return { ...said, body: JSON.stringify({ ...tokens, id_token: change(claims) }) }
      })
    const mac = (header: object, claims: object, key: string) => {
      const input = `${encoded(header)}.${encoded(claims)}`
      return `${input}.${createHmac('sha256', key).update(input).digest('base64url')}`
    }
    for (const [what, change] of [
      ['of another issuer', (claims) => peer.sign({ ...claims, iss: 'https://evil.example' })],
      ['for another client', (claims) => peer.sign({ ...claims, aud: 'other' })],
      ['of no subject', ({ sub, ...claims }) => peer.sign(claims)],
      ['without a nonce', ({ nonce, ...claims }) => peer.sign(claims)],
      ['that nobody signed', (claims) => `${encoded({ alg: 'none' })}.${encoded(claims)}.`],
      ['signed with the secret', (c) => mac({ alg: 'HS256' }, c, peer.client.client_secret)],
      ['signed with the public key as a secret', (c) => mac({ alg: 'HS256' }, c, peer.publicPem())],
      [
        'signed with a key of its own',
        (c) => peer.sign(c, {}, generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey),
      ],
      ['that demands an extension', (c) => peer.sign(c, { crit: ['x'], x: 1 })],
      ['that is none', () => 'not.a.token'],
    ] as [string, (claims: Claims) => string][]) {
      it(`with an ID token ${what}`, async () => {
        const { answer, cookie } = await begin(person().sub)
        spoil(change)
        const { status, body } = await finish(answer, cookie)
        expect(status, JSON.stringify(body)).to.be.oneOf([401, 503])
        expect(body.code).to.be.oneOf(['provider_refused', 'provider_unavailable'])
      })
    }

    it('once a key was withdrawn, with what was signed with it', async () => {
      const { sub } = person()
      const known = peer.key()
      const { answer, cookie } = await begin(sub)
      peer.rotate()
      spoil((claims) => peer.sign(claims, {}, known))
      expectRefused(await finish(answer, cookie))
    })

    it('if the provider has no verified address of somebody new', async () => {
      for (const facts of [
        { email_verified: false },
        { email_verified: undefined },
        { email_verified: 'false' },
        { email: undefined },
        { email: 'no address' },
      ]) {
        const { sub } = person(facts)
        const { status, body } = await signIn(sub)
        expect([status, body.code], JSON.stringify(facts)).to.deep.equal([403, 'email_unverified'])
      }
    })

    it('and that is recorded, with the reason', async () => {
      const { sub } = person({ email_verified: false })
      await signIn(sub)
      const text =
        "select type, user_id, username, details from security_events where type = 'provider_sign_in_refused' order by id desc limit 1"
      expect((await sql.query(text)).rows).to.deep.equal([
        {
          type: 'provider_sign_in_refused',
          user_id: null,
          username: null,
          details: { provider: 'acme', reason: 'email_unverified' },
        },
      ])
    })
  })

  describe('with a clock that differs', () => {
    const statusAfter = async (ms: number) => {
      const { answer, cookie } = await begin(person().sub)
      now = new Date(Date.now() + ms)
      return (await finish(answer, cookie)).status
    }

    it('works within half a minute, either way', async () => {
      // Its ID tokens last for a minute.
      expect(await statusAfter(85_000)).to.equal(200)
      expect(await statusAfter(-25_000)).to.equal(200)
    })

    it('is refused beyond that', async () => {
      expect(await statusAfter(95_000)).to.equal(401)
      expect(await statusAfter(-35_000)).to.equal(401)
    })
  })

  it('goes on while the provider changes its keys', async () => {
    for (let turn = 0; turn < 2; turn++) {
      expect((await signIn(person().sub)).status).to.equal(200)
      const { answer, cookie } = await begin(person().sub)
      peer.rotate()
      expect((await finish(answer, cookie)).status).to.equal(200)
    }
  })

  it('asks for the address where the provider says it, and believes no other place', async () => {
    peer.claimsIn('userinfo')
    try {
      const { sub, email } = person()
      const { body } = await signIn(sub)
      expect(body.user.email).to.equal(email)
      expect(amrOf(body.token)).to.deep.equal(['fed'])
      const strong = await signIn(person({ amr: ['mfa'] }).sub)
      expect(amrOf(strong.body.token)).to.deep.equal(['fed', 'mfa'])
      expect((await signIn(person({ email_verified: false }).sub)).body.code).to.equal(
        'email_unverified',
      )
      // As Cognito writes it.
      expect((await signIn(person({ email_verified: 'true' }).sub)).status).to.equal(200)
      const { answer, cookie } = await begin(person().sub)
      peer.tamper((path, said) =>
        path === '/me'
          ? { ...said, body: said.body.replace(/"sub":"[^"]+"/, '"sub":"another"') }
          : said,
      )
      expect((await finish(answer, cookie)).body.code).to.equal('provider_refused')
    } finally {
      peer.claimsIn('id_token')
    }
  })

  describe('while the provider', () => {
    const expectAway = ({ status, headers, body }: Answer) => {
      expect([status, body.code], JSON.stringify(body)).to.deep.equal([503, 'provider_unavailable'])
      expect(Number(headers.get('retry-after'))).to.be.within(1, 60)
    }
    const on = (at: string, said: PeerAnswer | Promise<PeerAnswer>) =>
      peer.tamper((path, own) => (path === at ? said : own))

    it('is away, is said to be away, and nothing else suffers', async () => {
      expectAway(await start('away'))
      expect((await signIn(person().sub)).status).to.equal(200)
      expect(system.logged()).to.match(/provider_unavailable.*ECONNREFUSED/)
    })

    it('is slow, is waited for five seconds', async () => {
      const { answer, cookie } = await begin(person().sub)
      on('/token', new Promise(() => {}))
      const began = Date.now()
      expectAway(await finish(answer, cookie))
      expect(Date.now() - began).to.be.within(4_500, 8_000)
    })

    it('never stops, is no longer listened to', async () => {
      for (const at of ['/token', '/jwks', '/.well-known/openid-configuration']) {
        const other = await startSystem(system.env, () => now, system.database)
        const long = (path: string, said: PeerAnswer) =>
          path === at ? { ...said, body: said.body + ' '.repeat(300_000) } : said
        const { answer, cookie } = await begin(person().sub)
        peer.tamper(long)
        const body = answer
        const headers = { cookie }
        expectAway(await other.call('POST', '/auth/providers/acme/callback', { body, headers }))
        expect(other.logged()).to.include('larger than 262144 bytes')
        await other.stop()
        peer.tamper(null)
      }
    })

    for (const [what, answer] of [
      ['answers 500', { status: 500, body: '{}' }],
      ['answers with a page', { status: 200, body: '<html>', type: 'text/html' }],
      ['answers with half of an answer', { status: 200, body: '{"access_token": "x' }],
      ['sends us elsewhere', { status: 302, body: '' }],
      ['does not know us any more', { status: 401, body: '{"error": "invalid_client"}' }],
    ] as const) {
      for (const path of ['/token', '/jwks']) {
        if (path === '/jwks' && answer.status === 401) continue
        it(`${what} at ${path}, is said to be away`, async () => {
          const { answer: own, cookie } = await begin(person().sub)
          on(path, answer)
          expectAway(await finish(own, cookie))
        })
      }
    }
  })

  describe('to an account that is there already', () => {
    const confirmed = async () => {
      const user = await system.newUser()
      const email = `${user.username}@example.com`
      await sql.query('update users set email_confirmed_at = now() where id = $1', [user.id])
      return { ...user, email, sub: person({ email }).sub }
    }
    const startLink = (token: string, body: object = {}) =>
      system.call('POST', '/auth/me/identities/acme/start', { token, body })
    const link = async (token: string, sub: string) => {
      const started = await startLink(token)
      const way = { sub, url: started.body.url, cookie: cookieOf(started) }
      const { answer, cookie } = await goTo(way)
      return finish(answer, cookie)
    }
    const linked = async (token: string) =>
      (await system.call('GET', '/auth/me/identities', { token })).body.identities
    const unlink = (token: string, name = 'acme') =>
      system.call('DELETE', `/auth/me/identities/${name}`, { token })

    it('never links silently, whatever the letter case of the address', async () => {
      const ann = await confirmed()
      for (const email of [ann.email, ann.email.toUpperCase()]) {
        const { status, body } = await signIn(person({ email }).sub)
        expect([status, body.code]).to.deep.equal([409, 'identity_unlinked'])
      }
      expect(await linked(ann.token)).to.deep.equal([])
      const [event] = (await eventsOf(ann.id)).slice(-1)
      const details = { provider: 'acme', reason: 'identity_unlinked' }
      expect(event).to.deep.equal({ type: 'provider_sign_in_refused', details })
    })

    it('leaves one alone whose address nobody has confirmed, and makes another', async () => {
      const user = await system.newUser()
      const email = `${user.username}@example.com`
      const { status, body } = await signIn(person({ email }).sub)
      expect(status).to.equal(200)
      expect(body.user.id).not.to.equal(user.id)
      expect(body.user.username).to.match(new RegExp(`^${user.username}-[a-z0-9]{6}$`))
    })

    it('is linked by its user, who then signs in with either', async () => {
      const ann = await confirmed()
      expect((await link(ann.token, ann.sub)).status).to.equal(204)
      const [identity] = await linked(ann.token)
      expect(identity.provider).to.equal('acme')
      expect((await signIn(ann.sub)).body.user.id).to.equal(ann.id)
      const { username, password } = ann
      const login = await system.call('POST', '/auth/login', { body: { username, password } })
      expect(login.status).to.equal(200)
      // Once more is no harm, and no event.
      expect((await link(ann.token, ann.sub)).status).to.equal(204)
      const types = (await eventsOf(ann.id)).map(({ type }) => type)
      expect(types.filter((type) => type === 'identity_linked')).to.have.length(1)
    })

    it('is linked to no identity with another address, or an address that is not verified', async () => {
      const ann = await confirmed()
      const bob = await system.newUser()
      for (const [token, facts, code] of [
        [ann.token, {}, 'email_differs'],
        [ann.token, { email: ann.email, email_verified: false }, 'email_unverified'],
        // Nobody has confirmed that one here.
        [bob.token, { email: `${bob.username}@example.com` }, 'email_differs'],
      ] as const) {
        const { status, body } = await link(token, person(facts).sub)
        expect([status, body.code]).to.deep.equal([403, code])
      }
      expect(await linked(ann.token)).to.deep.equal([])
    })

    it('is linked to no identity that is linked to another, and to one of a provider', async () => {
      const ann = await confirmed()
      await link(ann.token, ann.sub)
      const bob = await confirmed()
      peer.people.set(ann.sub, { email: bob.email, email_verified: true })
      const answers = [await link(bob.token, ann.sub)]
      const another = person({ email: ann.email })
      answers.push(await link(ann.token, another.sub))
      for (const { status, body } of answers) {
        expect([status, body.code]).to.deep.equal([409, 'identity_taken'])
      }
      expect(await linked(bob.token)).to.deep.equal([])
    })

    it('is not linked once the session that began it has ended', async () => {
      const ann = await confirmed()
      const started = await startLink(ann.token)
      const way = { sub: ann.sub, url: started.body.url, cookie: cookieOf(started) }
      const { answer, cookie } = await goTo(way)
      await system.call('POST', '/auth/logout', { token: ann.token })
      const { status, body } = await finish(answer, cookie)
      expect([status, body.code]).to.deep.equal([401, 'session_ended'])
    })

    it('is changed only by who has just proven who they are', async () => {
      const ann = await confirmed()
      now = new Date(now.getTime() + 601_000)
      for (const { status, body } of [await startLink(ann.token), await unlink(ann.token)]) {
        expect([status, body.code]).to.deep.equal([403, 'step_up_required'])
      }
    })

    it('is unlinked by its user, but not from the last way in', async () => {
      const ann = await confirmed()
      await link(ann.token, ann.sub)
      expect((await unlink(ann.token)).status).to.equal(204)
      expect(await linked(ann.token)).to.deep.equal([])
      expect((await signIn(ann.sub)).body.code).to.equal('identity_unlinked')
      expect((await unlink(ann.token)).body.code).to.equal('identity_not_found')
      expect((await eventsOf(ann.id)).map(({ type }) => type)).to.include('identity_unlinked')

      const { body } = await signIn(person().sub)
      const last = await unlink(body.token)
      expect([last.status, last.body.code]).to.deep.equal([409, 'last_sign_in'])
    })

    it('keeps one way in, if two are taken from it at the same moment', async () => {
      const { body } = await signIn(person().sub)
      const text =
        "insert into identities (issuer, subject, user_id, provider, linked_at) values ('x', $1, $2, 'other', now())"
      await sql.query(text, [randomUUID(), body.user.id])
      const both = await Promise.all(['acme', 'other'].map((name) => unlink(body.token, name)))
      expect(both.map(({ status }) => status).toSorted()).to.deep.equal([204, 409])
    })
  })

  describe('to an account without a password', () => {
    const login = (username: string) =>
      system.call('POST', '/auth/login', { body: { username, password: 'a good long password' } })

    it('is the only way in: no password is right, and none can be changed', async () => {
      const { body } = await signIn(person().sub)
      const { token, user } = body
      const unknown = await login('nobody-at-all')
      const refused = await login(user.username)
      expect(refused.status).to.equal(401)
      const { request_id, ...said } = refused.body
      expect(unknown.body).to.deep.include(said)
      const change = { current_password: 'x', new_password: 'a good long password' }
      const changed = await system.call('PUT', '/auth/password', { token, body: change })
      expect([changed.status, changed.body.code]).to.deep.equal([409, 'password_not_set'])
      const stepUp = await system.call('POST', '/auth/step-up', { token, body: { password: 'x' } })
      expect(stepUp.body.code).to.equal('password_not_set')
      expect((await login(user.username)).status).to.equal(401)
    })

    it('is what its erasure needs, within ten minutes', async () => {
      const { sub, email } = person()
      const { body } = await signIn(sub)
      const erase = (token: string) => system.call('DELETE', '/auth/me', { token, body: {} })
      now = new Date(now.getTime() + 601_000)
      const late = await erase(body.token)
      expect([late.status, late.body.code]).to.deep.equal([403, 'step_up_required'])
      now = new Date()
      const again = await signIn(sub)
      expect((await erase(again.body.token)).status).to.equal(204)
      const text = 'select from identities where subject = $1'
      expect((await sql.query(text, [sub])).rows).to.have.length(0)
      // Who comes again is somebody new.
      const next = await signIn(sub)
      expect(next.body.user.email).to.equal(email)
      expect(next.body.user.id).not.to.equal(body.user.id)
    })

    it('is no way around the password of one that has it', async () => {
      const { token } = await system.newUser()
      const { body } = await system.call('DELETE', '/auth/me', { token, body: {} })
      expect(body.code).to.equal('wrong_password')
    })
  })

  it('is told to the owner of an account that was there, and asks nobody to confirm twice', async () => {
    const mailsTo = async (id: number) =>
      (await sql.query('select kind from mails where user_id = $1 order by id', [id])).rows.map(
        ({ kind }) => kind,
      )
    const { body } = await signIn(person().sub)
    expect(await mailsTo(body.user.id)).to.deep.equal(['login_succeeded'])
    const text = `insert into identities (issuer, subject, user_id, provider, linked_at)
      values ('x', $1, $2, 'other', now())`
    await sql.query(text, [randomUUID(), body.user.id])
    await system.call('DELETE', '/auth/me/identities/other', { token: body.token })
    expect(await mailsTo(body.user.id)).to.deep.equal(['login_succeeded', 'identity_unlinked'])
  })

  it('is no way into an account that is locked, and that is on record', async () => {
    const { sub } = person()
    const { body } = await signIn(sub)
    await sql.query("update users set locked_at = now(), lock_reason = 'asked for' where id = $1", [
      body.user.id,
    ])
    const refused = await signIn(sub)
    expect([refused.status, refused.body.code]).to.deep.equal([403, 'account_locked'])
    const [event] = (await eventsOf(body.user.id)).slice(-1)
    const details = { provider: 'acme', reason: 'account_locked' }
    expect(event).to.deep.equal({ type: 'provider_sign_in_refused', details })
  })

  it('leaves room for a password: a reset sets the first one', async () => {
    const { body } = await signIn(person().sub)
    const { id, username, email } = body.user
    const link = newLinkToken()
    await sql.query(
      `insert into account_links
        (token_hash, kind, mail_id, user_id, address, credentials_version, created_at, expires_at)
        values ($1, 'reset', 0, $2, $3, 1, $4::timestamptz, $4::timestamptz + interval '30 minutes')`,
      [hashOfLink(link), id, email, now],
    )
    const password = 'a good long password'
    const reset = { token: link, new_password: password }
    expect((await system.call('POST', '/auth/password/reset', { body: reset })).status).to.equal(
      204,
    )
    const login = { username, password }
    expect((await system.call('POST', '/auth/login', { body: login })).status).to.equal(200)
    expect(
      (
        await signIn(
          (
            await sql.query('select subject from identities where user_id = $1', [id])
          ).rows[0].subject,
        )
      ).status,
    ).to.equal(200)
  })

  it('makes one account, if two answers come at the same moment', async () => {
    const { sub, email } = person()
    const ways = [await begin(sub), await begin(sub)]
    const asked = Promise.withResolvers<void>()
    let waiting = 0
    peer.tamper(async (path, said) => {
      if (path === '/jwks' && ++waiting === 2) asked.resolve()
      if (path === '/jwks') await asked.promise
      return said
    })
    const both = await Promise.all(ways.map(({ answer, cookie }) => finish(answer, cookie)))
    expect(both.map(({ status }) => status)).to.deep.equal([200, 200])
    const { rows } = await sql.query('select id from users where email = $1', [email])
    expect(rows).to.have.length(1)
  })

  it('finds another name, if the first is taken or too short', async () => {
    const taken = await system.newUser()
    const { body } = await signIn(person({ email: `${taken.username}@elsewhere.example` }).sub)
    expect(body.user.username).to.match(new RegExp(`^${taken.username}-[a-z0-9]{6}$`))
    const short = await signIn(person({ email: `b+@${randomUUID()}.example` }).sub)
    expect(short.body.user.username).to.match(/^user-b-[a-z0-9]{6}$/)
  })

  it('removes sign-ins that nobody has completed, as others begin', async () => {
    await start()
    await sql.query("update provider_sign_ins set begun_at = begun_at - interval '11 minutes'")
    await start()
    const { rows } = await sql.query('select begun_at from provider_sign_ins')
    expect(rows).to.have.length(1)
  })
})
