import { STATUS_CODES } from 'node:http'
import { z } from 'zod'
import {
  createDocument,
  type ZodOpenApiOperationObject,
  type ZodOpenApiPathsObject,
  type ZodOpenApiResponsesObject,
} from 'zod-openapi'
import { ROLES, type Role } from '../domain/user.ts'
import { BASE, COOKIES } from './edge.ts'
import { type Answer, type Endpoint, typesOf } from './endpoint.ts'
import { type ErrorCode, refusalOf, STATUS } from './errors.ts'
import { MAX_BODY } from './json.ts'

const error = z
  .strictObject({
    error: z.string().meta({ description: 'Reason phrase of the status' }),
    message: z.string(),
    code: z.string().meta({ description: 'Stable; switch on this' }),
    request_id: z.string(),
    version: z.int().optional().meta({ description: 'The current version, with 412' }),
    quota: z
      .strictObject({
        of: z.enum(['tasks', 'bytes', 'keyed_answers', 'photos', 'photo_bytes']),
        limit: z.int(),
        used: z.int(),
      })
      .optional()
      .meta({ description: 'Which one is used up, with `quota_exceeded`' }),
    details: z
      .array(z.strictObject({ field: z.string(), message: z.string() }))
      .optional()
      .meta({
        description:
          'What breaks a rule or is in conflict, by field; of more than fifty, the first fifty',
      }),
  })
  .meta({ id: 'Error' })

const problem = z
  .strictObject({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    instance: z.string(),
    ...error.omit({ error: true, message: true }).shape,
  })
  .meta({ id: 'Problem', description: 'RFC 9457, on Accept: application/problem+json' })

/** The OpenAPI 3.1 document of a service, generated from the definitions that parse its requests. */
export function openApi(title: string, version: string, endpoints: readonly Endpoint[]): object {
  const paths: ZodOpenApiPathsObject = {}
  for (const endpoint of endpoints) {
    const path = endpoint.path.replace(/[:*](\w+)/g, '{$1}')
    paths[path] = { ...paths[path], [endpoint.method]: operation(endpoint) }
  }
  return createDocument({
    openapi: '3.1.0',
    info: { title, version },
    servers: [{ url: BASE }],
    paths,
    components: {
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
        cookie: { type: 'apiKey', in: 'cookie', name: COOKIES.access },
        internal: { type: 'apiKey', in: 'header', name: 'X-Internal-Api-Key' },
      },
    },
  })
}

type Security = Record<string, string[]>

const SECURITY: Readonly<Record<Endpoint['access'], Security[]>> = {
  open: [],
  public: [],
  token: [{ token: [] }, { cookie: [] }],
  internal: [{ internal: [] }],
  'internal-with-token': [{ token: [], internal: [] }],
}

/** Which of those roles: one alternative for each (OpenAPI 3.1 lists roles where OAuth has scopes). */
const ofRoles = (security: readonly Security[], roles: readonly Role[]): Security[] =>
  roles.flatMap((role) =>
    security.map((each) => Object.fromEntries(Object.keys(each).map((scheme) => [scheme, [role]]))),
  )

/** Who may call, by their role. */
function callers({ access, roles, description }: Endpoint) {
  const paragraph = roles && `For the role${roles.length > 1 ? 's' : ''} ${roles.join(' and ')}.`
  const said = [paragraph, description].filter((part) => part !== undefined).join('\n\n')
  return {
    ...(said !== '' && { description: said }),
    security: roles ? ofRoles(SECURITY[access], roles) : SECURITY[access],
    // Also where it is everyone, so that each call says it.
    ...(access === 'token' && { 'x-roles': roles ?? ROLES }),
  }
}

function operation(endpoint: Endpoint): ZodOpenApiOperationObject {
  const { method, path, summary, body, answers } = endpoint
  const operationId = `${method} ${path}`.replace(/[^A-Za-z]+(\w)?/g, (_, first: string = '') =>
    first.toUpperCase(),
  )
  const responses = Object.entries(answers).map(([status, answer]) => [status, response(answer)])
  return {
    operationId,
    summary,
    ...callers(endpoint),
    requestParams: {
      path: z.object(endpoint.params ?? {}),
      query: z.object(endpoint.query ?? {}),
      header: z.object(endpoint.headers ?? {}),
    },
    ...(body && {
      requestBody: {
        // A missing body counts as {}.
        required: !body.safeParse({}).success,
        description: `JSON in UTF-8, at most ${MAX_BODY.name}, no duplicate keys`,
        content: { 'application/json': { schema: body } },
      },
    }),
    responses: { ...Object.fromEntries(responses), ...errorResponses(endpoint) },
  }
}

function response({ description, body, headers, type = 'application/json', others }: Answer) {
  const bodies = { ...(body && { [type]: body }), ...others }
  const content = Object.entries(bodies).map(([each, schema]) => [each, { schema }])
  const named = Object.entries(headers ?? {}).map(([name, says]) => [
    name,
    { description: says, schema: { type: 'string' } },
  ])
  return {
    description,
    ...(headers && { headers: Object.fromEntries(named) }),
    ...(body && { content: Object.fromEntries(content) }),
  }
}

const ALWAYS: readonly ErrorCode[] = ['overloaded', 'internal_error', 'too_many_requests']
const WITH_TOKEN: readonly ErrorCode[] = [
  'token_missing',
  'token_invalid',
  'token_expired',
  'session_ended',
  'auth_service_unavailable',
  'database_unavailable',
]
const BY_ACCESS: Readonly<Record<Endpoint['access'], readonly ErrorCode[]>> = {
  open: [],
  public: [],
  token: WITH_TOKEN,
  internal: ['internal_key_required', 'database_unavailable'],
  'internal-with-token': [...WITH_TOKEN, 'internal_key_required'],
}
const WITH_BODY: readonly ErrorCode[] = [
  'malformed_body',
  'body_too_large',
  'unsupported_media_type',
]

function errorResponses(endpoint: Endpoint): ZodOpenApiResponsesObject {
  const codes = new Set<ErrorCode>([
    ...ALWAYS,
    'validation_failed',
    ...BY_ACCESS[endpoint.access],
    ...(endpoint.access === 'token' && endpoint.method !== 'get'
      ? (['cross_site_request'] as const)
      : []),
    ...(endpoint.roles ? [refusalOf(endpoint.roles)] : []),
    ...(typesOf(endpoint).length > 0 ? (['not_acceptable'] as const) : []),
    ...(endpoint.identity ? (['identity_elsewhere'] as const) : []),
    ...(endpoint.body ? WITH_BODY : (['unexpected_body'] as const)),
    ...(endpoint.errors ?? []),
  ])
  const byStatus = Map.groupBy(codes, (code) => STATUS[code])
  const content = {
    'application/json': { schema: error },
    'application/problem+json': { schema: problem },
  }
  return Object.fromEntries(
    [...byStatus].map(([status, named]) => {
      const description = `${STATUS_CODES[status]}: ${named.join(', ')}`
      return [String(status), { description, content }]
    }),
  )
}
