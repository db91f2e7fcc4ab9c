import { Duration } from 'aws-cdk-lib'
import { MathExpression, Metric, Unit } from 'aws-cdk-lib/aws-cloudwatch'
import { FilterPattern, type ILogGroup, type JsonPattern, MetricFilter } from 'aws-cdk-lib/aws-logs'
import { Construct } from 'constructs'
import { type HttpServiceName, SERVICES, type ServiceName } from '../catalogue.ts'
import { CLUSTER, METRICS, type WITNESS } from '../names.ts'

export const REQUESTS = 'RequestCount'
export const ERRORS = 'ErrorCount'
export const RESPONSE_TIME = 'ResponseTime'

/** A line of src/http/access-log.ts; the load balancer's health checks do not count as requests. */
const request: JsonPattern = FilterPattern.all(
  FilterPattern.stringValue('$.msg', '=', 'request'),
  FilterPattern.stringValue('$.path', '!=', '*/health'),
)
const failed = FilterPattern.all(request, FilterPattern.numberValue('$.status', '>=', 500))

/**
 * Requests, errors and response times from the access log. They include calls by other services, which
 * bypass the load balancer.
 */
export class AccessLogMetrics extends Construct {
  constructor(scope: Construct, id: string, logGroup: ILogGroup) {
    super(scope, id)
    // A metric with a dimension can have no default value: no requests, no data.
    const common = { logGroup, metricNamespace: METRICS, dimensions: { Service: '$.service' } }
    new MetricFilter(this, REQUESTS, {
      ...common,
      metricName: REQUESTS,
      filterPattern: request,
      metricValue: '1',
      unit: Unit.COUNT,
    })
    new MetricFilter(this, ERRORS, {
      ...common,
      metricName: ERRORS,
      filterPattern: failed,
      metricValue: '1',
      unit: Unit.COUNT,
    })
    new MetricFilter(this, RESPONSE_TIME, {
      ...common,
      metricName: RESPONSE_TIME,
      filterPattern: request,
      // Until the answer begins: the duration of a stream or an export says nothing about the service, and
      // each deployment ends all streams while it watches this.
      metricValue: '$.response_ms',
      unit: Unit.MILLISECONDS,
    })
  }
}

/** The service's own metrics, as alarms and the dashboard read them. */
export const serviceMetrics = (service: HttpServiceName) => {
  const own = (metricName: string, statistic: string) =>
    new Metric({
      namespace: METRICS,
      metricName,
      dimensionsMap: { Service: service },
      statistic,
      period: Duration.minutes(5),
    })
  const { party } = SERVICES[service]
  const requests = own(REQUESTS, 'Sum')
  const errors = own(ERRORS, 'Sum')
  return {
    requests,
    errors,
    errorRate: new MathExpression({
      // Without errors there is no data either, which must not hide the requests.
      expression: `100 * FILL(errors_${party}, 0) / requests_${party}`,
      usingMetrics: { [`errors_${party}`]: errors, [`requests_${party}`]: requests },
      label: `${service} errors, %`,
      period: Duration.minutes(5),
    }),
    responseTime: (statistic: string) => own(RESPONSE_TIME, statistic),
  }
}

/** A metric that ECS reports for the service. */
export const ecsMetric = (service: ServiceName, metricName: string, statistic = 'Average') =>
  new Metric({
    namespace: 'AWS/ECS',
    metricName,
    dimensionsMap: { ClusterName: CLUSTER, ServiceName: service },
    statistic,
    period: Duration.minutes(1),
  })

/** A metric of Container Insights for the service. */
export const insight = (service: ServiceName | typeof WITNESS, metricName: string) =>
  new Metric({
    namespace: 'ECS/ContainerInsights',
    metricName,
    dimensionsMap: { ClusterName: CLUSTER, ServiceName: service },
    statistic: 'Average',
    period: Duration.minutes(1),
  })
