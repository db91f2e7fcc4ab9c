import { AppError } from './errors.ts'
import type { LoginAttempts, RequestContext, SecurityEvents } from './ports/accounts.ts'
import type { Authentication } from './ports/authorization.ts'
import type {
  Challenges,
  Factors,
  PasskeyAnswer,
  PasskeyCeremonies,
  RecoveryCodes,
  TotpCodes,
} from './ports/factors.ts'

export type FactorProofsDependencies = {
  readonly factors: Factors
  readonly challenges: Challenges
  readonly totp: TotpCodes
  readonly recoveryCodes: RecoveryCodes
  readonly ceremonies: PasskeyCeremonies
  readonly hash: (token: string) => Buffer
  readonly attempts: LoginAttempts
  readonly securityEvents: SecurityEvents
}

/** `challenge`: what `passkeyChallenge` gave. */
export type PasskeyProof = { readonly challenge: string; readonly answer: PasskeyAnswer }
export type FactorProof =
  | { readonly totp: string }
  | { readonly recovery_code: string }
  | { readonly passkey: PasskeyProof }

type Who = { readonly user_id: number; readonly username: string }
type Amr = Authentication['amr']

/**
 * Codes are counted for an account over all addresses: six digits are few. Only who has proven the first factor can
 * use that count up, and passkeys and recovery codes, which nobody guesses, are not counted.
 */
export const OF_CODES = 'second factor'

export type FactorProofs = ReturnType<typeof factorProofs>

/** Whether somebody has what they say. */
export function factorProofs(on: FactorProofsDependencies) {
  const { factors, challenges, totp, recoveryCodes, ceremonies, hash } = on
  const { attempts, securityEvents } = on

  async function isTotp({ user_id, username }: Who, code: string, { now }: RequestContext) {
    await attempts.begin(username, OF_CODES, now)
    const apps = await factors.totps(user_id)
    // Who has none is refused after as much work.
    for (const app of apps.length > 0 ? apps : [null]) {
      const step = await totp.stepOf(user_id, app?.secret ?? null, code, now)
      if (app === null || step === null || !(await factors.useTotp(app.id, step, now))) continue
      await attempts.clear(username, OF_CODES)
      return true
    }
    return false
  }

  /** Whose passkey it is. Errors: `challenge_invalid`, `code_invalid`. */
  async function passkeyOwner(proof: PasskeyProof, requestContext: RequestContext) {
    const { challenge, answer } = proof
    const { now } = requestContext
    const begun = hash(challenge)
    const known = await challenges.find(begun, 'passkey', now)
    if (known === null || !(await challenges.end(begun))) throw new AppError('challenge_invalid')
    const passkey = await factors.passkey(answer.id)
    const key = passkey?.public_key ?? null
    const count = await ceremonies.proven(answer, challenge, key)
    if (passkey && count !== null && (await factors.usePasskey(passkey.id, count, now))) {
      return passkey.user_id
    }
    const who = { user_id: passkey?.user_id ?? null, username: null }
    await securityEvents.add('passkey_failed', who, requestContext)
    throw new AppError('code_invalid')
  }

  return {
    passkeyOwner,

    /** How it proves who they are. Errors: `code_invalid`, `challenge_invalid`, `too_many_attempts`. */
    async prove(who: Who, proof: FactorProof, requestContext: RequestContext): Promise<Amr> {
      if ('passkey' in proof) {
        const owner = await passkeyOwner(proof.passkey, requestContext)
        if (owner === who.user_id) return ['hwk', 'mfa']
      } else if ('totp' in proof) {
        if (await isTotp(who, proof.totp, requestContext)) return ['otp']
      } else {
        const code = recoveryCodes.hash(who.user_id, proof.recovery_code)
        if (await factors.useRecoveryCode(who, code, requestContext)) return ['otp']
      }
      await securityEvents.add('second_factor_failed', who, requestContext)
      throw new AppError('code_invalid')
    },
  }
}
