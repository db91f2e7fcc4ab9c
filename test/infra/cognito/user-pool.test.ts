import { createHmac, generateKeyPairSync, sign } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { expect } from 'chai'
import { AppError } from '../../../src/app/errors.ts'
import type { UserPool } from '../../../src/app/ports/user-pool.ts'
import { cognitoUserPool } from '../../../src/infra/cognito/user-pool.ts'

const POOL = 'eu-west-1_Ab1cD2eF3'
const CLIENT = '1example23456789'
const SECRET = 'of the client'
const key = generateKeyPairSync('rsa', { modulusLength: 2048 })
const KID = 'a-key'

type Asked = { readonly operation: string; readonly body: Record<string, unknown> }
/** What Cognito answers, in the shapes of its API reference; an error has a type. */
type Script = Record<string, object | { readonly __type: string }>

/** What cognito-local cannot do, or does otherwise than Cognito: on the wire as AWS documents it. */
describe('A user pool of Cognito, on the wire', () => {
  let server: Server
  let endpoint: string
  let pool: UserPool
  let asked: Asked[] = []
  let script: Script = {}

  before(async () => {
    server = createServer(async (req, res) => {
      const sent = await text(req)
      if (req.url === `/${POOL}/.well-known/jwks.json`) {
        const jwk = {
          ...key.publicKey.export({ format: 'jwk' }),
          kid: KID,
          alg: 'RS256',
          use: 'sig',
        }
        return void res.end(JSON.stringify({ keys: [jwk] }))
      }
      const operation = String(req.headers['x-amz-target']).replace(/^.*\./, '')
      asked.push({ operation, body: JSON.parse(sent) })
      const answer = script[operation] ?? { __type: 'ResourceNotFoundException' }
      res.setHeader('content-type', 'application/x-amz-json-1.1')
      if ('__type' in answer) res.statusCode = 400
      res.end(JSON.stringify(answer))
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const options = { pool_id: POOL, client_id: CLIENT, client_secret: SECRET }
    pool = cognitoUserPool({ ...options, region: 'eu-west-1', endpoint })
    process.env.AWS_ACCESS_KEY_ID = 'local'
    process.env.AWS_SECRET_ACCESS_KEY = 'local'
  })
  beforeEach(() => {
    asked = []
    script = {}
  })
  after(async () => {
    delete process.env.AWS_ACCESS_KEY_ID
    delete process.env.AWS_SECRET_ACCESS_KEY
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })

  const hash = (username: string) =>
    createHmac('sha256', SECRET)
      .update(username + CLIENT)
      .digest('base64')
  const claims = () => {
    const now = Math.floor(Date.now() / 1000)
    return {
      ...{ sub: 'a-sub', iss: `${endpoint}/${POOL}`, aud: CLIENT, token_use: 'id' },
      ...{ 'cognito:username': 'ann', 'cognito:groups': ['auditor'], iat: now, exp: now + 300 },
      ...{ email: 'ann@example.com', email_verified: true },
    }
  }
  const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const token = (facts: object = {}, header: object = {}, by = key.privateKey) => {
    const input = `${encoded({ alg: 'RS256', kid: KID, ...header })}.${encoded({ ...claims(), ...facts })}`
    return `${input}.${sign('sha256', Buffer.from(input), by).toString('base64url')}`
  }
  const tokens = (IdToken = token()) => ({
    ChallengeParameters: {},
    AuthenticationResult: {
      ...{ AccessToken: 'access', ExpiresIn: 3600, IdToken, RefreshToken: 'refresh' },
      TokenType: 'Bearer',
    },
  })
  const challenge = (ChallengeName: string) => ({
    ...{ ChallengeName, Session: 'session 1' },
    ChallengeParameters: { USER_ID_FOR_SRP: 'ann' },
  })
  const codeOf = (work: Promise<unknown>): Promise<string> =>
    work.then(
      () => 'done',
      (error) => (error instanceof AppError ? error.code : String(error)),
    )
  const login = () => pool.login('ann@example.com', 'pw', '203.0.113.7')

  it('is told by each call which client calls, and where the user is', async () => {
    script = { InitiateAuth: tokens() }
    const entry = await login()
    expect(entry).to.deep.equal({
      refresh_token: 'refresh',
      user: {
        ...{
          issuer: `${endpoint}/${POOL}`,
          subject: 'a-sub',
          username: 'ann',
          groups: ['auditor'],
        },
        ...{ email: 'ann@example.com', email_verified: true, mfa: false },
      },
    })
    expect(asked[0]?.body).to.deep.equal({
      AuthFlow: 'USER_PASSWORD_AUTH',
      AuthParameters: {
        ...{ USERNAME: 'ann@example.com', PASSWORD: 'pw' },
        SECRET_HASH: hash('ann@example.com'),
      },
      ClientId: CLIENT,
      UserContextData: { IpAddress: '203.0.113.7' },
    })
  })

  it('has an app set up during a login, if it wants one and there is none', async () => {
    script = {
      InitiateAuth: challenge('MFA_SETUP'),
      AssociateSoftwareToken: { SecretCode: 'JBSWY3DPEHPK3PXP', Session: 'session 2' },
      VerifySoftwareToken: { Status: 'SUCCESS', Session: 'session 3' },
      RespondToAuthChallenge: tokens(),
    }
    const begun = await login()
    const expected = { username: 'ann', session: 'session 2', secret: 'JBSWY3DPEHPK3PXP' }
    expect(begun).to.deep.equal(expected)
    const done = await pool.answer(expected, '123456', null)
    expect(done.user.mfa).to.equal(true)
    expect(asked.slice(1).map(({ operation, body }) => [operation, body.Session])).to.deep.equal([
      ['AssociateSoftwareToken', 'session 1'],
      ['VerifySoftwareToken', 'session 2'],
      ['RespondToAuthChallenge', 'session 3'],
    ])
    expect(asked[3]?.body).to.deep.include({
      ChallengeName: 'MFA_SETUP',
      ChallengeResponses: { USERNAME: 'ann', SECRET_HASH: hash('ann') },
    })
    script = { VerifySoftwareToken: { __type: 'EnableSoftwareTokenMFAException' } }
    expect(await codeOf(pool.answer(expected, '123456', null))).to.equal('code_invalid')
  })

  it('is answered that an app is to be used, if there is a choice', async () => {
    script = {
      InitiateAuth: challenge('SELECT_MFA_TYPE'),
      RespondToAuthChallenge: { ...challenge('SOFTWARE_TOKEN_MFA'), Session: 'session 2' },
    }
    const begun = { username: 'ann', session: 'session 2', secret: null }
    expect(await login()).to.deep.equal(begun)
    expect(asked[1]?.body).to.deep.include({
      ChallengeResponses: {
        ...{ USERNAME: 'ann', ANSWER: 'SOFTWARE_TOKEN_MFA', SECRET_HASH: hash('ann') },
      },
    })
    script = { RespondToAuthChallenge: { __type: 'NotAuthorizedException' } }
    expect(await codeOf(pool.answer(begun, '123456', null))).to.equal('challenge_invalid')
  })

  it('refuses in our words', async () => {
    for (const [type, code] of [
      ['NotAuthorizedException', 'invalid_credentials'],
      ['UserNotFoundException', 'invalid_credentials'],
      ['InvalidParameterException', 'invalid_credentials'],
      ['UserNotConfirmedException', 'sign_up_unconfirmed'],
      ['PasswordResetRequiredException', 'password_reset_required'],
      ['TooManyFailedAttemptsException', 'too_many_attempts'],
      ['LimitExceededException', 'too_many_attempts'],
      ['ResourceNotFoundException', 'provider_unavailable'],
      ['InternalErrorException', 'provider_unavailable'],
    ]) {
      script = { InitiateAuth: { __type: type ?? '', message: 'of Cognito' } }
      expect(await codeOf(login()), type).to.equal(code)
    }
    for (const [name, code] of [
      ['NEW_PASSWORD_REQUIRED', 'password_reset_required'],
      ['SMS_MFA', 'provider_refused'],
    ]) {
      script = { InitiateAuth: challenge(name ?? '') }
      expect(await codeOf(login()), name).to.equal(code)
    }
    script = { SignUp: { __type: 'InvalidPasswordException' } }
    const user = { username: 'ann', email: 'ann@example.com', password: 'pw' }
    expect(await codeOf(pool.signUp(user))).to.equal('pool_refused')
    script = { ConfirmSignUp: { __type: 'AliasExistsException' } }
    expect(await codeOf(pool.confirm('ann', '123456'))).to.equal('email_taken')
    for (const type of [
      'ExpiredCodeException',
      'NotAuthorizedException',
      'UserNotFoundException',
    ]) {
      script = { ConfirmSignUp: { __type: type }, ConfirmForgotPassword: { __type: type } }
      expect(await codeOf(pool.confirm('ann', '123456'))).to.equal('code_invalid')
      expect(await codeOf(pool.reset('ann', '123456', 'pw'))).to.equal('code_invalid')
    }
  })

  it('lets nobody learn who is there: what is mailed is not said', async () => {
    for (const type of [
      ...['UserNotFoundException', 'InvalidParameterException', 'LimitExceededException'],
      'NotAuthorizedException',
    ]) {
      const answer = { __type: type }
      script = { ForgotPassword: answer, ResendConfirmationCode: answer, AdminDeleteUser: answer }
      expect(await codeOf(pool.forgot('ann')), type).to.equal('done')
      expect(await codeOf(pool.sendCode('ann'))).to.equal('done')
      expect(await codeOf(pool.remove('ann'))).to.equal('done')
    }
    script = { ForgotPassword: { __type: 'InternalErrorException' } }
    expect(await codeOf(pool.forgot('ann'))).to.equal('provider_unavailable')
  })

  it('says once more who somebody is, or that it lets them in no more', async () => {
    script = {
      InitiateAuth: { AuthenticationResult: { IdToken: token({ 'cognito:groups': undefined }) } },
    }
    expect((await pool.refresh('ann', 'refresh'))?.groups).to.deep.equal([])
    expect(asked[0]?.body).to.deep.include({
      AuthFlow: 'REFRESH_TOKEN_AUTH',
      AuthParameters: { USERNAME: 'ann', REFRESH_TOKEN: 'refresh', SECRET_HASH: hash('ann') },
    })
    script = { InitiateAuth: { __type: 'NotAuthorizedException', message: 'User is disabled.' } }
    expect(await pool.refresh('ann', 'refresh')).to.equal(null)
  })

  it('is believed only what it has signed, for us, as an ID token, now', async () => {
    const past = Math.floor(Date.now() / 1000) - 31
    for (const [what, given] of [
      ['another pool', token({ iss: `${endpoint}/eu-west-1_Other0000` })],
      ['another client', token({ aud: 'other' })],
      ['an access token', token({ token_use: 'access', client_id: CLIENT })],
      ['expired', token({ exp: past })],
      [
        'another key',
        token({}, {}, generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey),
      ],
      ['none', `${encoded({ alg: 'none' })}.${encoded(claims())}.`],
      ['no subject', token({ sub: undefined })],
      ['nothing', ''],
    ] as const) {
      script = { InitiateAuth: tokens(given) }
      expect(await codeOf(login()), what).to.be.oneOf(['provider_refused', 'provider_unavailable'])
    }
  })
})
