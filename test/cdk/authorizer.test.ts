import { expect } from 'chai'
import jwt from 'jsonwebtoken'
import { type AuthorizerEvent, authorizer, type SigningKeys } from '../../cdk/handlers/authorize.ts'
import type { TokenClaims } from '../../src/app/ports/accounts.ts'
import { jwtTokens } from '../../src/infra/credentials/tokens.ts'

const KEYS = ['a', 'b', 'c'].map((letter) => letter.repeat(64)) as [string, string, string]
const [FIRST, SECOND, THIRD] = KEYS
const NOW = new Date('2026-11-28T12:00:00Z')
const SECONDS = NOW.getTime() / 1000
const CLAIMS = {
  user_id: 7,
  username: 'ada',
  email: 'ada@example.com',
  role: 'user',
  sid: '0199c1f2-6f5e-7c52-9d3b-2f8f6c1f4f10',
  iat: SECONDS,
  exp: SECONDS + 3600,
  auth_time: SECONDS,
  amr: ['pwd'],
} as const satisfies TokenClaims

const tokenOf = (key: string, change: object = {}) =>
  jwtTokens(key, undefined).sign({ ...CLAIMS, ...change })

const METHOD = 'arn:aws:execute-api:us-east-1:333333333333:abc/v1/GET/tasks'

describe('The authorizer of API Gateway', () => {
  let keys: SigningKeys
  let now: Date
  let readings: number
  let broken: boolean
  let told: string[]
  let onRequest: ReturnType<typeof authorizer>

  beforeEach(() => {
    keys = { current: FIRST, previous: SECOND }
    now = NOW
    readings = 0
    broken = false
    told = []
    const readKeys = async () => {
      readings++
      if (broken) throw new Error('Secrets Manager is away')
      return keys
    }
    const notRead = (error: unknown) => told.push(String(error))
    onRequest = authorizer({ readKeys, notRead }, () => now)
  })

  const ask = (authorization?: string, more: Partial<AuthorizerEvent> = {}) =>
    onRequest({
      methodArn: METHOD,
      httpMethod: 'GET',
      path: '/tasks',
      ...(authorization !== undefined && { headers: { Authorization: authorization } }),
      ...more,
    })
  const later = (seconds: number) => {
    now = new Date(now.getTime() + seconds * 1000)
  }
  const policy = (Effect: string) => ({
    Version: '2012-10-17',
    Statement: [{ Action: 'execute-api:Invoke', Effect, Resource: METHOD }],
  })
  const admitted = { principalId: 'caller', policyDocument: policy('Allow') }
  const refused = (code: string, message: string) => ({
    principalId: 'caller',
    policyDocument: policy('Deny'),
    context: { code, message },
  })
  const INVALID = refused('token_invalid', 'Invalid token')

  it('admits a token of ours, of the current key and of the previous one', async () => {
    for (const key of [FIRST, SECOND]) {
      expect(await ask(`Bearer ${tokenOf(key)}`)).to.deep.equal(admitted)
      expect(await ask(undefined, { headers: { authorization: `bearer  ${tokenOf(key)}` } }))
        .to //
        .deep.equal(admitted)
    }
    expect(readings).to.equal(1)
  })

  it('refuses each other one for the method that was asked for, and says why as the services do', async () => {
    const missing = refused('token_missing', 'No authentication token provided')
    for (const headers of [null, {}, { Authorization: '' }, { Authorization: 'Basic YTpi' }]) {
      expect(await ask(undefined, { headers })).to.deep.equal(missing)
    }
    const expired = tokenOf(FIRST, { iat: SECONDS - 7200, exp: SECONDS - 3600 })
    expect(await ask(`Bearer ${expired}`)).to.deep.equal(
      refused('token_expired', 'Token has expired'),
    )
    const good = tokenOf(FIRST)
    const [head, body, signature] = good.split('.')
    const none = Buffer.from('{"alg":"none","typ":"JWT"}').toString('base64url')
    const foreign = jwt.sign({ ...CLAIMS }, FIRST, { issuer: 'another', audience: 'tasktrail' })
    for (const token of [
      tokenOf(THIRD),
      'x',
      'a.b.c',
      `${none}.${body}.`,
      `${head}.${body}.`,
      `${head}.${Buffer.from('{}').toString('base64url')}.${signature}`,
      `${good}=`,
      foreign,
      tokenOf(FIRST, { user_id: 0 }),
      tokenOf(FIRST, { iat: SECONDS + 3600 }),
      'y'.repeat(5_000),
    ]) {
      expect(await ask(`Bearer ${token}`), token.slice(0, 40)).to.deep.equal(INVALID)
    }
  })

  it('admits a token of ours in a cookie, but not beside another in the header', async () => {
    const Cookie = `theme=dark; __Host-tasktrail=${tokenOf(FIRST)}`
    expect(await ask(undefined, { headers: { Cookie } })).to.deep.equal(admitted)
    const both = { Cookie, Authorization: 'Bearer nonsense' }
    expect(await ask(undefined, { headers: both })).to.deep.equal(INVALID)
    const twice = { Cookie: `${Cookie}; __Host-tasktrail=${tokenOf(SECOND)}` }
    expect(await ask(undefined, { headers: twice })).to.deep.include({
      policyDocument: policy('Deny'),
    })
  })

  it('admits without a token what needs none, and a preflight', async () => {
    for (const path of ['/auth/login', '/v1/auth/login', '/health', '/tasks/docs']) {
      expect(await ask(undefined, { path })).to.deep.equal(admitted)
    }
    expect(await ask(undefined, { httpMethod: 'OPTIONS' })).to.deep.equal(admitted)
    expect(await ask(undefined, { path: '/auth/login/' })).to.not.deep.equal(admitted)
  })

  it('reads the keys again when a token is signed by none of them, once a minute at most', async () => {
    expect(await ask(`Bearer ${tokenOf(THIRD)}`)).to.deep.equal(INVALID)
    keys = { current: THIRD, previous: FIRST }
    later(59)
    expect(await ask(`Bearer ${tokenOf(THIRD)}`)).to.deep.equal(INVALID)
    expect(readings).to.equal(1)
    later(1)
    expect(await ask(`Bearer ${tokenOf(THIRD)}`)).to.deep.equal(admitted)
    expect(await ask(`Bearer ${tokenOf(FIRST)}`)).to.deep.equal(admitted)
    // The key that has gone admits nobody.
    expect(await ask(`Bearer ${tokenOf(SECOND)}`)).to.deep.equal(INVALID)
    expect(readings).to.equal(2)
  })

  it('reads them once for all requests that wait, and not for what is missing or has expired', async () => {
    await Promise.all(Array.from({ length: 20 }, () => ask(`Bearer ${tokenOf(FIRST)}`)))
    expect(readings).to.equal(1)
    later(3_600)
    await ask()
    await ask(`Bearer ${tokenOf(FIRST, { iat: SECONDS - 7200, exp: SECONDS - 3600 })}`)
    expect(readings).to.equal(1)
    await Promise.all(Array.from({ length: 20 }, () => ask('Bearer made-up')))
    expect(readings).to.equal(2)
  })

  it('admits nobody while it has no keys, and works as soon as it has them', async () => {
    broken = true
    const failed = await ask(`Bearer ${tokenOf(FIRST)}`).catch((error: Error) => error.message)
    expect(failed).to.equal('Secrets Manager is away')
    expect(await ask('Bearer x').catch(() => 'failed')).to.equal('failed')
    broken = false
    expect(await ask(`Bearer ${tokenOf(FIRST)}`)).to.deep.equal(admitted)
  })

  it('goes on with the keys that it has when they cannot be read again', async () => {
    await ask(`Bearer ${tokenOf(FIRST)}`)
    broken = true
    later(120)
    expect(await ask('Bearer made-up')).to.deep.equal(INVALID)
    // It has tried, and does not try again for each made-up token.
    expect(await ask('Bearer made-up')).to.deep.equal(INVALID)
    expect(readings).to.equal(2)
    expect(told).to.deep.equal(['Error: Secrets Manager is away'])
    expect(await ask(`Bearer ${tokenOf(FIRST)}`)).to.deep.equal(admitted)
  })
})
