import { Duration } from 'aws-cdk-lib'
import { ComparisonOperator } from 'aws-cdk-lib/aws-cloudwatch'
import { FilterPattern, type ILogGroup, MetricFilter } from 'aws-cdk-lib/aws-logs'
import type { ITopic } from 'aws-cdk-lib/aws-sns'
import { Construct } from 'constructs'
import { METRICS } from '../names.ts'
import { alarm } from './alarm.ts'

export type ReplicaAlarmProps = {
  readonly topic: ITopic
  /** Of task-service. */
  readonly logGroup: ILogGroup
}

/** When the primary has to answer what a replica should. */
export class ReplicaAlarm extends Construct {
  constructor(scope: Construct, id: string, { topic, logGroup }: ReplicaAlarmProps) {
    super(scope, id)
    // A line of src/infra/postgres/connection/replica.ts, every minute as long as it lasts.
    const unused = new MetricFilter(this, 'Unused', {
      logGroup,
      metricNamespace: METRICS,
      metricName: 'ReplicaUnused',
      filterPattern: FilterPattern.stringValue('$.msg', '=', 'the replica is not used'),
      metricValue: '1',
      defaultValue: 0,
    })
    alarm(this, 'Alarm', {
      topic,
      alarmName: 'task-mgmt-replica-unused',
      says: 'For 15 minutes the primary answered what should be read from a replica.',
      runbook: 'replica-unused',
      metric: unused.metric({ statistic: 'Sum', period: Duration.minutes(5) }),
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      threshold: 0,
      evaluationPeriods: 3,
    })
  }
}
