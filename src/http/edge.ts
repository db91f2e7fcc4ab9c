import { AppError } from '../app/errors.ts'

/** The documented base path of the API. */
export const BASE = '/v1'
const UNDER_BASE = `${BASE}/`

export const isVersioned = (path: string): boolean => path.startsWith(UNDER_BASE)

/** A path without the base path, which stands before it once at most. */
const bare = (path: string): string => (isVersioned(path) ? path.slice(BASE.length) : path)

/** What a page of documents loads, beside the document itself. */
export const DOCUMENT_ASSETS = {
  'swagger-ui.css': 'text/css',
  'swagger-ui-bundle.js': 'text/javascript',
  'favicon-32x32.png': 'image/png',
} as const

const documents = (base: string): readonly string[] =>
  [
    'openapi.json',
    'docs',
    'docs/start.js',
    ...Object.keys(DOCUMENT_ASSETS).map((name) => `docs/${name}`),
  ].map((name) => `${base}/${name}`)

/**
 * Without the base path. To the letter: it does not matter then what another spelling means to somebody else. `:name`
 * stands for the name of an identity provider.
 */
export const OPEN_PATHS: readonly string[] = [
  '/health',
  '/auth/health',
  '/tasks/health',
  '/auth/register',
  '/auth/login',
  '/auth/login/second-factor',
  '/auth/login/passkey',
  '/auth/passkeys/challenge',
  '/auth/refresh',
  '/auth/email/verify',
  '/auth/email/cancel',
  '/auth/password/reset-request',
  '/auth/password/reset',
  '/auth/link',
  '/auth/link/start.js',
  '/auth/password/strength',
  '/auth/register/confirm',
  '/auth/register/code',
  '/auth/password/code',
  '/auth/password/by-code',
  '/auth/providers',
  '/auth/providers/:name/start',
  '/auth/providers/:name/callback',
  ...documents('/auth'),
  ...documents('/tasks'),
]

/** Of an identity provider, as the configuration has them. */
export const PROVIDER_NAME = /^[a-z][a-z0-9-]{0,30}$/

const open = new Set(OPEN_PATHS)
/** A path with a provider's name as the list has it. */
const listed = (path: string): string => {
  const [, name, rest] = /^\/auth\/providers\/([^/]+)(\/[^/]+)$/.exec(path) ?? []
  return name !== undefined && PROVIDER_NAME.test(name) ? `/auth/providers/:name${rest}` : path
}

/** Whether the edge lets a request for this path through without a token. `path` has no query. */
export const isOpen = (path: string): boolean => open.has(listed(bare(path)))

/** What the refusal of a token says, wherever it is refused. */
export const TOKEN_MESSAGE = {
  token_missing: 'No authentication token provided',
  token_invalid: 'Invalid token',
  token_expired: 'Token has expired',
} as const

export type TokenFault = keyof typeof TOKEN_MESSAGE

const isTokenFault = (code: string): code is TokenFault => Object.hasOwn(TOKEN_MESSAGE, code)

/** Throws `token_invalid` or `token_expired`. */
export type VerifyToken = (token: string) => void

/** The token of `Authorization: Bearer …`. */
export function bearerOf(authorization: string): string | undefined {
  const [, token] = /^Bearer +(\S.*)$/i.exec(authorization) ?? []
  return token?.trim()
}

/**
 * Cookies of a browser's session. The prefix has browsers accept them only over TLS, from this host and for all its
 * paths (RFC 6265bis): no neighbour can set them.
 */
export const COOKIES = { access: '__Host-tasktrail', refresh: '__Host-tasktrail-refresh' } as const

/** A cookie that is sent once; sent twice it is nobody's. */
export function cookieOf(header: string, name: string): string | undefined {
  const prefix = `${name}=`
  const [value, another] = header
    .split(';')
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(prefix))
  return another === undefined ? value?.slice(prefix.length) : undefined
}

type Headers = { readonly authorization?: string | undefined; readonly cookie?: string | undefined }

/** The access token of a request: of its Authorization header if it has one, else of its cookie. */
export const tokenOf = ({ authorization, cookie }: Headers): string | undefined =>
  authorization ? bearerOf(authorization) : cookieOf(cookie ?? '', COOKIES.access)

type Asked = Headers & {
  readonly method: string
  /** As in the request line, without the query. */
  readonly path: string
}

/**
 * Why the edge refuses a request; null: it lets it through. What it cannot know, such as whether the session has
 * ended, auth-service decides on each request that is let through. `OPTIONS` changes and shows nothing, and a
 * browser sends it without a token.
 */
export function refusal(asked: Asked, verify: VerifyToken): TokenFault | null {
  if (asked.method === 'OPTIONS' || isOpen(asked.path)) return null
  const token = tokenOf(asked)
  if (token === undefined) return 'token_missing'
  try {
    verify(token)
    return null
  } catch (error) {
    if (error instanceof AppError && isTokenFault(error.code)) return error.code
    throw error
  }
}
