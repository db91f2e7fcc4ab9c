import { Duration } from 'aws-cdk-lib'
import type { IVpc } from 'aws-cdk-lib/aws-ec2'
import { AlternateTarget, ListenerRuleConfiguration } from 'aws-cdk-lib/aws-ecs'
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
  /** A second target group, between which a deployment turns all requests at once. */
  readonly blueGreen: boolean
}

/**
 * The way from the load balancer to a service. The rules are made here, in the services' stack:
 * `listener.addTargetGroups` would put them beside the listener, in a circle of stacks.
 */
export class ServiceRoutes extends Construct {
  readonly targets: ApplicationTargetGroup
  /** One, or two with blue/green. */
  readonly allTargets: readonly ApplicationTargetGroup[]
  readonly alternate: AlternateTarget | undefined

  constructor(scope: Construct, id: string, props: ServiceRoutesProps) {
    super(scope, id)
    this.targets = this.#targets('Targets', `${props.name}-tg`, props)
    const green = props.blueGreen
      ? this.#targets('Green', `${props.name}-green-tg`, props)
      : undefined
    this.allTargets = green === undefined ? [this.targets] : [this.targets, green]
    const rules = this.#rules(props)
    if (green === undefined) return

    const [rule, another] = rules
    if (rule === undefined || another !== undefined) {
      throw new Error(`${props.name} must have one path rule: blue/green turns only one`)
    }
    this.alternate = new AlternateTarget('Alternate', {
      alternateTargetGroup: green,
      productionListener: ListenerRuleConfiguration.applicationListenerRule(rule),
    })
  }

  #targets(id: string, targetGroupName: string, { name, vpc }: ServiceRoutesProps) {
    return new ApplicationTargetGroup(this, id, {
      targetGroupName,
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

  #rules({ name, listener }: ServiceRoutesProps): ApplicationListenerRule[] {
    const [first, ...others] = this.allTargets
    if (first === undefined) return []
    // Both groups hang on the rule from the start: ECS refuses one that belongs to no listener.
    const weights = [first, ...others].map((targetGroup, index) => {
      return { targetGroup, weight: index === 0 ? 100 : 0 }
    })
    const action =
      others.length === 0
        ? ListenerAction.forward([first])
        : ListenerAction.weightedForward(weights)
    return pathsOf(name).map((path) => {
      return new ApplicationListenerRule(this, `rule-${path.priority}`, {
        listener,
        action,
        ...path,
      })
    })
  }
}
