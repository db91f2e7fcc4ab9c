import { generateKeyPairSync } from 'node:crypto'
import { isIP } from 'node:net'
import {
  type AuthenticationResponseJSON,
  generateAuthenticationOptions,
  generateRegistrationOptions,
  type RegistrationResponseJSON,
  verifyAuthenticationResponse,
  verifyRegistrationResponse,
} from '@simplewebauthn/server'
import type { PasskeyCeremonies } from '../../app/ports/factors.ts'
import { coseKey } from './cose-key.ts'

const NAME = 'Tasktrail'

export type PasskeySite = {
  /** The domain that passkeys are for (WebAuthn: RP ID). */
  readonly domain: string
  /** From whose pages they are used. */
  readonly origins: readonly string[]
}

/**
 * Of the API's own address, and of those pages that share its domain. A passkey is for a domain, never for an address
 * of digits: on this machine that is localhost.
 */
export function passkeySite(url: string, pages: readonly string[]): PasskeySite {
  const own = new URL(url)
  if (isIP(own.hostname.replace(/^\[|\]$/g, '')) !== 0) own.hostname = 'localhost'
  const domain = own.hostname
  const isWithin = (page: string) => `.${new URL(page).hostname}`.endsWith(`.${domain}`)
  return { domain, origins: [own.origin, ...pages.filter(isWithin)] }
}

/** WebAuthn. Passkeys are kept by the device together with the account's name, so that signing in needs no name. */
export function passkeyCeremonies({ domain, origins }: PasskeySite): PasskeyCeremonies {
  const expected = (challenge: string) => ({
    expectedChallenge: challenge,
    expectedOrigin: [...origins],
    expectedRPID: domain,
    requireUserVerification: true,
  })
  const nobodys = coseKey(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey)

  return {
    registration: ({ user_id, username }, challenge, known) =>
      generateRegistrationOptions({
        rpName: NAME,
        rpID: domain,
        userName: username,
        userID: bytes(Buffer.from(String(user_id))),
        challenge: bytes(Buffer.from(challenge, 'base64url')),
        excludeCredentials: known.map((id) => ({ id })),
        authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
      }),

    async registered(answer, challenge) {
      const response = answer as RegistrationResponseJSON
      const verified = await refusedIfWrong(
        verifyRegistrationResponse({ response, ...expected(challenge) }),
      )
      if (!verified?.verified) return null
      const { id, publicKey, counter } = verified.registrationInfo.credential
      return { credential_id: id, public_key: Buffer.from(publicKey), sign_count: counter }
    },

    request: (challenge) =>
      generateAuthenticationOptions({
        rpID: domain,
        challenge: bytes(Buffer.from(challenge, 'base64url')),
        userVerification: 'required',
      }),

    async proven(answer, challenge, public_key) {
      const response = answer as AuthenticationResponseJSON
      // By a count that is not above its own, the library would refuse before it looks at the signature.
      const credential = { id: answer.id, publicKey: bytes(public_key ?? nobodys), counter: 0 }
      const verified = await refusedIfWrong(
        verifyAuthenticationResponse({ response, credential, ...expected(challenge) }),
      )
      const isProven = public_key !== null && verified?.verified
      return isProven ? verified.authenticationInfo.newCounter : null
    },
  }
}

/** The library throws for whatever is wrong with what a client has sent, and touches nothing but that. */
const refusedIfWrong = <T>(work: Promise<T>): Promise<T | null> => work.catch(() => null)

/** Its types want memory that is not shared. */
const bytes = (buffer: Buffer) => Uint8Array.from(buffer)
