import type { RequestContext } from './accounts.ts'
import type { Authentication } from './authorization.ts'

export const FACTOR_KINDS = ['totp', 'passkey'] as const
export type FactorKind = (typeof FACTOR_KINDS)[number]

/** Something that a user proves who they are with, besides the password. */
export type Factor = {
  readonly id: string
  readonly kind: FactorKind
  readonly name: string
  readonly created_at: string
  readonly last_used_at: string | null
}

/** `secret`: wrapped. `last_step`: the time step of the last code that was used. */
export type Totp = { readonly secret: Buffer; readonly last_step: number }

/** `credential_id`: base64url. `public_key`: COSE. */
export type Passkey = {
  readonly credential_id: string
  readonly public_key: Buffer
  readonly sign_count: number
}

export type NewFactor = {
  readonly id: string
  readonly name: string
} & ({ readonly totp: Totp } | { readonly passkey: Passkey })

type Who = { readonly user_id: number; readonly username: string }

/** Each change is recorded in the same statement. Error of every method: `database_unavailable`. */
export type Factors = {
  /** The oldest first. */
  readonly ofUser: (user_id: number) => Promise<readonly Factor[]>
  /** Recorded as `factor_added`. Error: `passkey_known`, if somebody has this passkey already. */
  readonly add: (who: Who, factor: NewFactor, requestContext: RequestContext) => Promise<Factor>
  /** With the last one go the recovery codes. Recorded as `factor_removed`. False: the user has no such factor. */
  readonly remove: (who: Who, id: string, requestContext: RequestContext) => Promise<boolean>
  readonly totps: (user_id: number) => Promise<readonly (Totp & { readonly id: string })[]>
  /** False: a code of this time step or a later one has been used. */
  readonly useTotp: (id: string, step: number, now: Date) => Promise<boolean>
  readonly passkeyIds: (user_id: number) => Promise<readonly string[]>
  readonly passkey: (
    credential_id: string,
  ) => Promise<(Passkey & { readonly id: string; readonly user_id: number }) | null>
  /** False: another use has counted as far or further. A passkey that does not count stays at zero. */
  readonly usePasskey: (id: string, sign_count: number, now: Date) => Promise<boolean>
  readonly recoveryCodes: (user_id: number) => Promise<number>
  /** Takes the place of those before. Recorded as `recovery_codes_made`. */
  readonly setRecoveryCodes: (
    who: Who,
    hashes: readonly Buffer[],
    requestContext: RequestContext,
  ) => Promise<void>
  /** Once. Recorded as `recovery_code_used`. */
  readonly useRecoveryCode: (
    who: Who,
    hash: Buffer,
    requestContext: RequestContext,
  ) => Promise<boolean>
}

/** `passkey`: to sign in, to be the second factor, or to step up; of nobody yet. */
export type Challenge = {
  readonly purpose: 'login' | 'passkey' | 'new_totp' | 'new_passkey'
  readonly user_id: number | null
  readonly credentials_version: number | null
  readonly amr: Authentication['amr']
  /** Of the TOTP that is to be added, wrapped. */
  readonly secret: Buffer | null
}

/** Steps that were begun, by the hash of what the client was given. Error of every method: `database_unavailable`. */
export type Challenges = {
  readonly begin: (
    hash: Buffer,
    challenge: Challenge,
    times: { readonly now: Date; readonly expires_at: Date },
  ) => Promise<void>
  /** Null: there is none such, or it has expired. */
  readonly find: (
    hash: Buffer,
    purpose: Challenge['purpose'],
    now: Date,
  ) => Promise<Challenge | null>
  /** False: another was first. */
  readonly end: (hash: Buffer) => Promise<boolean>
}

/** Codes of authenticator apps (RFC 6238): six digits, a new one every 30 seconds. */
export type TotpCodes = {
  /** `text` and `uri` are for the user's app; `wrapped` is what is stored. */
  readonly newSecret: (
    who: Who,
  ) => Promise<{ readonly text: string; readonly uri: string; readonly wrapped: Buffer }>
  /**
   * The time step whose code this is, of the present one and its neighbours; null: of none. Without a secret, because
   * the user has no app, null after as long.
   */
  readonly stepOf: (
    user_id: number,
    wrapped: Buffer | null,
    code: string,
    now: Date,
  ) => Promise<number | null>
}

export type RecoveryCodes = {
  readonly make: () => readonly string[]
  /** However its user writes it. */
  readonly hash: (user_id: number, code: string) => Buffer
}

/** What a browser is told and tells (WebAuthn, as its JSON). Opaque here. */
export type PasskeyOptions = object
export type PasskeyAnswer = { readonly id: string }

/**
 * What WebAuthn calls ceremonies. `challenge`: base64url. The device always verifies its user as well, by a PIN or a
 * finger: a passkey is two factors. Null: the answer is not the right one.
 */
export type PasskeyCeremonies = {
  readonly registration: (
    who: Who,
    challenge: string,
    known: readonly string[],
  ) => Promise<PasskeyOptions>
  readonly registered: (answer: PasskeyAnswer, challenge: string) => Promise<Passkey | null>
  readonly request: (challenge: string) => Promise<PasskeyOptions>
  /**
   * How often the passkey has been used, as it counts itself; zero if it does not. Without a key, because nobody has
   * this passkey, null after as long.
   */
  readonly proven: (
    answer: PasskeyAnswer,
    challenge: string,
    public_key: Buffer | null,
  ) => Promise<number | null>
}
