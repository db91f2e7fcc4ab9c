import { randomUUID } from 'node:crypto'
import type { Log } from '../../src/app/ports/process.ts'
import { authService } from '../../src/auth-service.ts'
import { authServiceConfig, taskServiceConfig } from '../../src/config.ts'
import { route } from '../../src/http/routing.ts'
import { type KeyWrap, secretKeyWrap } from '../../src/infra/encryption/text-cipher.ts'
import type { Env } from '../../src/settings.ts'
import { taskService } from '../../src/task-service.ts'
import { checkContract } from './contract.ts'
import { type TestDatabase, testDatabase } from './postgres.ts'

export type Call = {
  readonly token?: string | undefined
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

export type Answer = {
  readonly status: number
  readonly headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: the contract check has just proven its shape
  readonly body: any
}

export type Client = (method: string, path: string, call?: Call) => Promise<Answer>

export type System = {
  readonly call: Client
  readonly database: TestDatabase
  readonly urls: { readonly auth: string; readonly task: string }
  readonly env: Env
  /** What the services logged, as text. */
  readonly logged: () => string
  readonly keyWrap: KeyWrap
  /** Registers and logs in a new user. */
  readonly newUser: () => Promise<{ id: number; username: string; password: string; token: string }>
  /** What SIGTERM does to task-service first. */
  readonly retire: () => void
  readonly stop: () => Promise<void>
}

const SECRETS = {
  JWT_SECRET: randomUUID() + randomUUID(),
  INTERNAL_API_KEY: randomUUID(),
  PASSWORD_PEPPER: randomUUID(),
  TEXT_KEY: randomUUID(),
}

/** A client that checks every answer against the OpenAPI documents. */
export const client =
  (urlOf: (path: string) => string): Client =>
  async (method, path, { token, body, headers = {} } = {}) => {
    const bare = path.replace(/\?.*/s, '')
    const response = await fetch(urlOf(bare) + path, {
      method,
      headers: {
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    checkContract(method, bare, response, text)
    const json = /[/+]json/.test(response.headers.get('content-type') ?? '') && text !== ''
    return {
      status: response.status,
      headers: response.headers,
      body: json ? JSON.parse(text) : text,
    }
  }

/**
 * Both services in this process, on free ports and a database of their own, limits off. Hashes cost next
 * to nothing unless a BCRYPT_COST is given.
 */
export async function startSystem(
  overrides: Env = {},
  clock = () => new Date(),
  database?: TestDatabase,
): Promise<System> {
  const db = database ?? (await testDatabase())
  const lines: string[] = []
  const note = (facts: object, message: string) =>
    void lines.push(JSON.stringify({ facts, message }))
  const log: Log = { info: note, warn: note, error: note }
  const limits = {
    RATE_LIMIT_PER_SECOND: '0',
    LOGIN_LIMIT_PER_MINUTE: '0',
    MAIL_LIMIT_PER_HOUR: '0',
  }
  const env = {
    ...SECRETS,
    ...limits,
    MAX_EVENT_LOOP_DELAY_MS: '0',
    DATABASE_URL: db.url,
    ...overrides,
  }

  // Less than a service takes: what a test registers protects nothing, and hundreds do.
  const cheap = overrides.BCRYPT_COST === undefined && { BCRYPT_COST: 4 }
  const auth = authService({ ...authServiceConfig(env), ...cheap }, log, clock)
  const authPort = (await auth.service.listen(0, '127.0.0.1')).port
  const AUTH_SERVICE_URL = overrides.AUTH_SERVICE_URL ?? `http://127.0.0.1:${authPort}`
  const task = await taskService(taskServiceConfig({ ...env, AUTH_SERVICE_URL }), log, clock)
  const taskPort = (await task.service.listen(0, '127.0.0.1')).port

  const urls = { auth: `http://127.0.0.1:${authPort}`, task: `http://127.0.0.1:${taskPort}` }
  const isOfAuth = (path: string) =>
    /^\/(v1\/)?(auth\/validate|internal\/account)/.test(path) || route(path) === 'auth-service'
  const call = client((path) => (isOfAuth(path) ? urls.auth : urls.task))
  return {
    call,
    database: db,
    urls,
    env,
    logged: () => lines.join('\n'),
    keyWrap: secretKeyWrap(env.TEXT_KEY),
    newUser: () => newUser(call),
    retire: task.service.retire,
    stop: async () => {
      await Promise.all([task.service.close(1_000), auth.service.close(1_000)])
      await Promise.all([task.dispose(), auth.dispose()])
      if (database === undefined) await db.drop()
    },
  }
}

export async function newUser(call: Client) {
  const username = `u${randomUUID().replaceAll('-', '').slice(0, 20)}`
  const password = `pw-${randomUUID()}`
  const email = `${username}@example.com`
  const registered = await call('POST', '/auth/register', { body: { username, email, password } })
  if (registered.status !== 201) throw new Error(JSON.stringify(registered.body))
  const { status, body } = await call('POST', '/auth/login', { body: { username, password } })
  if (status !== 200) throw new Error(JSON.stringify(body))
  return { id: registered.body.user.id as number, username, password, token: body.token as string }
}
