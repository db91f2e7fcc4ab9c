import { Duration } from 'aws-cdk-lib'
import { ComparisonOperator, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch'
import { AvailabilityZoneRebalancing, type BaseService } from 'aws-cdk-lib/aws-ecs'
import type { INamespace } from 'aws-cdk-lib/aws-servicediscovery'
import type { ITopic } from 'aws-cdk-lib/aws-sns'
import { Construct } from 'constructs'
import { alarm } from './alarm.ts'
import { type EcsServiceProps, ecsService, foundByName } from './ecs-service.ts'
import { insight } from './service-metrics.ts'

export type WitnessServiceProps = EcsServiceProps & {
  readonly namespace: INamespace
  readonly topic: ITopic
  /** Whether log and witness know each other's keys. Until then there is nothing that it could do. */
  readonly runs: boolean
}

/**
 * Remembers how far the log had come, and cosigns only what extends that. One task, and never a second one
 * beside it: the old one stops before the new one starts, and what the log signs meanwhile waits.
 */
export class WitnessService extends Construct {
  readonly service: BaseService

  constructor(scope: Construct, id: string, props: WitnessServiceProps) {
    super(scope, id)
    const { name, namespace, runs, topic } = props
    this.service = ecsService(this, props, {
      desiredCount: runs ? 1 : 0,
      minHealthyPercent: 0,
      maxHealthyPercent: 100,
      // It would start a task in another zone first.
      availabilityZoneRebalancing: AvailabilityZoneRebalancing.DISABLED,
      // Short: the worker waits for its successor.
      cloudMapOptions: foundByName(name, namespace, Duration.seconds(10)),
    })
    if (runs) this.#alarm(topic)
  }

  #alarm(topic: ITopic): void {
    alarm(this, 'Down', {
      topic,
      alarmName: 'task-mgmt-witness-down',
      says: 'For 5 minutes no task of the witness ran, so nothing new of the log was published.',
      runbook: 'witness-down',
      metric: insight('witness', 'RunningTaskCount').with({ statistic: 'Maximum' }),
      comparisonOperator: ComparisonOperator.LESS_THAN_THRESHOLD,
      threshold: 1,
      evaluationPeriods: 5,
      // Without a task there may be no metric either.
      treatMissingData: TreatMissingData.BREACHING,
    }).node.addDependency(this.service)
  }
}
