import { Duration } from 'aws-cdk-lib'
import { ComparisonOperator } from 'aws-cdk-lib/aws-cloudwatch'
import type { ApplicationTargetGroup } from 'aws-cdk-lib/aws-elasticloadbalancingv2'
import type { ITopic } from 'aws-cdk-lib/aws-sns'
import { Construct } from 'constructs'
import { type HttpServiceName, SERVICES } from '../catalogue.ts'
import { alarm } from './alarm.ts'
import { ecsMetric, serviceMetrics } from './service-metrics.ts'

export type ServiceAlarmsProps = {
  readonly name: HttpServiceName
  readonly topic: ITopic
  readonly targets: ApplicationTargetGroup
}

const ABOVE = ComparisonOperator.GREATER_THAN_THRESHOLD

const errorRate = (service: HttpServiceName): string => `${service}-error-rate`
const responseTime = (service: HttpServiceName): string => `${service}-response-time`

/**
 * The alarms that also roll a deployment back. By name: with references, alarms and service would wait for
 * each other.
 */
export const rollbackAlarms = (service: HttpServiceName): readonly string[] => [
  errorRate(service),
  responseTime(service),
]

/** When someone must look at a service. They refer to it by name and are created before it. */
export class ServiceAlarms extends Construct {
  constructor(scope: Construct, id: string, props: ServiceAlarmsProps) {
    super(scope, id)
    this.#errorRate(props)
    this.#slow(props)
    this.#cpu(props)
    this.#unhealthy(props)
  }

  #errorRate({ name, topic }: ServiceAlarmsProps): void {
    alarm(this, 'ErrorRate', {
      topic,
      alarmName: errorRate(name),
      says: `More than 5 % of the answers of ${name} over 5 minutes were its own errors.`,
      runbook: 'service-error-rate',
      metric: serviceMetrics(name).errorRate,
      comparisonOperator: ABOVE,
      threshold: 5,
      evaluationPeriods: 1,
    })
  }

  #slow({ name, topic }: ServiceAlarmsProps): void {
    const { slowMs } = SERVICES[name]
    alarm(this, 'ResponseTime', {
      topic,
      alarmName: responseTime(name),
      says: `One answer of ${name} in twenty took longer than ${slowMs} ms over 5 minutes.`,
      runbook: 'service-response-time',
      metric: serviceMetrics(name).responseTime('p95'),
      comparisonOperator: ABOVE,
      threshold: slowMs,
      evaluationPeriods: 1,
      evaluateLowSampleCountPercentile: 'ignore',
    })
  }

  #cpu({ name, topic }: ServiceAlarmsProps): void {
    alarm(this, 'Cpu', {
      topic,
      alarmName: `${name}-high-cpu`,
      says: `The CPU of ${name} was above 70 % for 5 minutes: scaling does not keep up.`,
      runbook: 'service-high-cpu',
      metric: ecsMetric(name, 'CPUUtilization'),
      comparisonOperator: ABOVE,
      threshold: 70,
      evaluationPeriods: 5,
    })
  }

  #unhealthy({ name, topic, targets }: ServiceAlarmsProps): void {
    alarm(this, 'Unhealthy', {
      topic,
      alarmName: `${name}-unhealthy-tasks`,
      says: `A task of ${name} failed the load balancer's checks for 2 minutes.`,
      runbook: 'service-unhealthy-tasks',
      metric: targets.metrics.unhealthyHostCount({
        statistic: 'Maximum',
        period: Duration.minutes(1),
      }),
      comparisonOperator: ABOVE,
      threshold: 0,
      evaluationPeriods: 2,
    })
  }
}
