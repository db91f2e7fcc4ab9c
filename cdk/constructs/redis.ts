import { RemovalPolicy, Stack } from 'aws-cdk-lib'
import type { ISecurityGroup, IVpc } from 'aws-cdk-lib/aws-ec2'
import {
  CfnParameterGroup,
  CfnReplicationGroup,
  CfnSubnetGroup,
  CfnUser,
  CfnUserGroup,
} from 'aws-cdk-lib/aws-elasticache'
import { PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam'
import type { IKey } from 'aws-cdk-lib/aws-kms'
import type { Secret } from 'aws-cdk-lib/aws-secretsmanager'
import { Construct } from 'constructs'
import type { Environment, RedisConfig } from '../config/schema.ts'
import { REDIS, REDIS_PORT, REDIS_USER, redisLogs } from '../names.ts'
import { SECRET_FIELD } from './app-secrets.ts'
import { dataSubnets } from './existing-vpc.ts'
import { logGroup } from './log-group.ts'

export type RedisProps = {
  readonly environment: Pick<Environment, 'name'>
  readonly config: RedisConfig
  readonly vpc: IVpc
  readonly securityGroup: ISecurityGroup
  readonly key: IKey
  /** The current one and the one before: either lets a service in. */
  readonly passwords: readonly Secret[]
}

const ENGINE = 'valkey'
/** Later minor versions come in the maintenance window. */
const VERSION = { version: '8.0', family: 'valkey8' }

/**
 * What the counters of rate-limiter-flexible and our probe send (src/infra/counters), and what a client of a
 * cluster asks for: on our keys alone. A test counts in a Redis with this rule.
 */
export const ACCESS =
  'on ~tasktrail:* resetchannels -@all +ping +get +set +incrby +pttl +eval +cluster|slots'

/**
 * Where the services count requests. It holds nothing that must be kept: each key lives as long as its window,
 * so there are no snapshots, and whoever loses it counts from zero.
 */
export class Redis extends Construct {
  readonly url: string

  constructor(scope: Construct, id: string, props: RedisProps) {
    super(scope, id)
    const { config, vpc, securityGroup, key } = props
    const isCluster = config.mode === 'cluster'
    const group = new CfnReplicationGroup(this, 'Group', {
      replicationGroupId: REDIS,
      replicationGroupDescription: 'Counts requests for all tasks of the services',
      engine: ENGINE,
      engineVersion: VERSION.version,
      autoMinorVersionUpgrade: true,
      preferredMaintenanceWindow: 'sun:05:30-sun:06:30',
      cacheNodeType: config.nodeType,
      port: REDIS_PORT,
      clusterMode: isCluster ? 'enabled' : 'disabled',
      numNodeGroups: isCluster ? config.shards : 1,
      replicasPerNodeGroup: isCluster ? config.replicas : 0,
      automaticFailoverEnabled: isCluster,
      multiAzEnabled: isCluster,
      cacheParameterGroupName: this.#parameters(isCluster).ref,
      cacheSubnetGroupName: this.#subnets(vpc).ref,
      securityGroupIds: [securityGroup.securityGroupId],
      atRestEncryptionEnabled: true,
      kmsKeyId: key.keyArn,
      transitEncryptionEnabled: true,
      transitEncryptionMode: 'required',
      userGroupIds: [this.#users(props).ref],
      snapshotRetentionLimit: 0,
      logDeliveryConfigurations: this.#logs(props),
    })
    group.applyRemovalPolicy(RemovalPolicy.DESTROY)
    const address = isCluster
      ? group.attrConfigurationEndPointAddress
      : group.attrPrimaryEndPointAddress
    this.url = `rediss://${REDIS_USER}@${address}:${REDIS_PORT}`
  }

  #parameters(isCluster: boolean): CfnParameterGroup {
    return new CfnParameterGroup(this, 'Parameters', {
      cacheParameterGroupFamily: VERSION.family,
      description: 'Forgets what is least used; keeps connections',
      properties: {
        'cluster-enabled': isCluster ? 'yes' : 'no',
        // Full, it forgets a counter, and a user may make some requests more, instead of refusing to count.
        'maxmemory-policy': 'allkeys-lru',
        // Each task keeps one connection to a node. Idle ones stay; those of a task that is gone do not.
        timeout: '0',
        'tcp-keepalive': '60',
      },
    })
  }

  #subnets(vpc: IVpc): CfnSubnetGroup {
    return new CfnSubnetGroup(this, 'Subnets', {
      cacheSubnetGroupName: REDIS,
      description: 'Private subnets',
      subnetIds: dataSubnets(vpc).subnets.map(({ subnetId }) => subnetId),
    })
  }

  /** The services', and the one without a name, which is off: who has no name gets nowhere. */
  #users({ passwords: secrets }: RedisProps): CfnUserGroup {
    const passwords = secrets.map((secret) =>
      secret.secretValueFromJson(SECRET_FIELD).unsafeUnwrap(),
    )
    const user = (userId: string, userName: string, accessString: string) =>
      new CfnUser(this, userId, { engine: ENGINE, userId, userName, accessString, passwords })
    return new CfnUserGroup(this, 'Users', {
      engine: ENGINE,
      userGroupId: REDIS,
      userIds: [
        user(REDIS, REDIS_USER, ACCESS).ref,
        user(`${REDIS}-default`, 'default', 'off ~* -@all').ref,
      ],
    })
  }

  /** What took long, and what the engine says of itself. */
  #logs({ environment, key }: RedisProps) {
    return ['slow-log', 'engine-log'].map((logType) => {
      const logs = logGroup(this, logType, redisLogs(logType), { environment, key })
      logs.addToResourcePolicy(
        new PolicyStatement({
          principals: [new ServicePrincipal('delivery.logs.amazonaws.com')],
          actions: ['logs:CreateLogStream', 'logs:PutLogEvents'],
          resources: [logs.logGroupArn],
          conditions: { StringEquals: { 'aws:SourceAccount': Stack.of(this).account } },
        }),
      )
      return {
        logType,
        logFormat: 'json',
        destinationType: 'cloudwatch-logs',
        destinationDetails: { cloudWatchLogsDetails: { logGroup: logs.logGroupName } },
      }
    })
  }
}
