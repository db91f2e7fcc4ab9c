import { Duration } from 'aws-cdk-lib'
import { ComparisonOperator } from 'aws-cdk-lib/aws-cloudwatch'
import { FilterPattern, type ILogGroup, MetricFilter } from 'aws-cdk-lib/aws-logs'
import type { ITopic } from 'aws-cdk-lib/aws-sns'
import { Construct } from 'constructs'
import { METRICS } from '../names.ts'
import { alarm } from './alarm.ts'

export type MailAlarmProps = {
  readonly topic: ITopic
  /** Of the worker. */
  readonly logGroup: ILogGroup
}

/** When mails are not sent: nobody can confirm an address or set a forgotten password then. */
export class MailAlarm extends Construct {
  constructor(scope: Construct, id: string, { topic, logGroup }: MailAlarmProps) {
    super(scope, id)
    // A line of src/mail-jobs.ts, every fifteen seconds.
    const oldest = new MetricFilter(this, 'Oldest', {
      logGroup,
      metricNamespace: METRICS,
      metricName: 'OldestMail',
      filterPattern: FilterPattern.stringValue('$.msg', '=', 'mail lag'),
      metricValue: '$.oldest_seconds',
    })
    alarm(this, 'Alarm', {
      topic,
      alarmName: 'task-mgmt-mails-waiting',
      says: 'For 15 minutes a mail has waited for more than 10 minutes.',
      runbook: 'mails-not-sent',
      metric: oldest.metric({ statistic: 'Maximum', period: Duration.minutes(5) }),
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      threshold: 600,
      evaluationPeriods: 3,
    })
  }
}
