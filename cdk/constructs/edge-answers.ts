import { type GatewayResponseOptions, ResponseType, type RestApi } from 'aws-cdk-lib/aws-apigateway'
import { TOKEN_MESSAGE } from '../../src/http/edge.ts'

/** The form of all errors; values of API Gateway's context stand in it as they are. */
const body = (error: string, message: string, code: string) =>
  `{"error":"${error}","message":"${message}","code":"${code}","request_id":"$context.requestId"}`

type Own = readonly [type: ResponseType, status: number, body: string]

/** What API Gateway answers itself, with the words of the local gateway. */
const ANSWERS: Readonly<Record<string, Own>> = {
  // No Authorization at all: the authorizer is not asked.
  TokenMissing: [
    ResponseType.UNAUTHORIZED,
    401,
    body('Unauthorized', TOKEN_MESSAGE.token_missing, 'token_missing'),
  ],
  // The authorizer has refused, and says why.
  TokenRefused: [
    ResponseType.ACCESS_DENIED,
    401,
    body('Unauthorized', '$context.authorizer.message', '$context.authorizer.code'),
  ],
  // Its strange name is what a path without a method is to API Gateway.
  NoSuchPath: [
    ResponseType.MISSING_AUTHENTICATION_TOKEN,
    404,
    body('Not Found', 'There is nothing at this path', 'route_not_found'),
  ],
  Throttled: [
    ResponseType.THROTTLED,
    429,
    body('Too Many Requests', 'Too many requests; slow down', 'too_many_requests'),
  ],
  AuthorizerFailed: [ResponseType.AUTHORIZER_FAILURE, 503, unavailable()],
  AuthorizerWrong: [ResponseType.AUTHORIZER_CONFIGURATION_ERROR, 503, unavailable()],
  BackendFailed: [ResponseType.INTEGRATION_FAILURE, 503, unavailable()],
  BackendLate: [ResponseType.INTEGRATION_TIMEOUT, 503, unavailable()],
  Other4xx: [
    ResponseType.DEFAULT_4XX,
    0,
    body('Bad Request', 'The request is malformed', 'malformed_request'),
  ],
  Other5xx: [
    ResponseType.DEFAULT_5XX,
    0,
    body('Internal Server Error', 'An unexpected error occurred', 'internal_error'),
  ],
}

function unavailable(): string {
  return body('Service Unavailable', 'Service unavailable', 'service_unavailable')
}

/** Gives the API's own errors our form, and the headers by which a page may read them. */
export function addAnswers(api: RestApi, origins: readonly string[]): void {
  for (const [id, [type, status, template]] of Object.entries(ANSWERS)) {
    const options: GatewayResponseOptions = {
      type,
      ...(status !== 0 && { statusCode: String(status) }),
      responseHeaders: { ...headersOf(status), ...sharedWith(origins) },
      templates: { 'application/json': template },
    }
    api.addGatewayResponse(id, options)
  }
}

const headersOf = (status: number): Record<string, string> => ({
  'X-Request-Id': 'context.requestId',
  'Cache-Control': "'no-store'",
  ...(status === 401 && { 'WWW-Authenticate': "'Bearer'" }),
  ...((status === 429 || status === 503) && { 'Retry-After': "'1'" }),
})

/** An answer of API Gateway's cannot choose: with several origins everybody may read that it refused. */
function sharedWith(origins: readonly string[]): Record<string, string> {
  const [only, another] = origins
  if (only === undefined) return {}
  return {
    'Access-Control-Allow-Origin': another === undefined ? `'${only}'` : "'*'",
    'Access-Control-Expose-Headers': "'WWW-Authenticate, Retry-After, X-Request-Id'",
  }
}
