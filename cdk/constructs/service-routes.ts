import { Duration } from 'aws-cdk-lib'
import type { IVpc } from 'aws-cdk-lib/aws-ec2'
import {
  ApplicationListenerRule,
  ApplicationProtocol,
  ApplicationProtocolVersion,
  ApplicationTargetGroup,
  type IApplicationListener,
  ListenerAction,
  TargetType,
} from 'aws-cdk-lib/aws-elasticloadbalancingv2'
import { Construct } from 'constructs'
import { type HttpServiceName, SERVICES } from '../catalogue.ts'
import { SERVICE_PORT } from '../names.ts'
import { pathsOf } from './path-rules.ts'

export type ServiceRoutesProps = {
  readonly name: HttpServiceName
  readonly vpc: IVpc
  readonly listener: IApplicationListener
}

/**
 * The way from the load balancer to a service. The rules are created here, in the services' stack:
 * `listener.addTargetGroups` would put them beside the listener and create a circular dependency of stacks.
 */
export class ServiceRoutes extends Construct {
  readonly targets: ApplicationTargetGroup

  constructor(scope: Construct, id: string, props: ServiceRoutesProps) {
    super(scope, id)
    this.targets = this.#targets(props)
    this.#rules(props)
  }

  #targets({ name, vpc }: ServiceRoutesProps): ApplicationTargetGroup {
    return new ApplicationTargetGroup(this, 'Targets', {
      targetGroupName: `${name}-tg`,
      vpc,
      targetType: TargetType.IP,
      protocol: ApplicationProtocol.HTTP,
      protocolVersion: ApplicationProtocolVersion.HTTP1,
      port: SERVICE_PORT,
      deregistrationDelay: Duration.seconds(30),
      healthCheck: {
        path: SERVICES[name].healthPath,
        interval: Duration.seconds(30),
        timeout: Duration.seconds(5),
        healthyThresholdCount: 2,
        unhealthyThresholdCount: 3,
        healthyHttpCodes: '200',
      },
    })
  }

  #rules({ name, listener }: ServiceRoutesProps): void {
    const action = ListenerAction.forward([this.targets])
    for (const path of pathsOf(name)) {
      new ApplicationListenerRule(this, `rule-${path.priority}`, { listener, action, ...path })
    }
  }
}
