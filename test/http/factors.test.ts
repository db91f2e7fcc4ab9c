import { expect } from 'chai'
import fc from 'fast-check'
import jwt from 'jsonwebtoken'
import { Secret, TOTP } from 'otpauth'
import pg from 'pg'
import { passkeyDevice } from '../support/passkey-device.ts'
import { giveRole } from '../support/roles.ts'
import { type Answer, type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>
type Device = ReturnType<typeof passkeyDevice>

const NOON = Date.parse('2026-11-29T12:00:00.000Z')
const SECOND = 1_000
const MINUTE = 60 * SECOND
const SITE = 'https://tasks.example.com'
const HERE = { origin: SITE }

const claims = (token: string) => jwt.decode(token) as jwt.JwtPayload
const said = ({ status, body }: Answer) => [status, body.code]

describe('A second factor', () => {
  let now = NOON
  let system: System
  let sql: pg.Client

  before(async () => {
    const settings = { PUBLIC_URL: SITE, REQUIRE_SECOND_FACTOR: 'auditor' }
    system = await startSystem(settings, () => new Date(now))
    sql = new pg.Client(system.database.url)
    await sql.connect()
  })
  afterEach(() => {
    now = NOON
  })
  after(async () => {
    await sql.end()
    await system.stop()
  })

  const post = (path: string, body: object = {}, token?: string): Promise<Answer> =>
    system.call('POST', path, { body, token })
  const done = async (answer: Promise<Answer>, status = 200) => {
    const { status: got, body } = await answer
    expect(got, JSON.stringify(body)).to.equal(status)
    return body
  }
  const login = ({ username, password }: User) => post('/auth/login', { username, password })
  const codeOf = (secret: string, ms = now): string =>
    TOTP.generate({ secret: Secret.fromBase32(secret), timestamp: ms })
  const addTotp = async (token: string) => {
    const { challenge, secret } = await done(post('/auth/factors/totp', {}, token))
    const body = { challenge, code: codeOf(secret) }
    const added = await done(post('/auth/factors/totp/confirm', body, token), 201)
    now += 30 * SECOND
    return { ...added, secret } as {
      factor: { id: string }
      recovery_codes: string[]
      secret: string
    }
  }
  const addPasskey = async (token: string, device: Device = passkeyDevice()) => {
    const { challenge, options } = await done(post('/auth/factors/passkey', {}, token))
    const body = { challenge, credential: device.create(options, HERE) }
    return { ...(await done(post('/auth/factors/passkey/confirm', body, token), 201)), device }
  }
  const asked = async (user: User): Promise<string> => {
    const { second_factor } = await done(login(user))
    return second_factor.challenge
  }
  const prove = (challenge: string, proof: object) =>
    post('/auth/login/second-factor', { challenge, ...proof })
  const byPasskey = async (device: Device, facts = {}, options = {}) => {
    const begun = await done(post('/auth/passkeys/challenge'))
    const credential = device.get(begun.options, { ...HERE, ...facts }, options)
    return { challenge: begun.challenge, credential }
  }
  const events = async ({ username }: User): Promise<string[]> =>
    (
      await sql.query('select type from security_events where username = $1 order by id', [
        username,
      ])
    ).rows.map(({ type }) => type)

  describe('that is an authenticator app', () => {
    it('is asked for after the password, and its code begins the session', async () => {
      const ann = await system.newUser()
      const { factor, recovery_codes, secret } = await addTotp(ann.token)
      expect(recovery_codes).to.have.length(10)
      const { second_factor, ...rest } = await done(login(ann))
      expect(rest).to.deep.equal({})
      expect(second_factor).to.deep.include({
        expires_in: 300,
        methods: ['totp', 'recovery_code'],
      })
      const body = await done(prove(second_factor.challenge, { totp: codeOf(secret) }))
      expect(claims(body.token).amr).to.have.members(['pwd', 'otp', 'mfa'])
      expect((await system.call('GET', '/tasks', { token: body.token })).status).to.equal(200)
      const listed = await system.call('GET', '/auth/factors', { token: body.token })
      expect(listed.body).to.deep.include({ recovery_codes_left: 10 })
      expect(listed.body.factors[0]).to.deep.include({ id: factor.id, kind: 'totp' })
      expect(listed.body.factors[0].last_used_at).to.equal(new Date(now).toISOString())
    })

    it('tells an app what it needs, in a form that all apps read', async () => {
      const ann = await system.newUser()
      const { secret, uri } = await done(post('/auth/factors/totp', {}, ann.token))
      expect(Buffer.from(Secret.fromBase32(secret).bytes)).to.have.length(20)
      const url = new URL(uri)
      expect([url.protocol, url.host]).to.deep.equal(['otpauth:', 'totp'])
      expect(decodeURIComponent(url.pathname)).to.equal(`/Tasktrail:${ann.username}`)
      expect(Object.fromEntries(url.searchParams)).to.deep.equal({
        issuer: 'Tasktrail',
        secret,
        algorithm: 'SHA1',
        digits: '6',
        period: '30',
      })
    })

    it('takes the code of one step before or after, and of none further', async () => {
      const ann = await system.newUser()
      const { secret } = await addTotp(ann.token)
      now += 10 * MINUTE
      for (const [steps, status] of [
        [-2, 403],
        [2, 403],
        [-1, 200],
        [1, 200],
      ] as const) {
        const code = codeOf(secret, now + steps * 30 * SECOND)
        expect((await prove(await asked(ann), { totp: code })).status, `${steps}`).to.equal(status)
      }
    })

    it('takes each code once, and none from before the last one, however many try at once', async () => {
      const ann = await system.newUser()
      const { secret } = await addTotp(ann.token)
      now += 5 * MINUTE
      const challenges: string[] = []
      while (challenges.length < 4) challenges.push(await asked(ann))
      const totp = codeOf(secret)
      const answers = await Promise.all(challenges.map((each) => prove(each, { totp })))
      expect(answers.map(({ status }) => status).toSorted()).to.deep.equal([200, 403, 403, 403])
      const before = codeOf(secret, now - 30 * SECOND)
      expect(said(await prove(await asked(ann), { totp: before }))).to.deep.equal([
        403,
        'code_invalid',
      ])
    })

    it('refuses more than five wrong codes, from wherever, and lets a recovery code in then', async () => {
      const ann = await system.newUser()
      const { secret, recovery_codes } = await addTotp(ann.token)
      now += 5 * MINUTE
      const challenge = await asked(ann)
      const wrong = String((Number(codeOf(secret)) + 1) % 1_000_000).padStart(6, '0')
      for (let tries = 0; tries < 5; tries++) {
        const headers = { 'x-forwarded-for': `198.51.100.${tries}` }
        const body = { challenge, totp: wrong }
        const answer = await system.call('POST', '/auth/login/second-factor', { body, headers })
        expect(said(answer)).to.deep.equal([403, 'code_invalid'])
      }
      const late = await prove(challenge, { totp: codeOf(secret) })
      expect(said(late)).to.deep.equal([429, 'too_many_attempts'])
      expect(Number(late.headers.get('retry-after'))).to.be.within(1, 60)
      await done(prove(challenge, { recovery_code: recovery_codes[0] }))
      expect((await events(ann)).filter((type) => type === 'second_factor_failed')).to.have.length(
        5,
      )
    })

    it('is added only with a code that it shows, by who began, in time, and once', async () => {
      const [ann, bob] = [await system.newUser(), await system.newUser()]
      const { challenge, secret } = await done(post('/auth/factors/totp', {}, ann.token))
      const confirm = (token: string, code = codeOf(secret), given = challenge) =>
        post('/auth/factors/totp/confirm', { challenge: given, code }, token)
      const wrong = String((Number(codeOf(secret)) + 1) % 1_000_000).padStart(6, '0')
      expect(said(await confirm(ann.token, wrong))).to.deep.equal([403, 'code_invalid'])
      const not = [403, 'challenge_invalid']
      expect(said(await confirm(bob.token))).to.deep.equal(not)
      expect(said(await confirm(ann.token, codeOf(secret), 'A'.repeat(43)))).to.deep.equal(not)
      now += 5 * MINUTE
      expect(said(await confirm(ann.token))).to.deep.equal(not)
      now = NOON
      const both = await Promise.all([confirm(ann.token), confirm(ann.token)])
      expect(both.map(({ status }) => status).toSorted()).to.deep.equal([201, 403])
    })

    it('is stored wrapped: the database alone shows no secret and no code', async () => {
      const ann = await system.newUser()
      const { secret, recovery_codes } = await addTotp(ann.token)
      const { rows } = await sql.query(
        `select (select string_agg(f::text, '') from factors f) as factors,
          (select string_agg(r::text, '') from recovery_codes r) as codes`,
      )
      const bytes = Buffer.from(Secret.fromBase32(secret).bytes).toString('hex')
      expect(rows[0].factors).to.not.include(bytes)
      for (const code of recovery_codes) {
        expect(rows[0].codes).to.not.include(Buffer.from(code).toString('hex'))
        expect(system.logged()).to.not.include(code)
      }
      expect(system.logged()).to.not.include(secret)
    })
  })

  describe('that is a recovery code', () => {
    it('is good once, however it is written, and the others stay', async () => {
      const ann = await system.newUser()
      const { recovery_codes } = await addTotp(ann.token)
      const [first = '', second = ''] = recovery_codes
      const spoken = ` ${first.toUpperCase().replaceAll('-', ' ').replaceAll('0', 'O')} `
      const { token } = await done(prove(await asked(ann), { recovery_code: spoken.trim() }))
      expect(claims(token).amr).to.include('mfa')
      expect(said(await prove(await asked(ann), { recovery_code: first }))).to.deep.equal([
        403,
        'code_invalid',
      ])
      const { body } = await system.call('GET', '/auth/factors', { token })
      expect(body.recovery_codes_left).to.equal(9)
      await done(prove(await asked(ann), { recovery_code: second }))
    })

    it('is no good once there are new ones, and no one of another user ever', async () => {
      const [ann, bob] = [await system.newUser(), await system.newUser()]
      const before = await addTotp(ann.token)
      const others = await addTotp(bob.token)
      const { token } = await done(
        prove(await asked(ann), { recovery_code: before.recovery_codes[0] }),
      )
      const made = await done(post('/auth/factors/recovery-codes', {}, token), 201)
      for (const recovery_code of [before.recovery_codes[1], others.recovery_codes[0]]) {
        expect(said(await prove(await asked(ann), { recovery_code }))).to.deep.equal([
          403,
          'code_invalid',
        ])
      }
      await done(prove(await asked(ann), { recovery_code: made.recovery_codes[9] }))
    })
  })

  describe('that is a passkey', () => {
    it('signs in without name and password, with two factors', async () => {
      const ann = await system.newUser()
      const { device } = await addPasskey(ann.token)
      const { token, user } = await done(post('/auth/login/passkey', await byPasskey(device)))
      expect(user.id).to.equal(ann.id)
      expect(claims(token).amr).to.have.members(['hwk', 'mfa'])
    })

    it('is the second factor after a password too', async () => {
      const ann = await system.newUser()
      const { device } = await addPasskey(ann.token)
      const challenge = await asked(ann)
      const { token } = await done(prove(challenge, { passkey: await byPasskey(device) }))
      expect(claims(token).amr).to.have.members(['pwd', 'hwk', 'mfa'])
    })

    it("is nobody else's second factor", async () => {
      const [ann, bob] = [await system.newUser(), await system.newUser()]
      await addTotp(ann.token)
      const { device } = await addPasskey(bob.token)
      const answer = await prove(await asked(ann), { passkey: await byPasskey(device) })
      expect(said(answer)).to.deep.equal([403, 'code_invalid'])
    })

    const wrong: Readonly<Record<string, Partial<Parameters<Device['get']>[1]>>> = {
      'from a page of another site': { origin: 'https://evil.example' },
      'for another domain': { domain: 'evil.example' },
      'with another challenge': { challenge: 'A'.repeat(43) },
      'for something else': { type: 'webauthn.create' },
      'whose device has not verified its user': { isVerified: false },
    }
    for (const [what, facts] of Object.entries(wrong)) {
      it(`is refused ${what}, on record`, async () => {
        const ann = await system.newUser()
        const { device } = await addPasskey(ann.token)
        const answer = await post('/auth/login/passkey', await byPasskey(device, facts))
        expect(said(answer)).to.deep.equal([403, 'code_invalid'])
        const { rows } = await sql.query(
          `select type from security_events where user_id = $1 order by id desc limit 1`,
          [ann.id],
        )
        expect(rows).to.deep.equal([{ type: 'passkey_failed' }])
      })
    }

    it('answers a challenge once, in time, and not one that is for something else', async () => {
      const ann = await system.newUser()
      const { device } = await addPasskey(ann.token)
      const used = await byPasskey(device)
      await done(post('/auth/login/passkey', used))
      const not = [403, 'challenge_invalid']
      expect(said(await post('/auth/login/passkey', used))).to.deep.equal(not)
      const late = await byPasskey(device)
      now += 5 * MINUTE
      expect(said(await post('/auth/login/passkey', late))).to.deep.equal(not)
      now = NOON
      const challenge = await asked(ann)
      const credential = device.get({ challenge, rpId: 'tasks.example.com' }, HERE)
      expect(said(await post('/auth/login/passkey', { challenge, credential }))).to.deep.equal(not)
    })

    it('that counts its uses is refused when it has been copied', async () => {
      const ann = await system.newUser()
      const { device } = await addPasskey(ann.token)
      const first = await byPasskey(device)
      await done(post('/auth/login/passkey', await byPasskey(device)))
      expect(said(await post('/auth/login/passkey', first))).to.deep.equal([403, 'code_invalid'])
    })

    it('is added once: not twice, and not by another user', async () => {
      const [ann, bob] = [await system.newUser(), await system.newUser()]
      const { device } = await addPasskey(ann.token)
      const { challenge, options } = await done(post('/auth/factors/passkey', {}, bob.token))
      const body = { challenge, credential: device.create(options, HERE) }
      const answer = await post('/auth/factors/passkey/confirm', body, bob.token)
      expect(said(answer)).to.deep.equal([409, 'passkey_known'])
    })

    it('whatever a client sends in its place is refused as a wrong one', async () => {
      const ann = await system.newUser()
      const { device } = await addPasskey(ann.token)
      const changes = fc.record({
        part: fc.constantFrom('clientDataJSON', 'authenticatorData', 'signature'),
        with: fc.oneof(fc.string(), fc.base64String(), fc.constant('')),
      })
      await fc.assert(
        fc.asyncProperty(changes, async ({ part, with: text }) => {
          const { challenge, credential } = await byPasskey(device)
          const response = { ...credential.response, [part]: text }
          const answer = await post('/auth/login/passkey', {
            challenge,
            credential: { ...credential, response },
          })
          expect(answer.status).to.be.oneOf([400, 403])
        }),
        { numRuns: 100 },
      )
    })
  })

  describe('once there is one', () => {
    it('with an id that no database can hold is refused, not a failure', async () => {
      const device = passkeyDevice()
      const ann = await system.newUser()
      await addPasskey(ann.token, device)
      const { challenge, credential } = await byPasskey(device)
      const body = { challenge, credential: { ...credential, id: 'a\0b' } }
      expect((await post('/auth/login/passkey', body)).status).to.equal(400)
    })

    it('is needed for what cannot be taken back, and a step-up gives it', async () => {
      const ann = await system.newUser()
      const { secret } = await addTotp(ann.token)
      const erase = (token: string) =>
        system.call('DELETE', '/auth/me', { token, body: { password: ann.password } })
      const change = (token: string) =>
        system.call('PUT', '/auth/password', {
          token,
          body: { current_password: ann.password, new_password: `other-${ann.password}` },
        })
      const calls = [
        erase,
        change,
        (token: string) => post('/auth/factors/totp', {}, token),
        (token: string) => post('/auth/factors/passkey', {}, token),
        (token: string) => post('/auth/factors/recovery-codes', {}, token),
      ]
      for (const call of calls) {
        expect(said(await call(ann.token))).to.deep.equal([403, 'step_up_required'])
      }
      const { token } = await done(post('/auth/step-up', { totp: codeOf(secret) }, ann.token))
      now += 11 * MINUTE
      expect(said(await erase(token))).to.deep.equal([403, 'step_up_required'])
      const byPassword = post('/auth/step-up', { password: ann.password }, token)
      expect(said(await byPassword)).to.deep.equal([403, 'second_factor_required'])
      const again = await done(post('/auth/step-up', { totp: codeOf(secret) }, token))
      expect((await erase(again.token)).status).to.equal(204)
      const { rows } = await sql.query(
        `select (select count(*) from factors where user_id = $1) + (select count(*) from
          recovery_codes where user_id = $1) as left_over`,
        [ann.id],
      )
      expect(rows).to.deep.equal([{ left_over: '0' }])
    })

    it('is removed by who has proven it; then the password is enough again', async () => {
      const ann = await system.newUser()
      const { factor, secret } = await addTotp(ann.token)
      const remove = (token: string, id = factor.id) =>
        system.call('DELETE', `/auth/factors/${id}`, { token })
      expect(said(await remove(ann.token))).to.deep.equal([403, 'step_up_required'])
      const { token } = await done(post('/auth/step-up', { totp: codeOf(secret) }, ann.token))
      const bob = await system.newUser()
      expect(said(await remove(bob.token))).to.deep.equal([404, 'factor_not_found'])
      expect((await remove(token)).status).to.equal(204)
      expect(said(await remove(token))).to.deep.equal([404, 'factor_not_found'])
      expect(await done(login(ann))).to.include.keys('token')
      const left = await system.call('GET', '/auth/factors', { token })
      expect(left.body).to.deep.equal({ factors: [], recovery_codes_left: 0 })
      expect(await events(ann)).to.include.members(['factor_added', 'factor_removed'])
    })

    it('ten are enough', async () => {
      const ann = await system.newUser()
      let { token } = ann
      const { recovery_codes } = await addTotp(token)
      token = (await done(post('/auth/step-up', { recovery_code: recovery_codes[0] }, token))).token
      for (let count = 1; count < 10; count++) await addPasskey(token)
      expect(said(await post('/auth/factors/totp', {}, token))).to.deep.equal([
        409,
        'too_many_factors',
      ])
    })

    it('a password that has been changed meanwhile ends the step that waits for it', async () => {
      const ann = await system.newUser()
      const { secret } = await addTotp(ann.token)
      const challenge = await asked(ann)
      await sql.query(
        'update users set credentials_version = credentials_version + 1 where id = $1',
        [ann.id],
      )
      expect(said(await prove(challenge, { totp: codeOf(secret) }))).to.deep.equal([
        403,
        'challenge_invalid',
      ])
    })
  })

  it('is what makes an auditor one, where REQUIRE_SECOND_FACTOR says so', async () => {
    const ann = await system.newUser()
    const { secret } = await addTotp(ann.token)
    await giveRole(sql, ann.id, 'auditor')
    const roleOf = async (token: string) => {
      const headers = { 'x-internal-api-key': system.env.INTERNAL_API_KEY ?? '' }
      return (await system.call('POST', '/auth/validate', { token, headers })).body.user.role
    }
    expect(await roleOf(ann.token)).to.equal('user')
    const { token } = await done(prove(await asked(ann), { totp: codeOf(secret) }))
    expect(await roleOf(token)).to.equal('auditor')
  })

  it('is proven by one proof, in its form', async () => {
    const challenge = 'A'.repeat(43)
    for (const proof of [
      {},
      { totp: '123456', recovery_code: 'x' },
      { totp: '12345' },
      { totp: 123456 },
      { totp: '１２３４５６' },
      { recovery_code: '' },
      { passkey: { challenge } },
    ]) {
      expect(said(await prove(challenge, proof)), JSON.stringify(proof)).to.deep.equal([
        400,
        'validation_failed',
      ])
    }
  })
})
