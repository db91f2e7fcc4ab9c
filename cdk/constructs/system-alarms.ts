import { Duration } from 'aws-cdk-lib'
import { ComparisonOperator, MathExpression } from 'aws-cdk-lib/aws-cloudwatch'
import {
  HttpCodeElb,
  HttpCodeTarget,
  type IApplicationLoadBalancer,
} from 'aws-cdk-lib/aws-elasticloadbalancingv2'
import { FilterPattern, type ILogGroup, MetricFilter } from 'aws-cdk-lib/aws-logs'
import type { ITopic } from 'aws-cdk-lib/aws-sns'
import { Construct } from 'constructs'
import { METRICS } from '../names.ts'
import { alarm } from './alarm.ts'

export type SystemAlarmsProps = {
  readonly topic: ITopic
  readonly loadBalancer: IApplicationLoadBalancer
  /** Where each event is a crash. */
  readonly crashes: ILogGroup
}

const ABOVE = ComparisonOperator.GREATER_THAN_THRESHOLD

/** When someone must look at what the services share. */
export class SystemAlarms extends Construct {
  constructor(scope: Construct, id: string, props: SystemAlarmsProps) {
    super(scope, id)
    this.#errorRate(props)
    this.#crashes(props)
  }

  /** Includes what never reached a service: without a healthy task no service can log the error. */
  #errorRate({ topic, loadBalancer }: SystemAlarmsProps): void {
    const { metrics } = loadBalancer
    alarm(this, 'ErrorRate', {
      topic,
      alarmName: 'task-mgmt-high-error-rate',
      says: 'More than 5 % of the requests from outside over 5 minutes ended in a 5XX.',
      runbook: 'high-error-rate',
      metric: new MathExpression({
        // `requests` are those that reached a service.
        expression:
          'IF(FILL(requests, 0) + FILL(own, 0) > 0, ' +
          '100 * (FILL(own, 0) + FILL(target, 0)) / (FILL(requests, 0) + FILL(own, 0)), 0)',
        usingMetrics: {
          requests: metrics.requestCount(),
          own: metrics.httpCodeElb(HttpCodeElb.ELB_5XX_COUNT),
          target: metrics.httpCodeTarget(HttpCodeTarget.TARGET_5XX_COUNT),
        },
        label: 'Errors, %',
        period: Duration.minutes(5),
      }),
      comparisonOperator: ABOVE,
      threshold: 5,
      evaluationPeriods: 1,
    })
  }

  #crashes({ topic, crashes }: SystemAlarmsProps): void {
    const counted = new MetricFilter(this, 'CrashFilter', {
      logGroup: crashes,
      metricNamespace: METRICS,
      metricName: 'TaskCrashes',
      filterPattern: FilterPattern.exists('$.detail.stopCode'),
      metricValue: '1',
      defaultValue: 0,
    })
    alarm(this, 'Crashes', {
      topic,
      alarmName: 'task-mgmt-task-crashed',
      says: 'A task ended with an exit code other than 0, or did not start.',
      runbook: 'task-crashed',
      metric: counted.metric({ statistic: 'Sum', period: Duration.minutes(5) }),
      comparisonOperator: ABOVE,
      threshold: 0,
      evaluationPeriods: 1,
    })
  }
}
