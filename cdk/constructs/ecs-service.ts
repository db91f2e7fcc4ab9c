import type { Duration } from 'aws-cdk-lib'
import type { ISecurityGroup } from 'aws-cdk-lib/aws-ec2'
import {
  type BaseService,
  type BaseServiceOptions,
  BuiltInAttributes,
  Ec2Service,
  FargateService,
  type FargateServiceProps,
  type ICluster,
  PlacementStrategy,
  PropagatedTagSource,
} from 'aws-cdk-lib/aws-ecs'
import { DnsRecordType, type INamespace } from 'aws-cdk-lib/aws-servicediscovery'
import type { Construct } from 'constructs'
import type { ServiceName } from '../catalogue.ts'
import type { ServiceConfig } from '../config/schema.ts'
import { NODES, type WITNESS } from '../names.ts'
import type { ContainerTask } from './container-task.ts'
import { privateSubnets } from './existing-vpc.ts'

export type EcsServiceProps = {
  readonly name: ServiceName | typeof WITNESS
  readonly cluster: ICluster
  readonly task: ContainerTask
  readonly securityGroup: ISecurityGroup
  readonly launchType: ServiceConfig['launchType']
}

type EcsServiceOptions = Partial<BaseServiceOptions> &
  Pick<FargateServiceProps, 'availabilityZoneRebalancing'>

/**
 * A task that is kept running: in private subnets, on Fargate or on our own machines. New tasks are healthy
 * before old ones stop, and a version that does not start is rolled back.
 */
export function ecsService(
  scope: Construct,
  { name, cluster, task, securityGroup, launchType }: EcsServiceProps,
  options: EcsServiceOptions,
): BaseService {
  const common = {
    serviceName: name,
    cluster,
    taskDefinition: task.definition,
    vpcSubnets: privateSubnets(cluster.vpc),
    securityGroups: [securityGroup],
    assignPublicIp: false,
    minHealthyPercent: 100,
    maxHealthyPercent: 200,
    circuitBreaker: { enable: true, rollback: true },
    propagateTags: PropagatedTagSource.SERVICE,
    enableECSManagedTags: true,
    ...options,
  }
  const service =
    launchType === 'fargate'
      ? new FargateService(scope, 'Service', {
          ...common,
          capacityProviderStrategies: [{ capacityProvider: 'FARGATE', weight: 1 }],
        })
      : new Ec2Service(scope, 'Service', {
          ...common,
          capacityProviderStrategies: [{ capacityProvider: NODES, weight: 1 }],
          placementStrategies: [
            PlacementStrategy.spreadAcross(BuiltInAttributes.AVAILABILITY_ZONE),
            PlacementStrategy.packedByMemory(),
          ],
        })
  // A dependency that no reference expresses: the right to read the secrets.
  service.node.addDependency(task)
  return service
}

/** So that others find its tasks as `<name>.<namespace>`. */
export const foundByName = (name: string, namespace: INamespace, dnsTtl: Duration) => ({
  name,
  cloudMapNamespace: namespace,
  dnsRecordType: DnsRecordType.A as const,
  dnsTtl,
})
