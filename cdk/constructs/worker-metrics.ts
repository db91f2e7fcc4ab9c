import { Duration } from 'aws-cdk-lib'
import { Metric, Unit } from 'aws-cdk-lib/aws-cloudwatch'
import { FilterPattern, type ILogGroup, MetricFilter } from 'aws-cdk-lib/aws-logs'
import { Construct } from 'constructs'
import { METRICS } from '../names.ts'

const LAG = 'ProjectionLag'
const PARKED = 'ParkedStreams'
const DRIFT = 'Drift'
const UNLOGGED = 'UnloggedAge'
const REFUSALS = 'SigningRefusals'

/** Lines of src/worker.ts, every fifteen seconds: one for each projection, and one for the log. */
const state = FilterPattern.stringValue('$.msg', '=', 'projection lag')
const unlogged = FilterPattern.stringValue('$.msg', '=', 'log lag')
/** The leader's, every five seconds for as long as it lasts, with the reason behind the colon. */
const refusals = FilterPattern.stringValue('$.msg', '=', 'signing has stopped: *')
/** A line of src/infra/postgres/projections/drift/drift-check.ts for each difference. */
const drift = FilterPattern.stringValue('$.msg', '=', 'drift found')

/** From the worker's log: how far audit trail and log lag, whether it is signed, and whether views differ. */
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
    new MetricFilter(this, UNLOGGED, {
      ...common,
      metricName: UNLOGGED,
      filterPattern: unlogged,
      metricValue: '$.unlogged_seconds',
      unit: Unit.SECONDS,
    })
    new MetricFilter(this, REFUSALS, {
      ...common,
      metricName: REFUSALS,
      filterPattern: refusals,
      metricValue: '1',
      unit: Unit.COUNT,
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
  unloggedAge: metric(UNLOGGED, 'Maximum', 1),
  signingRefusals: metric(REFUSALS, 'Sum', 1),
  drift: metric(DRIFT, 'Sum', 5),
}
