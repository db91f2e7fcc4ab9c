import { z } from 'zod'
import { PROVIDER_NAME } from './http/edge.ts'
import type { UserPoolOptions } from './infra/cognito/user-pool.ts'
import type { OidcClient } from './infra/oidc/oidc-provider.ts'
import { type Env, filled, httpUrl, present } from './settings.ts'

/** What is sent to a provider, secrets too, must not be read on the way. */
const isSafe = (url: string): boolean => {
  const { protocol, hostname } = URL.parse(url) ?? {}
  return protocol === 'https:' || ['localhost', '127.0.0.1', '[::1]'].includes(hostname ?? '')
}

const provider = z.strictObject({
  name: z.string().regex(PROVIDER_NAME),
  issuer: httpUrl.refine(isSafe),
  client_id: z.string().min(1),
  scopes: z.array(z.string().regex(/^[!-~]+$/)).default(['openid', 'email']),
})

const RULE =
  'must be a JSON list of {"name", "issuer", "client_id", "scopes"}: names of their own in small letters, digits ' +
  'and dashes, issuers by https, and scopes (or none) with openid'

const providers = z
  .string()
  .default('[]')
  .transform((text, context): readonly z.output<typeof provider>[] => {
    const { data } = z.array(provider).safeParse(jsonOf(text))
    const names = new Set(data?.map(({ name }) => name))
    const isSound =
      data?.length === names.size && data.every(({ scopes }) => scopes.includes('openid'))
    if (data !== undefined && isSound) return data
    context.addIssue(RULE)
    return z.NEVER
  })

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

const SECRET = 'OIDC_SECRET_'
const secretOf = (name: string) => SECRET + name.toUpperCase().replaceAll('-', '_')
export const isProviderSecret = (variable: string): boolean => variable.startsWith(SECRET)

/** Other identity providers, and where the passwords are. `PUBLIC_URL` is where browsers come back to. */
export const identitySettings = {
  OIDC_PROVIDERS: providers,
  IDENTITY: z.enum(['local', 'cognito'], 'must be local or cognito').default('local'),
}

const POOL_ID = /^[a-z0-9-]+_[A-Za-z0-9]+$/

const userPool = z.object({
  COGNITO_USER_POOL_ID: z.string().regex(POOL_ID, 'must be the id of a user pool'),
  COGNITO_CLIENT_ID: filled,
  COGNITO_CLIENT_SECRET: filled.optional(),
  COGNITO_ENDPOINT: httpUrl.optional(),
  AWS_REGION: filled,
})
/** `AWS_REGION` comes with all else that is of AWS. */
export const userPoolVariables = Object.keys(userPool.omit({ AWS_REGION: true }).shape)

/** What the environment has to say besides: of each provider its secret, and where browsers come back; of a user pool all. */
export function settingsOfIdentity(env: Env): z.ZodRawShape {
  const { OIDC_PROVIDERS, IDENTITY } = present(env)
  const { data = [] } = providers.safeParse(OIDC_PROVIDERS)
  const secrets = data.map(({ name }) => [secretOf(name), filled])
  return {
    ...(data.length > 0 && { PUBLIC_URL: httpUrl }),
    ...Object.fromEntries(secrets),
    ...(IDENTITY === 'cognito' && userPool.shape),
  }
}

/** Null: passwords are in our own database. Of settings that `settingsOfIdentity` is among. */
export function userPoolOf(settings: object): UserPoolOptions | null {
  if (!('COGNITO_USER_POOL_ID' in settings)) return null
  const named = settings as z.output<typeof userPool>
  return {
    pool_id: named.COGNITO_USER_POOL_ID,
    client_id: named.COGNITO_CLIENT_ID,
    client_secret: named.COGNITO_CLIENT_SECRET,
    region: named.AWS_REGION,
    endpoint: named.COGNITO_ENDPOINT,
  }
}

/** By name. Of settings that `settingsOfIdentity` is among. */
export function oidcClients(
  settings: z.output<z.ZodObject<typeof identitySettings>>,
): ReadonlyMap<string, OidcClient> {
  const secrets = settings as unknown as Readonly<Record<string, string>>
  return new Map(
    settings.OIDC_PROVIDERS.map(({ name, ...client }) => [
      name,
      { ...client, client_secret: secrets[secretOf(name)] ?? '' },
    ]),
  )
}
