import { Duration } from 'aws-cdk-lib'
import {
  AuthorizationType,
  type CfnAuthorizer,
  type CfnMethod,
  type CfnRestApi,
  EndpointAccessMode,
  EndpointType,
  HttpIntegration,
  type IVpcLink,
  LogGroupLogDestination,
  MethodLoggingLevel,
  RequestAuthorizer,
  type Resource,
  ResponseTransferMode,
  RestApi,
  SecurityPolicy,
} from 'aws-cdk-lib/aws-apigateway'
import type { IFunction } from 'aws-cdk-lib/aws-lambda'
import type { ILogGroup } from 'aws-cdk-lib/aws-logs'
import { Construct } from 'constructs'
import { OPEN_PATHS } from '../../src/http/edge.ts'
import { PATH_RULES } from '../../src/http/routing.ts'
import type { EdgeConfig } from '../config/schema.ts'
import { EDGE_API, EDGE_STAGE } from '../names.ts'
import { addAnswers } from './edge-answers.ts'
import { edgeLogFormat } from './edge-log-format.ts'

export type EdgeApiProps = {
  readonly edge: EdgeConfig
  readonly origins: readonly string[]
  readonly authorizer: IFunction
  readonly logs: ILogGroup
  readonly link: IVpcLink
  readonly loadBalancerArn: string
  /** Of the load balancer, as its certificate has it: `https://api.example.com`. */
  readonly address: string
}

/** As long as API Gateway streams an answer: exports and `/tasks/stream` take minutes. */
const LONGEST = Duration.minutes(15)

/**
 * The API as clients see it: the paths of the load balancer's rules, each passed on as it is. What needs no token has
 * a resource of its own, to the letter; everything else is behind the authorizer, and nothing else is there.
 */
export class EdgeApi extends Construct {
  readonly api: RestApi
  readonly #props: EdgeApiProps
  readonly #authorizer: RequestAuthorizer

  constructor(scope: Construct, id: string, props: EdgeApiProps) {
    super(scope, id)
    this.#props = props
    this.#authorizer = this.#asks(props.authorizer)
    this.api = this.#rest(props)
    addAnswers(this.api, props.origins)
    for (const path of OPEN_PATHS.map((path) => path.replace(/:(\w+)/g, '{$1}'))) {
      this.#pass(path, path, { open: true })
    }
    for (const path of GUARDED) {
      this.#pass(path, path, { open: false })
      this.#pass(`${path}/{proxy+}`, `${path}/{proxy}`, { open: false })
    }
  }

  #rest({ edge, logs }: EdgeApiProps): RestApi {
    const api = new RestApi(this, 'Api', {
      restApiName: EDGE_API,
      description: 'The API of Tasktrail',
      endpointTypes: [EndpointType.REGIONAL],
      disableExecuteApiEndpoint: edge.domain !== undefined,
      cloudWatchRole: true,
      deployOptions: {
        stageName: EDGE_STAGE,
        accessLogDestination: new LogGroupLogDestination(logs),
        accessLogFormat: edgeLogFormat(),
        // What went wrong in API Gateway itself; never what was sent.
        loggingLevel: MethodLoggingLevel.ERROR,
        dataTraceEnabled: false,
        metricsEnabled: true,
        tracingEnabled: true,
        throttlingRateLimit: edge.throttle.rate,
        throttlingBurstLimit: edge.throttle.burst,
      },
    })
    // Of its own name; the library has it only for domains.
    const own = api.node.defaultChild as CfnRestApi
    own.securityPolicy = SecurityPolicy.TLS13_1_2_PFS_PQ_2025_09
    own.endpointAccessMode = EndpointAccessMode.STRICT
    return api
  }

  /**
   * Nothing is cached: the key would be a token, and what a cache admits outlives its expiry. No header is named as
   * its source: API Gateway would refuse a request without it, and a token may also come in a cookie.
   */
  #asks(handler: IFunction): RequestAuthorizer {
    const authorizer = new RequestAuthorizer(this, 'Authorizer', {
      handler,
      identitySources: [],
      resultsCacheTtl: Duration.seconds(0),
    })
    // The library writes an empty text.
    const own = authorizer.node.defaultChild as CfnAuthorizer
    own.addPropertyDeletionOverride('IdentitySource')
    return authorizer
  }

  #pass(path: string, to: string, { open }: { readonly open: boolean }): void {
    const resource = this.api.root.resourceForPath(path)
    this.#method(resource, 'ANY', to, open)
    // A browser asks before it sends a token.
    if (!open) this.#method(resource, 'OPTIONS', to, true)
  }

  #method(resource: Resource, httpMethod: string, to: string, open: boolean): void {
    const { address, link, loadBalancerArn } = this.#props
    const variables = [...to.matchAll(/\{(\w+)\}/g)].map(([, name]) => `request.path.${name}`)
    const each = <T>(entry: (variable: string) => readonly [string, T]) =>
      Object.fromEntries(variables.map(entry))
    const integration = new HttpIntegration(`${address}/${EDGE_STAGE}${to}`, {
      httpMethod: 'ANY',
      proxy: true,
      options: {
        vpcLink: link,
        responseTransferMode: ResponseTransferMode.STREAM,
        timeout: LONGEST,
        ...(variables.length > 0 && {
          requestParameters: each((name) => [`integration.${name}`, `method.${name}`]),
        }),
      },
    })
    const method = resource.addMethod(httpMethod, integration, {
      ...(open
        ? { authorizationType: AuthorizationType.NONE }
        : { authorizer: this.#authorizer, authorizationType: AuthorizationType.CUSTOM }),
      ...(variables.length > 0 && {
        requestParameters: each((name) => [`method.${name}`, true]),
      }),
    })
    // The library's own integration with a load balancer is newer than this version of it.
    const resourceOf = method.node.defaultChild as CfnMethod
    resourceOf.addPropertyOverride('Integration.IntegrationTarget', loadBalancerArn)
  }
}

/** What the rules of the load balancer pass on and name with `/*`: the open ones stand alone. */
const GUARDED: readonly string[] = [
  ...new Set(
    PATH_RULES.filter(({ target }) => target === 'auth-service' || target === 'task-service')
      .flatMap(({ patterns }) => patterns)
      .filter((pattern) => pattern.endsWith('/*'))
      .map((pattern) => pattern.replace(/^\/v1(?=\/)/, '').replace(/\/\*$/, '')),
  ),
]
