import { type Agent, request } from 'node:http'
import { text } from 'node:stream/consumers'
import fc from 'fast-check'
import {
  mostly,
  nastyBody,
  nastyHeaders,
  nastyObject,
  nastyText,
  type Schema,
} from './hostile-values.ts'

// Requests that nobody means well with. The routes are read from the OpenAPI documents, so that a new
// one is attacked unasked.

type Operation = {
  readonly security: readonly object[]
  readonly parameters: readonly { name: string; in: string; schema: Schema }[]
  readonly requestBody?: { content: { 'application/json': { schema: Schema } } }
}
export type Document = {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> }
}

/** Whose token a request carries; a forged one only looks like one. */
export type Who = 'nobody' | 'forged' | 'ann' | 'bob'

export type Hostile = {
  readonly who: Who
  readonly method: string
  /** Path and query as they go over the wire. */
  readonly target: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer | undefined
  /** The route it is meant for lets in only who has a token. */
  readonly guarded: boolean
}

const METHODS = 'GET HEAD POST PUT PATCH DELETE OPTIONS TRACE PROPFIND SEARCH QUERY LOCK'.split(' ')

// What stands in no document.
const DOCS = ['openapi.json', 'docs', 'docs/start.js', 'docs/swagger-ui.css'].flatMap((page) => [
  `/auth/${page}`,
  `/tasks/${page}`,
])
const UNDOCUMENTED: Document = {
  paths: Object.fromEntries(
    DOCS.map((path) => [path, { get: { security: [], parameters: [] } satisfies Operation }]),
  ),
  components: { schemas: {} },
}

/** Requests against every route of the documents, and the documents' own. */
export function hostileRequests(documents: readonly Document[]): fc.Arbitrary<Hostile> {
  const routes = [...documents, UNDOCUMENTED].flatMap((document) =>
    Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({
        weight: weightOf(path, operation),
        arbitrary: hostile(document, path, method, operation),
      })),
    ),
  )
  return fc.oneof(...routes)
}

/**
 * Passwords take long to check, and pages and health checks look at nothing. A task's own path has the
 * most that can go wrong.
 */
const weightOf = (path: string, { requestBody, security }: Operation): number => {
  if (path.startsWith('/auth') && requestBody) return 2
  if (path === '/tasks/{id}') return 12
  return security.length > 0 ? 6 : 1
}

function hostile(
  { components }: Document,
  path: string,
  method: string,
  operation: Operation,
): fc.Arbitrary<Hostile> {
  const schema = operation.requestBody?.content['application/json'].schema ?? {}
  const named = components.schemas[schema.$ref?.split('/').at(-1) ?? '']
  const { properties = {} } = named ?? schema
  const queries = operation.parameters.filter((parameter) => parameter.in === 'query')
  // Logging out ends a token that the others need.
  const strangers = fc.constantFrom<Who>('nobody', 'forged')
  const callers = fc.constantFrom<Who>('ann', 'ann', 'bob')
  return fc
    .record({
      who: path === '/auth/logout' ? strangers : mostly(3, callers, strangers),
      method: mostly(12, fc.constant(method.toUpperCase()), fc.constantFrom(...METHODS)),
      place: segment.map((id) => path.replace(/\{\w+\}/, () => id)),
      tail: mostly(12, fc.constant(''), fc.constantFrom('/', '//', '/x', '%20', '/../tasks', ';a')),
      query: fc.option(query(queries), { freq: queries.length > 0 ? 4 : 1, nil: '' }),
      headers: mostly(1, fc.constant({}), nastyHeaders),
      body: fc.option(nastyBody(properties), {
        freq: operation.requestBody ? 20 : 1,
        nil: undefined,
      }),
    })
    .map(({ place, tail, query, body, headers, ...rest }) => ({
      ...rest,
      target: `${place}${tail}${query && `?${query}`}`,
      guarded: operation.security.length > 0,
      body,
      headers: { ...(body && { 'content-type': 'application/json' }), ...headers },
    }))
}

const escaping = (piece: unknown): string => {
  const text = typeof piece === 'string' ? piece : JSON.stringify(piece)
  return encodeURIComponent(text.toWellFormed()).slice(0, 4_000)
}
const escaped = nastyText.map(escaping)
const segment = mostly(
  3,
  fc.integer({ min: 1, max: 60 }).map(String),
  fc.oneof(
    escaped,
    fc.constantFrom('%', '%zz', '%ff', '%c0%80', '%00', '..', '%2e%2e', '%2f', ';', ''),
  ),
)

function query(parameters: Operation['parameters']): fc.Arbitrary<string> {
  const of = Object.fromEntries(parameters.map(({ name, schema }) => [name, schema]))
  const pairs = nastyObject(of, 0).map((values) =>
    Object.entries(values).map(([name, value]) => `${escaping(name)}=${escaping(value)}`),
  )
  const strange = fc.constantFrom('&&', '=', '%', 'limit=1&limit=2', 'a[b]=c', 'q=%ff', '?')
  return mostly(
    4,
    pairs.map((each) => each.join('&')),
    fc.oneof(escaped, strange),
  )
}

export type Reply = { readonly status: number; readonly headers: Headers; readonly body: string }

/** Sends a request as it stands: nothing is normalised. */
export function send(
  agent: Agent,
  url: string,
  token: string | undefined,
  { method, target: path, headers: given, body: whole }: Hostile,
): Promise<Reply> {
  const { hostname, port } = new URL(url)
  // Node's client writes the body of a HEAD without saying where it ends.
  const { 'transfer-encoding': coding, ...rest } = given
  const body = method === 'HEAD' ? undefined : whole
  const headers = {
    ...rest,
    ...(body && (coding ? { 'transfer-encoding': coding } : { 'content-length': body.length })),
    ...(token !== undefined && { authorization: `Bearer ${token}` }),
  }
  return new Promise((resolve, reject) => {
    const sent = request({ agent, hostname, port, method, path, headers }, async (incoming) => {
      const { statusCode: status = 0, rawHeaders } = incoming
      const headers = new Headers()
      for (let n = 0; n < rawHeaders.length; n += 2) {
        headers.append(rawHeaders[n] ?? '', rawHeaders[n + 1] ?? '')
      }
      // A stream has no end to wait for.
      if (headers.get('content-type')?.startsWith('text/event-stream')) incoming.destroy()
      text(incoming)
        .catch(() => '')
        .then((body) => resolve({ status, headers, body }), reject)
    })
    sent.on('error', reject)
    sent.end(body)
  })
}
