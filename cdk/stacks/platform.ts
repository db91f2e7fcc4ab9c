import { Stack, type StackProps } from 'aws-cdk-lib'
import { Cluster, ContainerInsights, type ICluster } from 'aws-cdk-lib/aws-ecs'
import { Key } from 'aws-cdk-lib/aws-kms'
import { PrivateDnsNamespace } from 'aws-cdk-lib/aws-servicediscovery'
import type { Topic } from 'aws-cdk-lib/aws-sns'
import { StringParameter } from 'aws-cdk-lib/aws-ssm'
import type { Construct } from 'constructs'
import type { Environment } from '../config/schema.ts'
import { alarmTopic } from '../constructs/alarm-topic.ts'
import { fixedGroup } from '../constructs/fixed-group.ts'
import { FrontDoor } from '../constructs/front-door.ts'
import { Nodes } from '../constructs/nodes.ts'
import { Redis } from '../constructs/redis.ts'
import { CLUSTER, NAMESPACE, REDIS_URL } from '../names.ts'
import type { DataStack } from './data.ts'
import type { NetworkStack } from './network.ts'

export type PlatformProps = StackProps & {
  readonly environment: Environment
  readonly network: NetworkStack
  readonly data: DataStack
}

/** What services run on. Capacity is here, so that a service does not wait for it in its own stack. */
export class PlatformStack extends Stack {
  readonly cluster: ICluster
  readonly namespace: PrivateDnsNamespace
  readonly frontDoor: FrontDoor
  readonly alarms: Topic

  constructor(scope: Construct, id: string, props: PlatformProps) {
    super(scope, id, props)
    const { environment, network, data } = props
    const { vpc } = network
    const cluster = new Cluster(this, 'Cluster', {
      clusterName: CLUSTER,
      vpc,
      containerInsightsV2: ContainerInsights.ENHANCED,
      enableFargateCapacityProviders: true,
    })
    if (environment.nodes !== undefined && network.nodes !== undefined) {
      const securityGroup = fixedGroup(this, network.nodes)
      const nodes = new Nodes(this, 'Nodes', { vpc, securityGroup, config: environment.nodes })
      cluster.addAsgCapacityProvider(nodes.capacityProvider)
    }
    // The library was compiled with looser rules for optional properties.
    this.cluster = cluster as ICluster
    this.namespace = new PrivateDnsNamespace(this, 'Namespace', {
      name: NAMESPACE,
      description: 'Services find each other here',
      vpc,
    })
    this.frontDoor = new FrontDoor(this, 'FrontDoor', {
      vpc,
      securityGroup: fixedGroup(this, network.loadBalancer),
      certificateArn: environment.certificateArn,
      deletionProtection: environment.deletionProtection,
      internal: environment.edge !== undefined,
    })
    const key = Key.fromKeyArn(this, 'Key', data.key.keyArn)
    const { redis } = environment
    if (redis !== undefined && network.redis !== undefined) {
      const securityGroup = fixedGroup(this, network.redis)
      const { values } = data.secrets
      const passwords = [values['redis-password'], values['previous-redis-password']]
      const { url } = new Redis(this, 'Redis', {
        environment,
        config: redis,
        vpc,
        securityGroup,
        key,
        passwords,
      })
      new StringParameter(this, 'RedisUrl', { parameterName: REDIS_URL, stringValue: url })
    }
    this.alarms = alarmTopic(this, key, environment.alarmEmails)
  }
}
