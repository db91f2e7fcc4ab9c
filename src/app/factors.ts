import { AppError } from './errors.ts'
import type { RefreshTokens, RequestContext } from './ports/accounts.ts'
import type { Caller } from './ports/authorization.ts'
import type {
  Challenge,
  Challenges,
  Factor,
  Factors,
  NewFactor,
  PasskeyAnswer,
  PasskeyCeremonies,
  PasskeyOptions,
  RecoveryCodes,
  TotpCodes,
} from './ports/factors.ts'
import { requireStepUp } from './step-up.ts'

/** Of one user. */
const MOST = 10
/** Milliseconds from the beginning of a step to its proof. */
export const CHALLENGE_MS = 5 * 60_000

export type FactorsDependencies = {
  readonly factors: Factors
  readonly challenges: Challenges
  readonly totp: TotpCodes
  readonly recoveryCodes: RecoveryCodes
  readonly ceremonies: PasskeyCeremonies
  readonly tokens: Pick<RefreshTokens, 'first' | 'hash'>
  readonly newId: () => string
}

/** Codes are shown once, with the first factor or when new ones are made. */
export type AddedFactor = {
  readonly factor: Factor
  readonly recovery_codes?: readonly string[]
}

export type FactorsOfUsers = ReturnType<typeof factorsOfUsers>

/** Second factors, and passkeys. Error of every use case: `database_unavailable`. */
export function factorsOfUsers(on: FactorsDependencies) {
  const { factors, challenges, totp, recoveryCodes, ceremonies, tokens, newId } = on

  /** Those of the caller. Errors: `step_up_required`, `too_many_factors`. */
  async function requireChange(caller: Caller, now: Date, room = 0): Promise<readonly Factor[]> {
    const own = await factors.ofUser(caller.user_id)
    requireStepUp(caller, { hasSecondFactor: own.length > 0, now })
    if (own.length + room > MOST) throw new AppError('too_many_factors')
    return own
  }

  async function begin(
    purpose: Challenge['purpose'],
    user_id: number | null,
    now: Date,
    secret: Buffer | null = null,
  ): Promise<string> {
    const token = tokens.first()
    const expires_at = new Date(now.getTime() + CHALLENGE_MS)
    const challenge = { purpose, user_id, credentials_version: null, amr: [], secret }
    await challenges.begin(tokens.hash(token), challenge, { now, expires_at })
    return token
  }

  /** Error: `challenge_invalid`. */
  async function begun(
    token: string,
    purpose: Challenge['purpose'],
    { user_id }: Caller,
    now: Date,
  ): Promise<Challenge> {
    const challenge = await challenges.find(tokens.hash(token), purpose, now)
    if (challenge?.user_id !== user_id) throw new AppError('challenge_invalid')
    return challenge
  }

  async function end(token: string): Promise<void> {
    if (!(await challenges.end(tokens.hash(token)))) throw new AppError('challenge_invalid')
  }

  async function newRecoveryCodes(caller: Caller, requestContext: RequestContext) {
    const codes = recoveryCodes.make()
    const hashes = codes.map((code) => recoveryCodes.hash(caller.user_id, code))
    await factors.setRecoveryCodes(caller, hashes, requestContext)
    return codes
  }

  async function add(
    caller: Caller,
    factor: NewFactor,
    requestContext: RequestContext,
  ): Promise<AddedFactor> {
    const added = await factors.add(caller, factor, requestContext)
    if ((await factors.recoveryCodes(caller.user_id)) > 0) return { factor: added }
    return { factor: added, recovery_codes: await newRecoveryCodes(caller, requestContext) }
  }

  return {
    async list({ user_id }: Caller) {
      return {
        factors: await factors.ofUser(user_id),
        recovery_codes_left: await factors.recoveryCodes(user_id),
      }
    },

    /** Errors: `step_up_required`, `too_many_factors`. */
    async beginTotp(caller: Caller, { now }: RequestContext) {
      await requireChange(caller, now, 1)
      const { text, uri, wrapped } = await totp.newSecret(caller)
      const challenge = await begin('new_totp', caller.user_id, now, wrapped)
      return { challenge, secret: text, uri, expires_in: CHALLENGE_MS / 1000 }
    },

    /** Errors: those of `beginTotp`, `challenge_invalid`, `code_invalid`. */
    async addTotp(
      caller: Caller,
      { challenge, code, name }: { challenge: string; code: string; name: string },
      requestContext: RequestContext,
    ): Promise<AddedFactor> {
      const { now } = requestContext
      await requireChange(caller, now, 1)
      const { secret } = await begun(challenge, 'new_totp', caller, now)
      const last_step = secret && (await totp.stepOf(caller.user_id, secret, code, now))
      if (secret === null || last_step === null) throw new AppError('code_invalid')
      await end(challenge)
      return add(caller, { id: newId(), name, totp: { secret, last_step } }, requestContext)
    },

    /** Errors: those of `beginTotp`. */
    async beginPasskey(caller: Caller, { now }: RequestContext) {
      await requireChange(caller, now, 1)
      const challenge = await begin('new_passkey', caller.user_id, now)
      const known = await factors.passkeyIds(caller.user_id)
      const options: PasskeyOptions = await ceremonies.registration(caller, challenge, known)
      return { challenge, options, expires_in: CHALLENGE_MS / 1000 }
    },

    /** Errors: those of `addTotp`, `passkey_known`. */
    async addPasskey(
      caller: Caller,
      { challenge, answer, name }: { challenge: string; answer: PasskeyAnswer; name: string },
      requestContext: RequestContext,
    ): Promise<AddedFactor> {
      await requireChange(caller, requestContext.now, 1)
      await begun(challenge, 'new_passkey', caller, requestContext.now)
      await end(challenge)
      const passkey = await ceremonies.registered(answer, challenge)
      if (passkey === null) throw new AppError('code_invalid')
      return add(caller, { id: newId(), name, passkey }, requestContext)
    },

    /** Errors: `step_up_required`, `factor_not_found`. */
    async remove(caller: Caller, id: string, requestContext: RequestContext): Promise<void> {
      await requireChange(caller, requestContext.now)
      const removed = await factors.remove(caller, id, requestContext)
      if (!removed) throw new AppError('factor_not_found')
    },

    /** In the place of those before. Error: `step_up_required`. */
    async newRecoveryCodes(caller: Caller, requestContext: RequestContext) {
      await requireChange(caller, requestContext.now)
      return newRecoveryCodes(caller, requestContext)
    },

    /** For whoever has a passkey, to sign in or to prove more: nothing in it depends on who asks. */
    async passkeyChallenge({ now }: RequestContext) {
      const challenge = await begin('passkey', null, now)
      const options: PasskeyOptions = await ceremonies.request(challenge)
      return { challenge, options, expires_in: CHALLENGE_MS / 1000 }
    },
  }
}
