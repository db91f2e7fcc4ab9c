import { expect } from 'chai'
import { authServiceConfig, environmentOf } from '../src/config.ts'
import { ConfigError, type Env } from '../src/settings.ts'

const AUTH = {
  DATABASE_URL: 'postgres://db.internal/tasks',
  INTERNAL_API_KEY: 'k'.repeat(16),
  JWT_SECRET: 'j'.repeat(32),
  PASSWORD_PEPPER: 'p'.repeat(16),
}
const ACME = { name: 'acme-2', issuer: 'https://id.acme.example', client_id: 'tasktrail' }
const PUBLIC_URL = 'https://tasks.example.com'

const parsed = (env: Env) => authServiceConfig({ ...AUTH, ...env })
function refusal(env: Env): string {
  try {
    parsed(env)
    return ''
  } catch (error) {
    if (error instanceof ConfigError) return error.message
    throw error
  }
}
const providers = (...list: unknown[]): Env => ({
  OIDC_PROVIDERS: JSON.stringify(list),
  OIDC_SECRET_ACME_2: 'secret',
  PUBLIC_URL,
})

describe('The settings of identity providers', () => {
  it('name none by default, and passwords are in our own database', () => {
    const { providers, userPool, IDENTITY } = parsed({})
    expect([providers.size, userPool, IDENTITY]).to.deep.equal([0, null, 'local'])
  })

  it('have each with its secret, and with scopes for the address if none are named', () => {
    const { name, ...client } = ACME
    const scopes = ['openid', 'email']
    const expected = { ...client, scopes, client_secret: 'secret' }
    expect([...parsed(providers(ACME)).providers]).to.deep.equal([[name, expected]])
    const more = { ...ACME, scopes: ['openid', 'email', 'profile'] }
    expect(parsed(providers(more)).providers.get(name)?.scopes).to.deep.equal(more.scopes)
  })

  it('name all that is missing at once', () => {
    const { OIDC_PROVIDERS } = providers(ACME)
    const said = refusal({ OIDC_PROVIDERS, IDENTITY: 'cognito' })
    for (const name of [
      ...['OIDC_SECRET_ACME_2', 'PUBLIC_URL', 'COGNITO_USER_POOL_ID', 'COGNITO_CLIENT_ID'],
      'AWS_REGION',
    ]) {
      expect(said).to.include(`${name} is missing`)
    }
    expect(said).not.to.match(/COGNITO_CLIENT_SECRET|COGNITO_ENDPOINT/)
  })

  it('refuse a list that is none, and providers that could not work or be trusted', () => {
    for (const wrong of [
      'acme',
      '{}',
      '[1]',
      ...[
        [{ ...ACME, name: 'Acme' }],
        [{ ...ACME, name: 'a'.repeat(32) }],
        [ACME, ACME],
        [{ ...ACME, issuer: 'http://id.acme.example' }],
        [{ ...ACME, issuer: 'id.acme.example' }],
        [{ ...ACME, client_id: '' }],
        [{ ...ACME, client_secret: 'here' }],
        [{ ...ACME, scopes: ['email'] }],
        [{ ...ACME, scopes: ['openid email'] }],
      ].map((list) => JSON.stringify(list)),
    ]) {
      const said = refusal({ ...providers(), OIDC_PROVIDERS: wrong })
      expect(said, wrong).to.include('OIDC_PROVIDERS must be a JSON list')
    }
    for (const host of ['localhost', '127.0.0.1', '[::1]']) {
      expect(refusal(providers({ ...ACME, issuer: `http://${host}:4000` }))).to.equal('')
    }
  })

  it('name a user pool and the client that we are there', () => {
    const env = {
      IDENTITY: 'cognito',
      COGNITO_USER_POOL_ID: 'eu-west-1_Ab1cD2eF3',
      COGNITO_CLIENT_ID: '1example23456789',
      AWS_REGION: 'eu-west-1',
    }
    expect(parsed(env).userPool).to.deep.equal({
      pool_id: 'eu-west-1_Ab1cD2eF3',
      client_id: '1example23456789',
      client_secret: undefined,
      region: 'eu-west-1',
      endpoint: undefined,
    })
    expect(refusal({ ...env, COGNITO_USER_POOL_ID: 'pool' })).to.include('the id of a user pool')
    expect(refusal({ ...env, IDENTITY: 'ldap' })).to.include('IDENTITY must be local or cognito')
  })

  it('go to auth-service alone, the credentials of AWS only with a user pool', () => {
    const env = {
      ...providers(ACME),
      IDENTITY: 'cognito',
      COGNITO_CLIENT_SECRET: 's',
      AWS_REGION: 'eu-west-1',
    }
    expect(environmentOf('auth-service', env)).to.deep.equal(env)
    for (const other of ['task-service', 'worker', 'witness'] as const) {
      const { AWS_REGION, ...rest } = environmentOf(other, env)
      expect(Object.keys(rest).join(), other).not.to.match(/OIDC|COGNITO|IDENTITY/)
    }
    const local = environmentOf('auth-service', { ...env, IDENTITY: 'local' })
    expect(local).not.to.have.property('AWS_REGION')
  })
})
