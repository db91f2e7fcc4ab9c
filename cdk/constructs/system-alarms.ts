import { Duration } from 'aws-cdk-lib'
import { ComparisonOperator, MathExpression, Metric } from 'aws-cdk-lib/aws-cloudwatch'
import {
  HttpCodeElb,
  HttpCodeTarget,
  type IApplicationLoadBalancer,
} from 'aws-cdk-lib/aws-elasticloadbalancingv2'
import { FilterPattern, type ILogGroup, MetricFilter } from 'aws-cdk-lib/aws-logs'
import type { ITopic } from 'aws-cdk-lib/aws-sns'
import { Construct } from 'constructs'
import { type Environment, instanceName } from '../config/schema.ts'
import { METRICS } from '../names.ts'
import { alarm } from './alarm.ts'

export type SystemAlarmsProps = {
  readonly topic: ITopic
  readonly loadBalancer: IApplicationLoadBalancer
  readonly taskStops: ILogGroup
  readonly database: Environment['database']
}

const ABOVE = ComparisonOperator.GREATER_THAN_THRESHOLD
const FREE_SHARE = 0.1

export const databaseMetric = (instance: string, metricName: string, statistic = 'Average') =>
  new Metric({
    namespace: 'AWS/RDS',
    metricName,
    dimensionsMap: { DBInstanceIdentifier: instance },
    statistic,
    period: Duration.minutes(5),
  })

/** When someone must look at what the services share. */
export class SystemAlarms extends Construct {
  constructor(scope: Construct, id: string, props: SystemAlarmsProps) {
    super(scope, id)
    this.#errorRate(props)
    this.#connections(props)
    this.#storage(props)
    this.#crashes(props)
  }

  /** With what never reached a service: no healthy task is an error that no service can log. */
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

  #connections({ topic, database }: SystemAlarmsProps): void {
    alarm(this, 'Connections', {
      topic,
      alarmName: 'task-mgmt-db-connections',
      says: `More than 80 % of the ${database.maxConnections} database connections are taken.`,
      runbook: 'database-connections',
      metric: databaseMetric(instanceName(database), 'DatabaseConnections', 'Maximum'),
      comparisonOperator: ABOVE,
      threshold: 0.8 * database.maxConnections,
      evaluationPeriods: 1,
    })
  }

  #storage({ topic, database }: SystemAlarmsProps): void {
    alarm(this, 'Storage', {
      topic,
      alarmName: 'task-mgmt-db-storage',
      says: 'Less than a tenth of the database storage is free: it did not grow by itself.',
      runbook: 'database-storage',
      metric: databaseMetric(instanceName(database), 'FreeStorageSpace', 'Minimum'),
      comparisonOperator: ComparisonOperator.LESS_THAN_THRESHOLD,
      threshold: FREE_SHARE * database.storageGiB * 2 ** 30,
      evaluationPeriods: 1,
    })
  }

  /** Ended on its own and not well, or never started; one that ECS stopped is none of these. */
  #crashes({ topic, taskStops }: SystemAlarmsProps): void {
    const crash = FilterPattern.any(
      FilterPattern.stringValue('$.detail.stopCode', '=', 'TaskFailedToStart'),
      FilterPattern.all(
        FilterPattern.stringValue('$.detail.stopCode', '=', 'EssentialContainerExited'),
        FilterPattern.numberValue('$.detail.containers[0].exitCode', '!=', 0),
      ),
    )
    const crashes = new MetricFilter(this, 'CrashFilter', {
      logGroup: taskStops,
      metricNamespace: METRICS,
      metricName: 'TaskCrashes',
      filterPattern: crash,
      metricValue: '1',
      defaultValue: 0,
    })
    alarm(this, 'Crashes', {
      topic,
      alarmName: 'task-mgmt-task-crashed',
      says: 'A task ended with an exit code other than 0, or did not start.',
      runbook: 'task-crashed',
      metric: crashes.metric({ statistic: 'Sum', period: Duration.minutes(5) }),
      comparisonOperator: ABOVE,
      threshold: 0,
      evaluationPeriods: 1,
    })
  }
}
