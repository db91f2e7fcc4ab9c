import { Duration } from 'aws-cdk-lib'
import { ComparisonOperator, MathExpression, Metric } from 'aws-cdk-lib/aws-cloudwatch'
import { FilterPattern, type ILogGroup, MetricFilter } from 'aws-cdk-lib/aws-logs'
import type { ITopic } from 'aws-cdk-lib/aws-sns'
import { Construct } from 'constructs'
import { EDGE_API, EDGE_STAGE, handlerName, METRICS } from '../names.ts'
import { alarm } from './alarm.ts'

export type EdgeAlarmsProps = { readonly topic: ITopic; readonly logs: ILogGroup }

const FIVE_MINUTES = Duration.minutes(5)
/** Fewer say little: one wrong path among three would be a third. */
const ENOUGH = 100

const metric = (metricName: string, statistic = 'Sum') =>
  new Metric({
    namespace: 'AWS/ApiGateway',
    metricName,
    dimensionsMap: { ApiName: EDGE_API, Stage: EDGE_STAGE },
    statistic,
    period: FIVE_MINUTES,
  })

export const edgeMetrics = {
  requests: metric('Count'),
  clientErrors: metric('4XXError'),
  serverErrors: metric('5XXError'),
  // Until an answer begins: all of it takes minutes where it is a stream.
  latency: (statistic: string) => metric('IntegrationLatency', statistic),
  throttled: new Metric({
    namespace: METRICS,
    metricName: 'EdgeThrottled',
    statistic: 'Sum',
    period: FIVE_MINUTES,
  }),
  authorizer: (metricName: 'Invocations' | 'Errors' | 'Throttles') =>
    new Metric({
      namespace: 'AWS/Lambda',
      metricName,
      dimensionsMap: { FunctionName: handlerName('authorizer') },
      statistic: 'Sum',
      period: FIVE_MINUTES,
    }),
}

const share = (errors: Metric) =>
  new MathExpression({
    expression: `IF(requests >= ${ENOUGH}, 100 * errors / requests, 0)`,
    usingMetrics: { requests: edgeMetrics.requests, errors },
    label: 'Errors, %',
    period: FIVE_MINUTES,
  })

/** When the way to the load balancer is broken, or refuses more than it should. */
export class EdgeAlarms extends Construct {
  constructor(scope: Construct, id: string, { topic, logs }: EdgeAlarmsProps) {
    super(scope, id)
    const above = {
      topic,
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      evaluationPeriods: 1,
    }
    alarm(this, 'ClientErrors', {
      ...above,
      alarmName: 'task-mgmt-edge-client-errors',
      says: 'More than 30 % of the requests to API Gateway over a quarter of an hour ended in a 4XX.',
      runbook: 'edge-client-errors',
      metric: share(edgeMetrics.clientErrors),
      threshold: 30,
      evaluationPeriods: 3,
    })
    alarm(this, 'ServerErrors', {
      ...above,
      alarmName: 'task-mgmt-edge-server-errors',
      says: 'More than 5 % of the requests to API Gateway over 5 minutes ended in a 5XX.',
      runbook: 'edge-server-errors',
      metric: share(edgeMetrics.serverErrors),
      threshold: 5,
    })
    alarm(this, 'Latency', {
      ...above,
      alarmName: 'task-mgmt-edge-latency',
      says: 'Of 100 answers, 5 took longer than 3 s to begin, seen from API Gateway, for 15 minutes.',
      runbook: 'edge-latency',
      metric: edgeMetrics.latency('p95'),
      threshold: 3_000,
      evaluationPeriods: 3,
    })
    this.#throttled(logs)
    alarm(this, 'Throttled', {
      ...above,
      alarmName: 'task-mgmt-edge-throttled',
      says: 'API Gateway refused requests because all clients together sent too many.',
      runbook: 'edge-throttled',
      metric: edgeMetrics.throttled,
      threshold: 0,
    })
    alarm(this, 'Authorizer', {
      ...above,
      alarmName: 'task-mgmt-edge-authorizer',
      says: 'The authorizer of API Gateway failed or was throttled: those requests were refused.',
      runbook: 'edge-authorizer',
      metric: new MathExpression({
        expression: 'FILL(errors, 0) + FILL(throttles, 0)',
        usingMetrics: {
          errors: edgeMetrics.authorizer('Errors'),
          throttles: edgeMetrics.authorizer('Throttles'),
        },
        label: 'Failures',
        period: FIVE_MINUTES,
      }),
      threshold: 0,
    })
  }

  /** API Gateway has no metric of its own for them. */
  #throttled(logGroup: ILogGroup): void {
    const { namespace: metricNamespace, metricName } = edgeMetrics.throttled
    new MetricFilter(this, 'ThrottledFilter', {
      logGroup,
      metricNamespace,
      metricName,
      filterPattern: FilterPattern.stringValue('$.error', '=', 'THROTTLED'),
      metricValue: '1',
      defaultValue: 0,
    })
  }
}
