import type { Router } from '@koa/router'
import type { Context } from 'koa'
import { z } from 'zod'
import type { Caller } from '../app/ports/authorization.ts'
import type { Role } from '../domain/user.ts'
import { readBody, refuseBody } from './body.ts'
import { negotiate } from './content-types.ts'
import { type ErrorCode, type Fault, HttpError } from './errors.ts'
import { faultsOf, firstOf } from './fields.ts'
import { inPlace, type Places, places } from './places.ts'
import { byAddress } from './rate-limit.ts'
import { readQuery, requireEncoded } from './request-target.ts'

/** Where the passwords of accounts are: in our own database, or in a user pool of Cognito. */
export type Identity = 'local' | 'cognito'

/** What a successful answer looks like. */
export type Answer = {
  readonly description: string
  readonly body?: z.ZodType
  /** Descriptions of headers by name. */
  readonly headers?: Readonly<Record<string, string>>
  /** `application/json` by default. */
  readonly type?: string
  /** Bodies of other types, by content negotiation (Accept). */
  readonly others?: Readonly<Record<string, z.ZodType>>
}

type Shape = z.ZodRawShape

/**
 * One call of the API: what is parsed is what the OpenAPI document shows. Headers not named here are
 * ignored; any other input not named here is refused.
 */
export type Endpoint<
  P extends Shape = Shape,
  Q extends Shape = Shape,
  H extends Shape = Shape,
  B extends Shape = Shape,
> = {
  readonly method: 'get' | 'post' | 'put' | 'patch' | 'delete'
  readonly path: string
  readonly summary: string
  readonly description?: string
  /**
   * Who may call: anyone, uncounted (`open`) or within the rate limit (`public`); holders of a valid token;
   * Tasktrail's own services, with the internal key, and with a user's token where they ask about it.
   */
  readonly access: 'open' | 'public' | 'token' | 'internal' | 'internal-with-token'
  /** Of those who hold a token: whose role lets them. @default every role */
  readonly roles?: readonly [Role, ...Role[]]
  /** Where passwords are, for what is different there; elsewhere the call is refused. */
  readonly identity?: Identity
  readonly params?: P
  readonly query?: Q
  /** Parameters of the query that are not named here are ignored: others send what they like. */
  readonly othersInQuery?: true
  readonly headers?: H
  readonly body?: z.ZodObject<B>
  readonly answers: Readonly<Record<number, Answer>>
  /** In addition to those that follow from access, body and parameters. */
  readonly errors?: readonly ErrorCode[]
}

export type Input<P extends Shape, Q extends Shape, H extends Shape, B extends Shape> = {
  readonly params: z.output<z.ZodObject<P>>
  readonly query: z.output<z.ZodObject<Q>>
  readonly headers: z.output<z.ZodObject<H>>
  readonly body: z.output<z.ZodObject<B>>
}

/** Throws unless the endpoint's access and roles allow the call. Returns the caller where access is by token. */
export type Admit = (
  ctx: Context,
  endpoint: Pick<Endpoint, 'access' | 'roles'>,
) => Promise<Caller | undefined>

/** Of those that are still on their way: each may be of 128 KiB, and takes as long as it takes. */
const BODIES: Places = { all: 256, each: 32, waiting: 100, ms: 2_000, retryAfter: 2 }

/** Adds routes to a router; each admits, parses all of the input, and calls its handler. */
export function routes(router: Router, admit: Admit, identity: Identity = 'local') {
  const bodies = places(BODIES)

  function on<P extends Shape, Q extends Shape, H extends Shape, B extends Shape>(
    endpoint: Endpoint<P, Q, H, B> & { readonly access: 'token' },
    handler: (input: Input<P, Q, H, B>, ctx: Context, caller: Caller) => Promise<void>,
  ): void
  function on<P extends Shape, Q extends Shape, H extends Shape, B extends Shape>(
    endpoint: Endpoint<P, Q, H, B>,
    handler: (input: Input<P, Q, H, B>, ctx: Context) => Promise<void>,
  ): void
  function on<P extends Shape, Q extends Shape, H extends Shape, B extends Shape>(
    endpoint: Endpoint<P, Q, H, B>,
    handler: (input: Input<P, Q, H, B>, ctx: Context, caller: Caller) => Promise<void>,
  ): void {
    const parse = parser(endpoint)
    const types = typesOf(endpoint)
    router[endpoint.method](endpoint.path, async (context: Context) => {
      context.state.route = endpoint.path
      if ((endpoint.identity ?? identity) !== identity) throw new HttpError('identity_elsewhere')
      let caller = await admit(context, endpoint)
      if (types.length > 0) negotiate(context, types)
      const isWhole = context.req.complete
      const read = () => (endpoint.body ? readBody(context) : refuseBody(context))
      const whose = caller?.user_id ?? byAddress(context)
      const body = await (isWhole ? read() : inPlace(bodies, whose, read))
      // A body may arrive slowly, and the session may have ended since.
      if (!isWhole && endpoint.access === 'token') caller = await admit(context, endpoint)
      await handler(parse(context, body), context, caller as Caller)
    })
  }
  return on
}

/** What a call may answer with, errors aside; the first one is the default. */
export function typesOf({ answers }: { readonly answers: Endpoint['answers'] }): readonly string[] {
  const types = Object.values(answers).flatMap(
    ({ body, type = 'application/json', others = {} }) =>
      body ? [type, ...Object.keys(others)] : [],
  )
  return [...new Set(types)]
}

function parser<P extends Shape, Q extends Shape, H extends Shape, B extends Shape>(
  endpoint: Endpoint<P, Q, H, B>,
) {
  const params = z.strictObject(endpoint.params ?? ({} as P))
  const query = (endpoint.othersInQuery ? z.object : z.strictObject)(endpoint.query ?? ({} as Q))
  const headers = z.strictObject(endpoint.headers ?? ({} as H))
  const body = endpoint.body ?? z.object({} as B)

  return (ctx: Context, sent: unknown): Input<P, Q, H, B> => {
    requireEncoded(ctx.path)
    const faults: Fault[] = []
    const part = <T extends z.ZodObject>(
      schema: T,
      value: unknown,
      noun: Parameters<typeof faultsOf>[2],
    ): z.output<T> => {
      const result = schema.safeParse(value, { reportInput: true })
      if (result.success) return result.data
      faults.push(...faultsOf(result.error, Object.keys(schema.shape), noun))
      return {} as z.output<T>
    }
    const input = {
      params: part(params, ctx.params, 'parameter'),
      query: part(query, readQuery(ctx.querystring, faults), 'parameter'),
      headers: part(headers, named(ctx, Object.keys(headers.shape)), 'header'),
      body: part(body, endpoint.body ? sent : {}, 'field'),
    }
    if (faults.length > 0) throw new HttpError('validation_failed', { faults: firstOf(faults) })
    return input
  }
}

const named = (ctx: Context, names: readonly string[]): Record<string, unknown> =>
  Object.fromEntries(
    names
      .map((name) => [name, ctx.headers[name.toLowerCase()]])
      .filter(([, value]) => value !== undefined),
  )
