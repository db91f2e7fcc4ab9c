import { createHmac } from 'node:crypto'
import {
  AdminDeleteUserCommand,
  AssociateSoftwareTokenCommand,
  type AuthenticationResultType,
  CognitoIdentityProviderClient,
  ConfirmForgotPasswordCommand,
  ConfirmSignUpCommand,
  ForgotPasswordCommand,
  InitiateAuthCommand,
  type InitiateAuthCommandOutput,
  ResendConfirmationCodeCommand,
  RespondToAuthChallengeCommand,
  SignUpCommand,
  VerifySoftwareTokenCommand,
} from '@aws-sdk/client-cognito-identity-provider'
import { AppError } from '../../app/errors.ts'
import type { PoolChallenge, PoolEntry, PoolLogin, UserPool } from '../../app/ports/user-pool.ts'
import { isUnknown, otherwise, poolCalls } from './pool-calls.ts'
import { poolTokens } from './pool-tokens.ts'

export type UserPoolOptions = {
  readonly pool_id: string
  readonly client_id: string
  /** Of a client that has one. */
  readonly client_secret: string | undefined
  readonly region: string
  /** In the place of AWS's. */
  readonly endpoint: string | undefined
}

/** Of the pool as an issuer of tokens; by the hosted UI it is the same. */
export const issuerOf = ({ pool_id, region, endpoint }: UserPoolOptions): string =>
  `${endpoint ?? `https://cognito-idp.${region}.amazonaws.com`}/${pool_id}`

const APP = 'SOFTWARE_TOKEN_MFA'

/** A user pool of Cognito, as its client with this id. */
export function cognitoUserPool(options: UserPoolOptions): UserPool {
  const { pool_id, client_id: ClientId, client_secret, region, endpoint } = options
  const client = new CognitoIdentityProviderClient({
    region,
    ...(endpoint !== undefined && { endpoint }),
    maxAttempts: 2,
  })
  const call = poolCalls(client)
  const userOf = poolTokens(issuerOf(options), ClientId)

  /** Proves to the pool, with each call, that it comes from this client. */
  const secretHash = (username: string): string | undefined =>
    client_secret &&
    createHmac('sha256', client_secret)
      .update(username + ClientId)
      .digest('base64')
  const as = (Username: string) => ({ ClientId, Username, SecretHash: secretHash(Username) })
  const parameters = (USERNAME: string, more: Record<string, string>) => {
    const SECRET_HASH = secretHash(USERNAME)
    return { USERNAME, ...(SECRET_HASH !== undefined && { SECRET_HASH }), ...more }
  }
  /** The pool weighs where a sign-in comes from. */
  const from = (ip: string | null) =>
    client_secret !== undefined && ip !== null ? { UserContextData: { IpAddress: ip } } : {}

  async function entry(
    given: AuthenticationResultType | undefined,
    mfa: boolean,
  ): Promise<PoolEntry> {
    const { IdToken = '', RefreshToken = '' } = given ?? {}
    return { user: await userOf(IdToken, mfa), refresh_token: RefreshToken }
  }

  const respond = (
    ChallengeName: 'SOFTWARE_TOKEN_MFA' | 'SELECT_MFA_TYPE' | 'MFA_SETUP',
    { username, session: Session }: Pick<PoolChallenge, 'username' | 'session'>,
    more: Record<string, string>,
    ip: string | null = null,
  ) => {
    const ChallengeResponses = parameters(username, more)
    return call(
      new RespondToAuthChallengeCommand({
        ...{ ClientId, ChallengeName, Session, ChallengeResponses },
        ...from(ip),
      }),
    )
  }

  async function next(answer: InitiateAuthCommandOutput, given: string): Promise<PoolLogin> {
    const { ChallengeName, Session: session = '', ChallengeParameters } = answer
    const username = ChallengeParameters?.USER_ID_FOR_SRP ?? given
    switch (ChallengeName) {
      case undefined:
        return entry(answer.AuthenticationResult, false)
      case APP:
        return { username, session, secret: null }
      case 'SELECT_MFA_TYPE':
        return next(await respond(ChallengeName, { username, session }, { ANSWER: APP }), username)
      case 'MFA_SETUP': {
        const begun = await call(new AssociateSoftwareTokenCommand({ Session: session }))
        return { username, session: begun.Session ?? '', secret: begun.SecretCode ?? '' }
      }
      case 'NEW_PASSWORD_REQUIRED':
        throw new AppError('password_reset_required')
      default:
        throw new AppError('provider_refused', { cause: new Error(`it asks for ${ChallengeName}`) })
    }
  }

  /** Sets up the app of a user who has none yet; the session goes on. */
  async function setUp(challenge: PoolChallenge, UserCode: string): Promise<PoolEntry> {
    const verified = await call(
      new VerifySoftwareTokenCommand({ Session: challenge.session, UserCode }),
    )
    if (verified.Status !== 'SUCCESS') throw new AppError('code_invalid')
    const session = verified.Session ?? ''
    const done = await respond('MFA_SETUP', { ...challenge, session }, {})
    return entry(done.AuthenticationResult, true)
  }

  async function answered(challenge: PoolChallenge, code: string, ip: string | null) {
    if (challenge.secret !== null) return setUp(challenge, code)
    const done = await respond(APP, challenge, { SOFTWARE_TOKEN_MFA_CODE: code }, ip)
    return entry(done.AuthenticationResult, true)
  }

  return {
    async signUp({ username, email, password }) {
      const UserAttributes = [{ Name: 'email', Value: email }]
      const asked = { ...as(username), Password: password, UserAttributes }
      await otherwise('pool_refused', call(new SignUpCommand(asked)))
    },

    async confirm(username, ConfirmationCode) {
      const asked = { ...as(username), ConfirmationCode }
      await otherwise('code_invalid', call(new ConfirmSignUpCommand(asked)))
    },

    async sendCode(username) {
      await silently(call(new ResendConfirmationCodeCommand(as(username))))
    },

    async login(username, PASSWORD, ip) {
      const AuthParameters = parameters(username, { PASSWORD })
      const AuthFlow = 'USER_PASSWORD_AUTH'
      const asked = { ClientId, AuthFlow, AuthParameters, ...from(ip) } as const
      const answer = await call(new InitiateAuthCommand(asked)).catch(wrong)
      return next(answer, username)
    },

    async answer(challenge, code, ip) {
      // Its session is over.
      return otherwise('challenge_invalid', answered(challenge, code, ip))
    },

    async refresh(username, REFRESH_TOKEN) {
      const AuthParameters = parameters(username, { REFRESH_TOKEN })
      try {
        const AuthFlow = 'REFRESH_TOKEN_AUTH'
        const done = await call(new InitiateAuthCommand({ ClientId, AuthFlow, AuthParameters }))
        return (await entry(done.AuthenticationResult, false)).user
      } catch (error) {
        if (isUnknown(error)) return null
        throw error
      }
    },

    async forgot(username) {
      await silently(call(new ForgotPasswordCommand(as(username))))
    },

    async reset(username, ConfirmationCode, Password) {
      const change = { ...as(username), ConfirmationCode, Password }
      await otherwise('code_invalid', call(new ConfirmForgotPasswordCommand(change)))
    },

    async remove(Username) {
      await silently(call(new AdminDeleteUserCommand({ UserPoolId: pool_id, Username })))
    },
  }
}

/** What breaks the rules for passwords is not theirs. */
function wrong(error: unknown): never {
  const breaksRules = error instanceof AppError && error.code === 'pool_refused'
  throw breaksRules ? new AppError('invalid_credentials') : error
}

/** Whatever the pool has against it stays here; only that it is away does not. */
async function silently(work: Promise<unknown>): Promise<void> {
  try {
    await work
  } catch (error) {
    if (!(error instanceof AppError) || error.code === 'provider_unavailable') throw error
  }
}
