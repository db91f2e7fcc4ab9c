import { BASE } from '../../src/http/edge.ts'

export type Account = { readonly username: string; readonly password: string }

/** For one answer. A visit of five answers still ends before its function would be cut off silently. */
const PATIENCE_MS = 5_000

/**
 * What users do: log in, list tasks, log out. Any unexpected answer is an error of one line, which can
 * contain neither password nor token: it says no more of an answer than its status and code.
 */
export async function visit(
  url: string,
  account: Account,
  patienceMs = PATIENCE_MS,
): Promise<void> {
  const call = caller(url, patienceMs)
  const token = await logIn(call, account)
  const { tasks } = await call('GET', '/tasks?limit=1', [200], { token })
  if (!Array.isArray(tasks)) throw new Error('GET /tasks?limit=1 answered without a list of tasks')
  await call('POST', '/auth/logout', [204], { token })
}

async function logIn(call: Call, account: Account): Promise<string> {
  const login = (...statuses: number[]) => call('POST', '/auth/login', statuses, { body: account })
  let { token } = await login(200, 401)
  if (token === undefined) {
    // The account does not exist yet, or no longer after a restore. If it does exist (409), the next login
    // says what is wrong.
    const body = { ...account, email: `${account.username}@canary.invalid` }
    await call('POST', '/auth/register', [201, 409], { body })
    ;({ token } = await login(200))
  }
  if (typeof token !== 'string') throw new Error('POST /auth/login answered without a token')
  return token
}

type Body = Readonly<Record<string, unknown>>
/** The body of an answer with one of the statuses; empty if it is not a JSON object. */
type Call = (
  method: 'GET' | 'POST',
  path: string,
  statuses: readonly number[],
  what: { readonly token?: string; readonly body?: object },
) => Promise<Body>

const caller =
  (url: string, patienceMs: number): Call =>
  async (method, path, statuses, { token, body }) => {
    const step = `${method} ${path}`
    const { status, text } = await answer(url + BASE + path, patienceMs, {
      method,
      headers: {
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    }).catch((error: Error) => {
      throw new Error(`${step}: ${reason(error, patienceMs)}`)
    })
    const said = parse(text)
    if (statuses.includes(status)) return said
    // One of our codes, not just any text.
    const code = /^[a-z_]+$/.test(String(said.code ?? '')) ? ` ${said.code}` : ''
    throw new Error(`${step} answered ${status}${code}`)
  }

async function answer(url: string, patienceMs: number, request: RequestInit) {
  const response = await fetch(url, {
    ...request,
    // Following it might send the password to an unchecked address.
    redirect: 'manual',
    signal: AbortSignal.timeout(patienceMs),
  })
  return { status: response.status, text: await response.text() }
}

/** The message of `fetch` itself says only that it failed. */
const reason = ({ name, message, cause }: Error, patienceMs: number): string =>
  name === 'TimeoutError'
    ? `no answer within ${patienceMs} ms`
    : ((cause as { code?: string } | undefined)?.code ?? message)

function parse(text: string): Body {
  try {
    return Object(JSON.parse(text))
  } catch {
    return {}
  }
}
