import { Duration } from 'aws-cdk-lib'
import type { ISecurityGroup } from 'aws-cdk-lib/aws-ec2'
import {
  AlarmBehavior,
  type BaseService,
  BuiltInAttributes,
  DeploymentStrategy,
  Ec2Service,
  FargateService,
  type ICluster,
  PlacementStrategy,
  PropagatedTagSource,
} from 'aws-cdk-lib/aws-ecs'
import { DnsRecordType, type INamespace } from 'aws-cdk-lib/aws-servicediscovery'
import { Construct } from 'constructs'
import { isCalled, type ServiceName } from '../catalogue.ts'
import type { Environment } from '../config/schema.ts'
import { CLUSTER, NODES, SERVICE_PORT } from '../names.ts'
import type { ContainerTask } from './container-task.ts'
import { privateSubnets } from './existing-vpc.ts'
import { rollbackAlarms, type ServiceAlarms } from './service-alarms.ts'
import type { ServiceRoutes } from './service-routes.ts'
import { StepScaling } from './step-scaling.ts'

export type HttpServiceProps = {
  readonly name: ServiceName
  readonly cluster: ICluster
  readonly task: ContainerTask
  readonly routes: ServiceRoutes
  readonly securityGroup: ISecurityGroup
  /** Where it is registered, if other services call it. */
  readonly namespace: INamespace
  readonly launchType: Environment['services'][ServiceName]['launchType']
  readonly deployment: Environment['deployment']
  readonly alarms: ServiceAlarms
}

/** A service behind the load balancer that scales by its CPU and takes a bad deployment back. */
export class HttpService extends Construct {
  readonly service: BaseService

  constructor(scope: Construct, id: string, props: HttpServiceProps) {
    super(scope, id)
    const { name, task, routes, alarms } = props
    this.service = this.#service(props)
    // No reference says so: the right to read the secrets, and the alarms that are only named.
    this.service.node.addDependency(task, alarms)
    this.service
      .loadBalancerTarget({
        containerName: name,
        containerPort: SERVICE_PORT,
        ...(routes.alternate !== undefined && { alternateTarget: routes.alternate }),
      })
      .attachToApplicationTargetGroup(routes.targets)
    new StepScaling(this, 'Scaling', {
      cluster: CLUSTER,
      serviceName: name,
      service: this.service,
    })
  }

  #service(props: HttpServiceProps): BaseService {
    const common = {
      ...this.#place(props),
      ...this.#rollout(props),
      ...(isCalled(props.name) && { cloudMapOptions: this.#discovery(props) }),
      propagateTags: PropagatedTagSource.SERVICE,
      enableECSManagedTags: true,
    }
    if (props.launchType === 'fargate') {
      return new FargateService(this, 'Service', {
        ...common,
        capacityProviderStrategies: [{ capacityProvider: 'FARGATE', weight: 1 }],
      })
    }
    return new Ec2Service(this, 'Service', {
      ...common,
      capacityProviderStrategies: [{ capacityProvider: NODES, weight: 1 }],
      placementStrategies: [
        PlacementStrategy.spreadAcross(BuiltInAttributes.AVAILABILITY_ZONE),
        PlacementStrategy.packedByMemory(),
      ],
    })
  }

  #place({ name, cluster, task, securityGroup }: HttpServiceProps) {
    return {
      serviceName: name,
      cluster,
      taskDefinition: task.definition,
      vpcSubnets: privateSubnets(cluster.vpc),
      securityGroups: [securityGroup],
      assignPublicIp: false,
    }
  }

  /** No `desiredCount`: each deployment would set the service back to it, however busy it is. */
  #rollout({ name, deployment }: HttpServiceProps) {
    return {
      minHealthyPercent: 100,
      maxHealthyPercent: 200,
      healthCheckGracePeriod: Duration.seconds(60),
      circuitBreaker: { enable: true, rollback: true },
      deploymentAlarms: {
        alarmNames: [...rollbackAlarms(name)],
        behavior: AlarmBehavior.ROLLBACK_ON_ALARM,
      },
      ...(deployment.strategy === 'blue-green' && {
        deploymentStrategy: DeploymentStrategy.BLUE_GREEN,
        bakeTime: Duration.minutes(deployment.bakeMinutes),
      }),
    }
  }

  #discovery({ name, namespace }: HttpServiceProps) {
    return {
      name,
      cloudMapNamespace: namespace,
      dnsRecordType: DnsRecordType.A as const,
      dnsTtl: Duration.seconds(60),
    }
  }
}
