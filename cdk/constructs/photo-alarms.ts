import { Duration } from 'aws-cdk-lib'
import { ComparisonOperator, MathExpression, Metric } from 'aws-cdk-lib/aws-cloudwatch'
import type { ITopic } from 'aws-cdk-lib/aws-sns'
import { Construct } from 'constructs'
import { PHOTO_REQUESTS } from '../names.ts'
import { alarm } from './alarm.ts'

export type PhotoAlarmsProps = { readonly topic: ITopic; readonly bucketName: string }

const FIVE_MINUTES = Duration.minutes(5)
/** Fewer say little: one late upload among three would be a third. */
const ENOUGH = 20

/** S3's metrics of each minute, which the bucket asks for. */
export const photoMetric = (bucketName: string, metricName: string, statistic = 'Sum') =>
  new Metric({
    namespace: 'AWS/S3',
    metricName,
    dimensionsMap: { BucketName: bucketName, FilterId: PHOTO_REQUESTS },
    statistic,
    period: FIVE_MINUTES,
  })

/** When uploads and downloads fail, which no service sees: they go past them. */
export class PhotoAlarms extends Construct {
  constructor(scope: Construct, id: string, { topic, bucketName }: PhotoAlarmsProps) {
    super(scope, id)
    const common = {
      topic,
      runbook: 'photo-bucket-errors',
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
    }
    alarm(this, 'Refused', {
      ...common,
      alarmName: 'task-mgmt-photo-bucket-4xx',
      says: 'For 15 minutes S3 refused more than 20 % of the requests for photos.',
      metric: rate(bucketName, '4xxErrors', 'Refused, %'),
      threshold: 20,
      evaluationPeriods: 3,
    })
    alarm(this, 'Failed', {
      ...common,
      alarmName: 'task-mgmt-photo-bucket-5xx',
      says: 'S3 failed to answer more than 5 % of the requests for photos over 5 minutes.',
      metric: rate(bucketName, '5xxErrors', 'Failed, %'),
      threshold: 5,
      evaluationPeriods: 1,
    })
  }
}

const rate = (bucketName: string, errors: string, label: string) =>
  new MathExpression({
    expression: `IF(FILL(requests, 0) >= ${ENOUGH}, 100 * FILL(errors, 0) / requests, 0)`,
    usingMetrics: {
      requests: photoMetric(bucketName, 'AllRequests'),
      errors: photoMetric(bucketName, errors),
    },
    label,
    period: FIVE_MINUTES,
  })
