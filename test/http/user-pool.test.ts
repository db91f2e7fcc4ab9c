import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import { Secret, TOTP } from 'otpauth'
import pg from 'pg'
import { type CognitoPeer, MAILED_CODE, startCognitoPeer } from '../support/cognito-peer.ts'
import { type Answer, type System, startSystem } from '../support/system.ts'

const codeOf = (secret: string) => new TOTP({ secret: Secret.fromBase32(secret) }).generate()
const claimsOf = (token: string) =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())

describe('Accounts in a user pool', () => {
  let peer: CognitoPeer
  let system: System
  let sql: pg.Client
  let now = new Date()

  const CREDENTIALS = { AWS_ACCESS_KEY_ID: 'local', AWS_SECRET_ACCESS_KEY: 'local' }

  before(async () => {
    Object.assign(process.env, CREDENTIALS)
    peer = await startCognitoPeer()
    const { endpoint, pool } = peer
    const env = {
      IDENTITY: 'cognito',
      COGNITO_USER_POOL_ID: pool.id,
      COGNITO_CLIENT_ID: pool.client_id,
      COGNITO_CLIENT_SECRET: pool.client_secret,
      COGNITO_ENDPOINT: endpoint,
      AWS_REGION: 'local',
    }
    system = await startSystem(env, () => now)
    sql = new pg.Client(system.database.url)
    await sql.connect()
  })
  beforeEach(() => {
    now = new Date()
  })
  after(async () => {
    for (const name of Object.keys(CREDENTIALS)) delete process.env[name]
    await sql.end()
    await system.stop()
    await peer.stop()
  })

  const post = (path: string, body: unknown = {}, token?: string) =>
    system.call('POST', path, { body, token })
  const expectCode = ({ status, body }: Answer, ...expected: [number, string]) =>
    expect([status, body.code], JSON.stringify(body)).to.deep.equal(expected)
  const register = async () => {
    const username = `u${randomUUID().slice(0, 18)}`
    const user = { username, email: `${username}@example.com`, password: `Pw-${randomUUID()}` }
    const answer = await post('/auth/register', user)
    expect(answer.status).to.equal(202)
    return user
  }
  const confirmed = async () => {
    const user = await register()
    const { username } = user
    const done = await post('/auth/register/confirm', { username, code: MAILED_CODE })
    expect(done.status).to.equal(204)
    await peer.verifyEmail(user)
    return user
  }
  const login = ({ username, password }: { username: string; password: string }) =>
    post('/auth/login', { username, password })
  const eventsOf = async (username: string) => {
    const text = 'select type, details from security_events where username = $1 order by id'
    return (await sql.query(text, [username])).rows
  }
  const refresh = (answer: Answer) =>
    post('/auth/refresh', { refresh_token: answer.body.refresh_token })

  it('are signed up there, confirmed by a mailed code, and let in with a session of ours', async () => {
    const user = await register()
    const { username, email } = user
    expectCode(await login(user), 403, 'sign_up_unconfirmed')
    const wrong = { username, code: '000000' }
    expectCode(await post('/auth/register/confirm', wrong), 403, 'code_invalid')
    expect((await post('/auth/register/confirm', { username, code: MAILED_CODE })).status).to.equal(
      204,
    )
    expectCode(await login(user), 403, 'email_unverified')
    await peer.verifyEmail(user)

    const { status, body } = await login(user)
    expect(status, JSON.stringify(body)).to.equal(200)
    expect(body.user).to.include({ username, email, role: 'user' })
    expect(claimsOf(body.token).amr).to.deep.equal(['pwd'])
    const me = await system.call('GET', '/auth/me', { token: body.token })
    expect(me.body.user.username).to.equal(username)
    const again = await login(user)
    expect(again.body.user.id).to.equal(body.user.id)
    const { rows } = await sql.query('select password_hash from users where id = $1', [
      body.user.id,
    ])
    expect(rows).to.deep.equal([{ password_hash: null }])
    const types = (await eventsOf(username)).map(({ type }) => type)
    expect(types).to.have.members([
      ...['login_failed', 'registered', 'identity_linked', 'login_succeeded', 'login_succeeded'],
    ])
  })

  it('refuse a wrong password and an unknown name with the same words', async () => {
    const user = await confirmed()
    const answers = [
      await login({ ...user, password: 'a wrong password' }),
      await login({ ...user, username: 'nobody-at-all' }),
    ]
    for (const { status, body } of answers) {
      const { request_id, ...rest } = body
      expect(status).to.equal(401)
      expect(rest.code).to.equal('invalid_credentials')
      expect(rest.message).to.equal(answers[0]?.body.message)
    }
    for (let tries = 0; tries < 4; tries++) await login({ ...user, password: 'a wrong password' })
    expectCode(await login(user), 429, 'too_many_attempts')
  })

  it('have names that are taken once', async () => {
    const { username } = await register()
    const other = { username, email: 'x@example.com', password: 'a good long Password 1' }
    expectCode(await post('/auth/register', other), 409, 'username_taken')
  })

  it('are let in with the code of an app, if they have set one up', async () => {
    const user = await confirmed()
    const secret = await peer.setUpTotp(user, codeOf)
    const asked = await login(user)
    expect(asked.status).to.equal(200)
    const { challenge, expires_in, methods } = asked.body.second_factor
    expect([expires_in, methods]).to.deep.equal([180, ['totp']])
    const answer = (totp: string) => post('/auth/login/second-factor', { challenge, totp })
    expectCode(await answer('000000'), 403, 'code_invalid')
    const { status, body } = await answer(codeOf(secret))
    expect(status, JSON.stringify(body)).to.equal(200)
    expect(claimsOf(body.token).amr).to.deep.equal(['pwd', 'otp', 'mfa'])
    expectCode(await answer(codeOf(secret)), 403, 'challenge_invalid')

    const late = (await login(user)).body.second_factor.challenge
    const stored = JSON.stringify((await sql.query('select * from pool_challenges')).rows)
    expect(stored).not.to.include(late)
    now = new Date(now.getTime() + 181_000)
    const body_ = { challenge: late, totp: codeOf(secret) }
    expectCode(await post('/auth/login/second-factor', body_), 403, 'challenge_invalid')
  })

  it('have the role of their groups, from the next sign-in or refresh on, on record', async () => {
    const user = await confirmed()
    await peer.addToGroup(user.username, 'others')
    const first = await login(user)
    expect(first.body.user.role).to.equal('user')
    await peer.addToGroup(user.username, 'auditor')
    const refreshed = await refresh(first)
    expect(refreshed.status).to.equal(200)
    const me = await system.call('GET', '/auth/me', { token: refreshed.body.token })
    expect(me.body.user.role).to.equal('auditor')
    await peer.addToGroup(user.username, 'admin')
    expect((await login(user)).body.user.role).to.equal('admin')
    const changes = (await eventsOf(user.username)).filter(({ type }) => type === 'role_changed')
    expect(changes.map(({ details }) => [details.from, details.to])).to.deep.equal([
      ['user', 'auditor'],
      ['auditor', 'admin'],
    ])

    // The last admin stays one.
    await peer.removeFromGroup(user.username, 'admin')
    expect((await login(user)).body.user.role).to.equal('admin')
    expect(system.logged()).to.include('the last admin is in no group')
  })

  it('set a new password by a mailed code, and nobody learns whether they are there', async () => {
    const user = await confirmed()
    const asked = await post('/auth/password/code', { username: user.username })
    const unknown = await post('/auth/password/code', { username: 'nobody-at-all' })
    expect([asked.status, unknown.status]).to.deep.equal([202, 202])
    expect(unknown.body).to.deep.equal(asked.body)
    const new_password = 'another good Password 1'
    const change = { username: user.username, new_password }
    const by = (code: string) => post('/auth/password/by-code', { ...change, code })
    expectCode(await by('000000'), 403, 'code_invalid')
    expect((await by(MAILED_CODE)).status).to.equal(204)
    expectCode(await login(user), 401, 'invalid_credentials')
    expect((await login({ ...user, password: new_password })).status).to.equal(200)
  })

  it('keep what asks the pool again encrypted, and go on if it is away', async () => {
    const user = await confirmed()
    const session = await login(user)
    const { rows } = await sql.query('select * from pool_sessions where username = $1', [
      user.username,
    ])
    expect(rows).to.have.length(1)
    expect(rows[0].sealed_refresh_token.toString('latin1')).not.to.include('eyJ')
    peer.pause()
    const away = await refresh(session).finally(peer.goOn)
    expect(away.status).to.equal(200)
    expect(system.logged()).to.include('cannot ask the user pool')
    expect((await refresh(away)).status).to.equal(200)
  })

  it('are said to be away while the pool is', async () => {
    const user = await confirmed()
    peer.pause()
    const began = Date.now()
    const answer = await login(user).finally(peer.goOn)
    expectCode(answer, 503, 'provider_unavailable')
    expect(Date.now() - began).to.be.below(8_000)
    // And nothing is counted against the user.
    const text = 'select tries from login_attempts where account = $1'
    expect((await sql.query(text, [user.username])).rows).to.deep.equal([{ tries: 0 }])
  })

  it('are erased here and there', async () => {
    const user = await confirmed()
    const { body } = await login(user)
    const erased = await system.call('DELETE', '/auth/me', { token: body.token, body: {} })
    expect(erased.status, JSON.stringify(erased.body)).to.equal(204)
    expect(await peer.exists(user.username)).to.equal(false)
    expectCode(await login(user), 401, 'invalid_credentials')
  })

  it('are not linked to an account that has confirmed the same address', async () => {
    const user = await confirmed()
    const text = `insert into users (username, email, email_confirmed_at, created_at, updated_at)
      values ($1, $2, now(), now(), now())`
    await sql.query(text, [`x${user.username}`, user.email.toUpperCase()])
    expectCode(await login(user), 409, 'identity_unlinked')
  })

  it('have no calls that would need their passwords here', async () => {
    const { body } = await login(await confirmed())
    for (const [method, path, sent] of [
      ['PUT', '/auth/password', { current_password: 'x', new_password: 'a good long password' }],
      ['POST', '/auth/step-up', { password: 'x' }],
      ['POST', '/auth/factors/totp', {}],
    ] as const) {
      const answer = await system.call(method, path, { token: body.token, body: sent })
      expectCode(answer, 501, 'identity_elsewhere')
    }
  })
})

describe('Accounts of our own', () => {
  it('have no calls of a user pool', async () => {
    const system = await startSystem()
    for (const [path, body] of [
      ['/auth/register/confirm', { username: 'ann', code: '123456' }],
      ['/auth/register/code', { username: 'ann' }],
      ['/auth/password/code', { username: 'ann' }],
      ['/auth/password/by-code', { username: 'ann', code: '123456', new_password: 'x'.repeat(12) }],
    ] as const) {
      const answer = await system.call('POST', path, { body })
      expect([answer.status, answer.body.code]).to.deep.equal([501, 'identity_elsewhere'])
    }
    await system.stop()
  })
})
