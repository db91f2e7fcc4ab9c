import { STATUS_CODES } from 'node:http'
import { z } from 'zod'
import { type Answer, type Endpoint, typesOf } from './endpoint.ts'
import { type ErrorCode, STATUS } from './errors.ts'
import { MAX_BODY } from './json.ts'

const error = z
  .strictObject({
    error: z.string().meta({ description: 'Reason phrase of the status' }),
    message: z.string(),
    code: z.string().meta({ description: 'Stable; switch on this' }),
    request_id: z.string(),
    version: z.int().optional().meta({ description: 'The current version, with 412' }),
    details: z
      .array(z.strictObject({ field: z.string(), message: z.string() }))
      .optional()
      .meta({
        description:
          'What breaks a rule or stands in the way, by field; of more than fifty the first',
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

type Json = Record<string, unknown>

/** The OpenAPI 3.1 document of a service, made from the definitions that parse its requests. */
export function openApi(title: string, version: string, endpoints: readonly Endpoint[]): Json {
  const schemas: Json = {}
  const schemaOf = componentised(schemas)
  const paths: Record<string, Json> = {}
  for (const endpoint of endpoints) {
    const path = endpoint.path.replace(/:(\w+)/g, '{$1}')
    paths[path] = { ...paths[path], [endpoint.method]: operation(endpoint, schemaOf) }
  }
  return {
    openapi: '3.1.0',
    info: { title, version },
    servers: [{ url: '/' }],
    paths,
    components: {
      schemas,
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
        internal: { type: 'apiKey', in: 'header', name: 'X-Internal-Api-Key' },
      },
    },
  }
}

type SchemaOf = (schema: z.ZodType, io: 'input' | 'output') => Json

/** Turns zod into JSON Schema; schemas with an id become components and are referred to. */
function componentised(schemas: Json): SchemaOf {
  return (schema, io) => {
    const generated = z.toJSONSchema(schema, { io, unrepresentable: 'any' })
    const text = JSON.stringify(generated).replaceAll('"#/$defs/', '"#/components/schemas/')
    const { $schema, $defs, ...own } = JSON.parse(text)
    Object.assign(schemas, $defs)
    return own
  }
}

function operation(endpoint: Endpoint, schemaOf: SchemaOf): Json {
  const { method, path, summary, description, access, body, answers } = endpoint
  const operationId = `${method} ${path}`.replace(/\W+(\w)?/g, (_, first: string = '') =>
    first.toUpperCase(),
  )
  const security = {
    open: [],
    public: [],
    token: [{ token: [] }],
    internal: [{ internal: [] }],
    'internal-with-token': [{ token: [], internal: [] }],
  }
  const responses = Object.entries(answers).map(([status, answer]) => [
    status,
    response(answer, schemaOf),
  ])
  return {
    operationId,
    summary,
    ...(description && { description }),
    security: security[access],
    parameters: parameters(endpoint, schemaOf),
    ...(body && {
      requestBody: {
        // A request without a body counts as one with {}.
        required: !body.safeParse({}).success,
        description: `JSON in UTF-8, at most ${MAX_BODY.name}, no key twice in one object`,
        content: { 'application/json': { schema: schemaOf(body, 'input') } },
      },
    }),
    responses: { ...Object.fromEntries(responses), ...errorResponses(endpoint, schemaOf) },
  }
}

function parameters(endpoint: Endpoint, schemaOf: SchemaOf): Json[] {
  const places = { path: endpoint.params, query: endpoint.query, header: endpoint.headers }
  return Object.entries(places).flatMap(([place, shape]) => {
    const schema = schemaOf(z.object(shape ?? {}), 'input')
    const required = new Set((schema.required ?? []) as string[])
    return Object.entries((schema.properties ?? {}) as Record<string, Json>).map(
      ([name, { description, ...own }]) => ({
        name,
        in: place,
        required: required.has(name),
        ...(description !== undefined && { description }),
        schema: own,
      }),
    )
  })
}

function response(answer: Answer, schemaOf: SchemaOf): Json {
  const { description, body, headers, type = 'application/json', others } = answer
  const bodies = { ...(body && { [type]: body }), ...others }
  const named = Object.entries(headers ?? {}).map(([name, says]) => [
    name,
    { description: says, schema: { type: 'string' } },
  ])
  return {
    description,
    ...(named.length > 0 && { headers: Object.fromEntries(named) }),
    ...(body && {
      content: Object.fromEntries(
        Object.entries(bodies).map(([each, shape]) => [
          each,
          { schema: schemaOf(shape, 'output') },
        ]),
      ),
    }),
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

function errorResponses(endpoint: Endpoint, schemaOf: SchemaOf): Json {
  const codes = new Set<ErrorCode>([
    ...ALWAYS,
    'validation_failed',
    ...BY_ACCESS[endpoint.access],
    ...(typesOf(endpoint).length > 0 ? (['not_acceptable'] as const) : []),
    ...(endpoint.body ? WITH_BODY : (['unexpected_body'] as const)),
    ...(endpoint.errors ?? []),
  ])
  const byStatus = Map.groupBy(codes, (code) => STATUS[code])
  const content = {
    'application/json': { schema: schemaOf(error, 'output') },
    'application/problem+json': { schema: schemaOf(problem, 'output') },
  }
  return Object.fromEntries(
    [...byStatus].map(([status, named]) => {
      const description = `${STATUS_CODES[status]}: ${named.join(', ')}`
      return [String(status), { description, content }]
    }),
  )
}
