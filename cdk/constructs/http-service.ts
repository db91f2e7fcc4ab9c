import { Duration } from 'aws-cdk-lib'
import { AlarmBehavior, type BaseService } from 'aws-cdk-lib/aws-ecs'
import type { INamespace } from 'aws-cdk-lib/aws-servicediscovery'
import { Construct } from 'constructs'
import { type HttpServiceName, isCalled } from '../catalogue.ts'
import { CLUSTER, SERVICE_PORT } from '../names.ts'
import type { DesiredCounts } from './desired-counts.ts'
import { type EcsServiceProps, ecsService, foundByName } from './ecs-service.ts'
import { rollbackAlarms, type ServiceAlarms } from './service-alarms.ts'
import type { ServiceRoutes } from './service-routes.ts'
import { StepScaling } from './step-scaling.ts'

export type HttpServiceProps = EcsServiceProps & {
  readonly name: HttpServiceName
  readonly routes: ServiceRoutes
  /** Where it is registered, if other services call it. */
  readonly namespace: INamespace
  readonly alarms: ServiceAlarms
  readonly counts: DesiredCounts
}

/** A service behind the load balancer that scales by its CPU and rolls a bad deployment back. */
export class HttpService extends Construct {
  readonly service: BaseService

  constructor(scope: Construct, id: string, props: HttpServiceProps) {
    super(scope, id)
    const { name, routes, alarms, counts } = props
    this.service = ecsService(this, props, {
      ...this.#rollout(name),
      desiredCount: counts.of(this, name, () => this.service),
      ...(isCalled(name) && {
        cloudMapOptions: foundByName(name, props.namespace, Duration.seconds(60)),
      }),
    })
    // A dependency that no reference expresses: the alarms are only named.
    this.service.node.addDependency(alarms)
    this.service
      .loadBalancerTarget({ containerName: name, containerPort: SERVICE_PORT })
      .attachToApplicationTargetGroup(routes.targets)
    new StepScaling(this, 'Scaling', {
      cluster: CLUSTER,
      serviceName: name,
      service: this.service,
    })
  }

  #rollout(name: HttpServiceName) {
    return {
      healthCheckGracePeriod: Duration.seconds(60),
      deploymentAlarms: {
        alarmNames: [...rollbackAlarms(name)],
        behavior: AlarmBehavior.ROLLBACK_ON_ALARM,
      },
    }
  }
}
