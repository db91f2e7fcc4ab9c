import { Duration } from 'aws-cdk-lib'
import { Metric, Unit } from 'aws-cdk-lib/aws-cloudwatch'
import { FilterPattern, type ILogGroup, MetricFilter } from 'aws-cdk-lib/aws-logs'
import { Construct } from 'constructs'
import { METRICS } from '../names.ts'

const LAG = 'ProjectionLag'
const PARKED = 'ParkedStreams'
const DRIFT = 'Drift'
const UNSEALED = 'UnsealedAge'

/** Lines of src/worker.ts, every fifteen seconds: one for each projection, and one for the seals. */
const state = FilterPattern.stringValue('$.msg', '=', 'projection lag')
const seals = FilterPattern.stringValue('$.msg', '=', 'seal lag')
/** A line of src/infra/postgres/projections/drift/drift-check.ts for each difference. */
const drift = FilterPattern.stringValue('$.msg', '=', 'drift found')

/** From the worker's log: how far audit trail and seals lag, and whether views differ. */
export class WorkerMetrics extends Construct {
  constructor(scope: Construct, id: string, logGroup: ILogGroup) {
    super(scope, id)
    const common = { logGroup, metricNamespace: METRICS }
    new MetricFilter(this, LAG, {
      ...common,
      metricName: LAG,
      filterPattern: state,
      metricValue: '$.lag_seconds',
      unit: Unit.SECONDS,
      dimensions: { Projection: '$.projection' },
    })
    new MetricFilter(this, PARKED, {
      ...common,
      metricName: PARKED,
      filterPattern: state,
      metricValue: '$.parked_streams',
      unit: Unit.COUNT,
    })
    new MetricFilter(this, UNSEALED, {
      ...common,
      metricName: UNSEALED,
      filterPattern: seals,
      metricValue: '$.unsealed_seconds',
      unit: Unit.SECONDS,
    })
    new MetricFilter(this, DRIFT, {
      ...common,
      metricName: DRIFT,
      filterPattern: drift,
      metricValue: '1',
      unit: Unit.COUNT,
    })
  }
}

const metric = (metricName: string, statistic: string, minutes: number, dimensionsMap = {}) =>
  new Metric({
    namespace: METRICS,
    metricName,
    dimensionsMap,
    statistic,
    period: Duration.minutes(minutes),
  })

/** The worker's metrics, as alarms and the dashboard read them. Both of its tasks report the same. */
export const workerMetrics = {
  auditLag: metric(LAG, 'Maximum', 1, { Projection: 'audit' }),
  parkedStreams: metric(PARKED, 'Maximum', 5),
  unsealedAge: metric(UNSEALED, 'Maximum', 1),
  drift: metric(DRIFT, 'Sum', 5),
}
