import { CfnOutput, Stack, type StackProps } from 'aws-cdk-lib'
import {
  DomainName,
  EndpointType,
  type RestApi,
  VpcLink as RestVpcLink,
  SecurityPolicy,
} from 'aws-cdk-lib/aws-apigateway'
import { VpcLink } from 'aws-cdk-lib/aws-apigatewayv2'
import { Certificate } from 'aws-cdk-lib/aws-certificatemanager'
import { PolicyStatement } from 'aws-cdk-lib/aws-iam'
import { type IKey, Key } from 'aws-cdk-lib/aws-kms'
import type { NodejsFunction } from 'aws-cdk-lib/aws-lambda-nodejs'
import { LogGroup } from 'aws-cdk-lib/aws-logs'
import type { Construct } from 'constructs'
import type { EdgeConfig, Environment } from '../config/schema.ts'
import { EdgeAlarms } from '../constructs/edge-alarms.ts'
import { EdgeApi } from '../constructs/edge-api.ts'
import { fixedGroup } from '../constructs/fixed-group.ts'
import { handler } from '../constructs/handler.ts'
import { logGroup } from '../constructs/log-group.ts'
import { mayDecrypt } from '../constructs/secret-access.ts'
import { EDGE_API, EDGE_LOGS, EDGE_STAGE, edgeErrors, handlerLogs, handlerName } from '../names.ts'
import type { DataStack } from './data.ts'
import type { NetworkStack } from './network.ts'
import type { PlatformStack } from './platform.ts'

export type EdgeProps = StackProps & {
  readonly environment: Environment
  readonly edge: EdgeConfig
  readonly network: NetworkStack
  readonly data: DataStack
  readonly platform: PlatformStack
}

/** API Gateway, and its way to the load balancer: ADR 25. */
export class EdgeStack extends Stack {
  readonly #props: EdgeProps
  readonly #key: IKey

  constructor(scope: Construct, id: string, props: EdgeProps) {
    super(scope, id, props)
    this.#props = props
    this.#key = Key.fromKeyArn(this, 'Key', props.data.key.keyArn)
    const { environment, edge, platform } = props
    const logs = LogGroup.fromLogGroupName(this, 'Logs', EDGE_LOGS)
    const { loadBalancer } = platform.frontDoor
    const { api } = new EdgeApi(this, 'Edge', {
      edge,
      origins: environment.corsOrigins,
      authorizer: this.#authorizer(),
      logs,
      link: this.#link(),
      loadBalancerArn: loadBalancer.loadBalancerArn,
      address: edge.domain
        ? `https://${edge.domain}`
        : `http://${loadBalancer.loadBalancerDnsName}`,
    })
    // Otherwise API Gateway makes it: without our key, and for ever.
    const errors = logGroup(this, 'Errors', edgeErrors(api.restApiId), {
      environment,
      key: this.#key,
    })
    api.deploymentStage.node.addDependency(errors)
    this.#domain(api)
    new EdgeAlarms(this, 'Alarms', { topic: platform.alarms, logs })
  }

  /** The only one that the load balancer lets in. */
  #link() {
    const { vpc, edge } = this.#props.network
    const link = new VpcLink(this, 'Link', {
      vpcLinkName: EDGE_API,
      vpc,
      subnets: { subnets: vpc.privateSubnets },
      securityGroups: edge === undefined ? [] : [fixedGroup(this, edge)],
    })
    // The same link, as a REST API names one.
    return RestVpcLink.fromVpcLinkId(this, 'LinkOfApi', link.vpcLinkId)
  }

  /** It may read the two keys that sign tokens, and nothing else. */
  #authorizer(): NodejsFunction {
    const { data } = this.#props
    const { values } = data.secrets
    const current = values['signing-key'].secretArn
    const previous = values['previous-signing-key'].secretArn
    return handler(this, 'Authorizer', {
      file: 'authorizer',
      handler: 'onRequest',
      functionName: handlerName('authorizer'),
      logs: LogGroup.fromLogGroupName(this, 'AuthorizerLogs', handlerLogs('authorizer')),
      environment: { SIGNING_KEY_ARN: current, PREVIOUS_SIGNING_KEY_ARN: previous },
      statements: [
        new PolicyStatement({
          sid: 'ReadSigningKeys',
          actions: ['secretsmanager:GetSecretValue'],
          resources: [current, previous],
        }),
        mayDecrypt(this, this.#key.keyArn, [current, previous]),
      ],
    })
  }

  /** Without one the API answers by the name that AWS gives it. */
  #domain(api: RestApi): void {
    const { edge, environment } = this.#props
    if (edge.domain === undefined || environment.certificateArn === undefined) return
    const domain = new DomainName(this, 'Domain', {
      domainName: edge.domain,
      certificate: Certificate.fromCertificateArn(this, 'Certificate', environment.certificateArn),
      endpointType: EndpointType.REGIONAL,
      securityPolicy: SecurityPolicy.TLS_1_2,
    })
    domain.addBasePathMapping(api, { basePath: EDGE_STAGE, stage: api.deploymentStage })
    new CfnOutput(this, 'PointTheDomainTo', { value: domain.domainNameAliasDomainName })
  }
}
