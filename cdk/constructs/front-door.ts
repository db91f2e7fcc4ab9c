import { Duration } from 'aws-cdk-lib'
import type { ISecurityGroup, IVpc } from 'aws-cdk-lib/aws-ec2'
import {
  ApplicationListener,
  ApplicationLoadBalancer,
  ApplicationProtocol,
  ListenerAction,
  ListenerCertificate,
  SslPolicy,
  XffHeaderProcessingMode,
} from 'aws-cdk-lib/aws-elasticloadbalancingv2'
import type { IBucket } from 'aws-cdk-lib/aws-s3'
import { Construct } from 'constructs'
import { INTERNAL_LOAD_BALANCER, LOAD_BALANCER } from '../names.ts'
import { logBucket } from './log-bucket.ts'
import { addOwnAnswers, notFound } from './path-rules.ts'

export type FrontDoorProps = {
  readonly vpc: IVpc
  readonly securityGroup: ISecurityGroup
  /** @default - HTTP is served; with a certificate it only redirects */
  readonly certificateArn?: string | undefined
  readonly deletionProtection: boolean
  /** Behind API Gateway, which is the only one to reach it. */
  readonly internal: boolean
}

/** The load balancer, its listeners, and the paths that it answers itself. */
export class FrontDoor extends Construct {
  readonly loadBalancer: ApplicationLoadBalancer
  /** The one that serves requests: services add their rules to it. */
  readonly listener: ApplicationListener

  constructor(scope: Construct, id: string, props: FrontDoorProps) {
    super(scope, id)
    const { vpc, securityGroup, certificateArn, deletionProtection, internal } = props
    this.loadBalancer = new ApplicationLoadBalancer(this, 'LoadBalancer', {
      loadBalancerName: internal ? INTERNAL_LOAD_BALANCER : LOAD_BALANCER,
      vpc,
      vpcSubnets: { subnets: internal ? vpc.privateSubnets : vpc.publicSubnets },
      internetFacing: !internal,
      // The services take the last address for the client's. API Gateway has added that one; ours would add its own.
      ...(internal && { xffHeaderProcessingMode: XffHeaderProcessingMode.PRESERVE }),
      securityGroup,
      // Services keep connections for 75 s, so the service is never the one that closes first.
      idleTimeout: Duration.seconds(60),
      dropInvalidHeaderFields: true,
      deletionProtection,
    })
    this.loadBalancer.logAccessLogs(logBucket(this, 'AccessLogs') as IBucket)
    if (!internal && certificateArn !== undefined) this.#redirect()
    this.listener = certificateArn === undefined ? this.#plain() : this.#encrypted(certificateArn)
    addOwnAnswers(this, this.listener)
  }

  #plain(): ApplicationListener {
    return new ApplicationListener(this, 'Http', {
      loadBalancer: this.loadBalancer,
      port: 80,
      protocol: ApplicationProtocol.HTTP,
      open: false,
      defaultAction: notFound(),
    })
  }

  #redirect(): void {
    new ApplicationListener(this, 'Http', {
      loadBalancer: this.loadBalancer,
      port: 80,
      protocol: ApplicationProtocol.HTTP,
      open: false,
      defaultAction: ListenerAction.redirect({ protocol: 'HTTPS', port: '443', permanent: true }),
    })
  }

  #encrypted(certificateArn: string): ApplicationListener {
    return new ApplicationListener(this, 'Https', {
      loadBalancer: this.loadBalancer,
      port: 443,
      protocol: ApplicationProtocol.HTTPS,
      certificates: [ListenerCertificate.fromArn(certificateArn)],
      sslPolicy: SslPolicy.RECOMMENDED_TLS,
      open: false,
      defaultAction: notFound(),
    })
  }
}
