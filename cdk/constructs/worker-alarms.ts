import { ComparisonOperator, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch'
import type { ITopic } from 'aws-cdk-lib/aws-sns'
import { Construct } from 'constructs'
import { alarm } from './alarm.ts'
import { workerMetrics } from './worker-metrics.ts'

/** When someone must look at the audit trail, or at the log's signatures. */
export class WorkerAlarms extends Construct {
  constructor(scope: Construct, id: string, topic: ITopic) {
    super(scope, id)
    const above = { topic, comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD }
    alarm(this, 'Lagging', {
      ...above,
      alarmName: 'task-mgmt-projection-lagging',
      says: 'The audit trail was more than 60 s behind for 5 minutes, or no worker reports its lag.',
      runbook: 'projection-lagging',
      metric: workerMetrics.auditLag,
      threshold: 60,
      evaluationPeriods: 5,
      // If no worker runs there is no lag metric, only missing data.
      treatMissingData: TreatMissingData.BREACHING,
    })
    alarm(this, 'Parked', {
      ...above,
      alarmName: 'task-mgmt-projection-parked',
      says: 'A stream has an event that the audit trail cannot process.',
      runbook: 'projection-parked',
      metric: workerMetrics.parkedStreams,
      threshold: 0,
      evaluationPeriods: 1,
    })
    alarm(this, 'Unsigned', {
      ...above,
      alarmName: 'task-mgmt-log-unsigned',
      says: 'For 5 minutes there was an event older than 60 s that no checkpoint covers.',
      runbook: 'log-unsigned',
      metric: workerMetrics.unloggedAge,
      threshold: 60,
      evaluationPeriods: 5,
    })
    alarm(this, 'Refused', {
      ...above,
      alarmName: 'task-mgmt-log-refused',
      says: 'The worker does not sign, because the log is not as it or a witness knows it.',
      runbook: 'log-unsigned',
      metric: workerMetrics.signingRefusals,
      threshold: 0,
      evaluationPeriods: 1,
    })
    alarm(this, 'Drift', {
      ...above,
      alarmName: 'task-mgmt-drift-found',
      says: 'A view or a key differs from the log.',
      runbook: 'drift-found',
      metric: workerMetrics.drift,
      threshold: 0,
      evaluationPeriods: 1,
    })
  }
}
