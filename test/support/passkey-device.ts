import { createHash, createSign, generateKeyPairSync, randomBytes } from 'node:crypto'
import { isoCBOR } from '@simplewebauthn/server/helpers'
import { coseKey } from '../../src/infra/credentials/cose-key.ts'

type Options = {
  readonly challenge: string
  readonly rp?: { readonly id?: string }
  readonly rpId?: string
}

export type DeviceFacts = {
  readonly origin: string
  /** As the device claims it. @default what the options say */
  readonly domain?: string
  readonly challenge?: string
  readonly isVerified?: boolean
  readonly type?: string
}

const UP = 0x01
const UV = 0x04
const AT = 0x40

const sha256 = (bytes: Buffer | string): Buffer => createHash('sha256').update(bytes).digest()
const json = (value: object): Buffer => Buffer.from(JSON.stringify(value))

/** What a browser and its authenticator do (WebAuthn, ES256, without attestation), in software. */
export function passkeyDevice() {
  const id = randomBytes(32)
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  let count = 0

  const clientData = (type: string, options: Options, facts: DeviceFacts) =>
    json({
      type: facts.type ?? type,
      challenge: facts.challenge ?? options.challenge,
      origin: facts.origin,
      crossOrigin: false,
    })
  const head = (options: Options, facts: DeviceFacts, flags: number): Buffer => {
    const counter = Buffer.alloc(4)
    counter.writeUInt32BE(count)
    const domain = facts.domain ?? options.rp?.id ?? options.rpId ?? ''
    const all = UP | flags | (facts.isVerified === false ? 0 : UV)
    return Buffer.concat([sha256(domain), Buffer.from([all]), counter])
  }
  const answer = (response: Record<string, string>) => ({
    id: id.toString('base64url'),
    rawId: id.toString('base64url'),
    type: 'public-key' as const,
    response,
    clientExtensionResults: {},
  })

  return {
    id: id.toString('base64url'),

    create(options: Options, facts: DeviceFacts) {
      const length = Buffer.alloc(2)
      length.writeUInt16BE(id.length)
      const attested = [Buffer.alloc(16), length, id, coseKey(publicKey)]
      const authData = Buffer.concat([head(options, facts, AT), ...attested])
      const attestation = new Map<string, unknown>([
        ['fmt', 'none'],
        ['attStmt', new Map()],
        ['authData', Uint8Array.from(authData)],
      ])
      return answer({
        clientDataJSON: clientData('webauthn.create', options, facts).toString('base64url'),
        attestationObject: Buffer.from(isoCBOR.encode(attestation as never)).toString('base64url'),
      })
    },

    /** Each use counts, unless `counts` is false. */
    get(options: Options, facts: DeviceFacts, { counts = true } = {}) {
      if (counts) count++
      const data = clientData('webauthn.get', options, facts)
      const authData = head(options, facts, 0)
      const signed = createSign('sha256').update(Buffer.concat([authData, sha256(data)]))
      return answer({
        clientDataJSON: data.toString('base64url'),
        authenticatorData: authData.toString('base64url'),
        signature: signed.sign(privateKey).toString('base64url'),
      })
    },
  }
}
