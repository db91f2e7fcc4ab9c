import { Stack, type StackProps } from 'aws-cdk-lib'
import { Key } from 'aws-cdk-lib/aws-kms'
import type { LogGroup } from 'aws-cdk-lib/aws-logs'
import type { Construct } from 'constructs'
import { HANDLER_NAMES, HTTP_SERVICE_NAMES, TASK_NAMES } from '../catalogue.ts'
import type { Environment } from '../config/schema.ts'
import { dashboard } from '../constructs/dashboard.ts'
import { DatabaseAlarms } from '../constructs/database-alarms.ts'
import { EventLog, scalingAndDeployments, taskCrashes, taskStops } from '../constructs/event-log.ts'
import { FailureNotices } from '../constructs/failure-notices.ts'
import { type LogGroupProps, logGroup } from '../constructs/log-group.ts'
import { PhotoAlarms } from '../constructs/photo-alarms.ts'
import { RedisAlarms } from '../constructs/redis-alarms.ts'
import { SystemAlarms } from '../constructs/system-alarms.ts'
import { CLUSTER, containerLogs, EDGE_LOGS, handlerLogs, photosBucket } from '../names.ts'
import type { DataStack } from './data.ts'
import type { PlatformStack } from './platform.ts'

export type ObservabilityProps = StackProps & {
  readonly environment: Environment
  readonly data: DataStack
  readonly platform: PlatformStack
}

/**
 * What watches the whole system, and every log of the services. It is created before them: if a first
 * deployment of the services fails, everything in their stack is deleted, and the logs would be too. Each
 * service's own alarms are with the service: its deployments need them.
 */
export class ObservabilityStack extends Stack {
  constructor(scope: Construct, id: string, props: ObservabilityProps) {
    super(scope, id, props)
    const { environment, data, platform } = props
    const { loadBalancer } = platform.frontDoor
    const key = Key.fromKeyArn(this, 'Key', data.key.keyArn)
    const cluster = `arn:aws:ecs:${this.region}:${this.account}:cluster/${CLUSTER}`

    const kept = { environment, key }
    const logs = this.#logs(kept)
    if (environment.edge !== undefined) logGroup(this, 'edge-log', EDGE_LOGS, kept)
    new EventLog(this, 'TaskStops', {
      subject: 'task-stops',
      patterns: taskStops(cluster),
      ...kept,
    })
    const crashes = new EventLog(this, 'TaskCrashes', {
      subject: 'task-crashes',
      patterns: taskCrashes(cluster),
      ...kept,
    })
    new EventLog(this, 'Scaling', {
      subject: 'scaling',
      patterns: scalingAndDeployments(cluster),
      ...kept,
    })
    const { alarms: topic } = platform
    new SystemAlarms(this, 'Alarms', { topic, loadBalancer, crashes: crashes.logs })
    const { database, photos, redis } = environment
    new DatabaseAlarms(this, 'DatabaseAlarms', { topic, database })
    new FailureNotices(this, 'Failures', { topic, database })
    const bucketName = photos && photosBucket(photos.bucketPrefix, environment.name)
    if (bucketName !== undefined) new PhotoAlarms(this, 'PhotoAlarms', { topic, bucketName })
    if (redis !== undefined) new RedisAlarms(this, 'RedisAlarms', { topic, redis, logs })
    const canary = environment.canary !== undefined
    const edge = environment.edge !== undefined
    dashboard(this, { loadBalancer, database, canary, edge, bucketName, redis })
  }

  /** Of the services, those that answer requests. */
  #logs(kept: LogGroupProps): readonly LogGroup[] {
    const groups = TASK_NAMES.map((name) => {
      return [name, logGroup(this, `${name}-log`, containerLogs(name), kept)] as const
    })
    for (const name of HANDLER_NAMES) logGroup(this, `${name}-handler-log`, handlerLogs(name), kept)
    return groups
      .filter(([name]) => HTTP_SERVICE_NAMES.some((one) => one === name))
      .map(([, group]) => group)
  }
}
