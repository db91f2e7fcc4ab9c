import { z } from 'zod'
import { FACTOR_KINDS } from '../app/ports/factors.ts'
import { instant, text } from './fields.ts'

export const challenge = z
  .string()
  .regex(/^[\w-]{43}$/, 'must be a challenge that was given')
  .meta({ description: 'Given when this was begun; good for five minutes' })

export const name = text(1, 50, { trim: true })

const totp = z
  .string()
  .regex(/^\d{6}$/, 'must be the six digits that the app shows')
  .meta({ examples: ['123456'] })

/** What a browser's `navigator.credentials` gives, as its JSON. */
export const credential = z
  .looseObject({
    id: text(1, 1_400),
    rawId: z.string().max(1_400),
    type: z.literal('public-key'),
    response: z.looseObject({ clientDataJSON: z.string() }),
    clientExtensionResults: z.looseObject({}).default({}),
  })
  .meta({ id: 'PasskeyCredential', description: 'As PublicKeyCredential.toJSON() gives it' })

const proofs = {
  totp: totp.optional().meta({ description: 'The code that the authenticator app shows' }),
  recovery_code: text(1, 60).optional().meta({ description: 'One of the ten; good once' }),
  passkey: z
    .strictObject({ challenge, credential })
    .optional()
    .meta({ description: 'An answer to POST /auth/passkeys/challenge' }),
}

const oneOf = (fields: readonly string[]) => (body: object) =>
  fields.filter((field) => body[field as keyof typeof body] !== undefined).length === 1

const only = (fields: readonly string[]) => ({
  error: `must be sent, or another one of: ${fields.join(', ')}`,
  path: [fields[0] ?? ''],
})

const FACTORS = Object.keys(proofs)

export const secondFactor = z
  .strictObject({ challenge, cookie: z.boolean().optional(), ...proofs })
  .refine(oneOf(FACTORS), only(FACTORS))
  .meta({ id: 'SecondFactorProof', minProperties: 2 })

const ANY = ['password', ...FACTORS]

export const stepUp = z
  .strictObject({ password: text(1, 256, { blank: true }).optional(), ...proofs })
  .refine(oneOf(ANY), only(ANY))
  .meta({ id: 'StepUp', minProperties: 1, maxProperties: 1 })

export const passkeySignIn = z
  .strictObject({ challenge, credential, cookie: z.boolean().optional() })
  .meta({ id: 'PasskeySignIn' })

export const newTotp = z
  .strictObject({ challenge, code: totp, name: name.default('Authenticator app') })
  .meta({ id: 'NewTotp' })

export const newPasskey = z
  .strictObject({ challenge, credential, name: name.default('Passkey') })
  .meta({ id: 'NewPasskey' })

export const factorId = { id: z.uuid('must be a UUID') }

const factor = z
  .strictObject({
    id: z.uuid(),
    kind: z.enum(FACTOR_KINDS),
    name: z.string(),
    created_at: instant,
    last_used_at: instant.nullable(),
  })
  .meta({ id: 'Factor' })

export const factors = z.strictObject({
  factors: z.array(factor),
  recovery_codes_left: z.int(),
})

const codes = z.array(z.string()).meta({
  description: 'Shown this once; each stands in for the second factor, once',
  examples: [['k3vq-7m2x-h0wd-9ctz-5rjb-ne8k']],
})

export const addedFactor = z.strictObject({ factor, recovery_codes: codes.optional() })
export const recoveryCodes = z.strictObject({ recovery_codes: codes })

const expires_in = z.int().meta({ description: 'Seconds until it must be completed' })

export const begunTotp = z.strictObject({
  challenge: z.string(),
  secret: z.string().meta({ description: 'Base 32, to type into an app' }),
  uri: z.string().meta({ description: 'otpauth://…, to show as a QR code' }),
  expires_in,
})

export const begunPasskey = z.strictObject({
  challenge: z.string(),
  options: z.looseObject({}).meta({
    description: 'For navigator.credentials, by PublicKeyCredential.parse…OptionsFromJSON()',
  }),
  expires_in,
})

export const secondFactorAsked = z
  .strictObject({
    second_factor: z.strictObject({
      challenge: z.string(),
      expires_in,
      methods: z.array(z.enum([...FACTOR_KINDS, 'recovery_code'])),
      setup: z
        .strictObject({ secret: z.string() })
        .optional()
        .meta({ description: 'Of an authenticator app that a user pool wants set up first' }),
    }),
  })
  .meta({ id: 'SecondFactorAsked' })
