import type { BaseService } from 'aws-cdk-lib/aws-ecs'
import type { ITopic } from 'aws-cdk-lib/aws-sns'
import { Construct } from 'constructs'
import { WORKER_TASKS } from '../catalogue.ts'
import { type EcsServiceProps, ecsService } from './ecs-service.ts'
import { WorkerAlarms } from './worker-alarms.ts'
import { WorkerMetrics } from './worker-metrics.ts'

export type WorkerServiceProps = EcsServiceProps & { readonly topic: ITopic }

/**
 * Updates the audit trail behind the log. It serves no requests, so it has no route and is registered
 * nowhere. It does not scale: each projection has one leader, however many tasks there are.
 */
export class WorkerService extends Construct {
  readonly service: BaseService

  constructor(scope: Construct, id: string, props: WorkerServiceProps) {
    super(scope, id)
    this.service = ecsService(this, props, { desiredCount: WORKER_TASKS })
    new WorkerMetrics(this, 'Metrics', props.task.logs)
    // Missing data raises an alarm, so the alarm must not exist before the worker does.
    new WorkerAlarms(this, 'Alarms', props.topic).node.addDependency(this.service)
  }
}
