import type { Tokens } from '../../src/app/ports/accounts.ts'
import { refusal, TOKEN_MESSAGE, type TokenFault } from '../../src/http/edge.ts'
import { jwtTokens } from '../../src/infra/credentials/tokens.ts'

export type SigningKeys = { readonly current: string; readonly previous: string }

export type KeySource = {
  readonly readKeys: () => Promise<SigningKeys>
  /** Told when they could not be read again: the old ones go on. */
  readonly notRead: (error: unknown) => void
}

/** What API Gateway says of a request (type REQUEST); more than this is in it. */
export type AuthorizerEvent = {
  readonly methodArn: string
  readonly httpMethod: string
  readonly path: string
  readonly headers?: Readonly<Record<string, string | undefined>> | null
}

/** Milliseconds between two readings of the keys: whoever sends made-up tokens causes no more than that. */
const REREAD = 60_000

/**
 * Admits what auth-service would not refuse by the token alone, by the code of the local gateway. The keys are read
 * once, and again when a token is not signed by them: they may have been rotated. Without keys it fails, and nothing
 * is admitted.
 */
export function authorizer(source: KeySource, clock: () => Date) {
  const keys = keptKeys(source, clock)
  return async (event: AuthorizerEvent): Promise<object> => {
    const asked = {
      method: event.httpMethod,
      path: event.path,
      authorization: headerOf(event, 'authorization'),
      cookie: headerOf(event, 'cookie'),
    }
    const judge = (tokens: Tokens) => refusal(asked, (token) => void tokens.verify(token, clock()))
    const fault = judge(await keys.known())
    return answer(event.methodArn, fault === 'token_invalid' ? judge(await keys.latest()) : fault)
  }
}

function keptKeys({ readKeys, notRead }: KeySource, clock: () => Date) {
  let kept: Promise<Tokens> | undefined
  let readAt = 0

  const read = (): Promise<Tokens> => {
    readAt = clock().getTime()
    return readKeys().then(({ current, previous }) => jwtTokens(current, previous))
  }
  /** One reading for all requests that wait for it. */
  const known = (): Promise<Tokens> => {
    kept ??= read().catch((error) => {
      kept = undefined
      throw error
    })
    return kept
  }
  return {
    known,
    latest: (): Promise<Tokens> => {
      const before = kept
      if (before === undefined || clock().getTime() - readAt < REREAD) return known()
      kept = read().catch((error) => {
        notRead(error)
        return before
      })
      return kept
    },
  }
}

/** API Gateway passes names on as the client wrote them. */
function headerOf({ headers }: AuthorizerEvent, wanted: string): string | undefined {
  return Object.entries(headers ?? {}).find(([name]) => name.toLowerCase() === wanted)?.[1]
}

/** The context is what API Gateway's answer says: constructs/edge-answers.ts. */
const answer = (methodArn: string, fault: TokenFault | null) => ({
  principalId: 'caller',
  policyDocument: {
    Version: '2012-10-17',
    Statement: [
      {
        Action: 'execute-api:Invoke',
        Effect: fault === null ? 'Allow' : 'Deny',
        Resource: methodArn,
      },
    ],
  },
  ...(fault !== null && { context: { code: fault, message: TOKEN_MESSAGE[fault] } }),
})
