import { Duration, Stack } from 'aws-cdk-lib'
import {
  AdjustmentType,
  MetricAggregationType,
  ScalableTarget,
  ServiceNamespace,
  StepScalingAction,
} from 'aws-cdk-lib/aws-applicationautoscaling'
import { Alarm, ComparisonOperator, Metric, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch'
import { ApplicationScalingAction } from 'aws-cdk-lib/aws-cloudwatch-actions'
import type { BaseService } from 'aws-cdk-lib/aws-ecs'
import { type IRole, Role } from 'aws-cdk-lib/aws-iam'
import { Construct } from 'constructs'
import { MAX_TASKS, MIN_TASKS } from '../catalogue.ts'

export const scaleOutAlarm = (service: string): string => `${service}-scale-out`
export const scaleInAlarm = (service: string): string => `${service}-scale-in`

export type StepScalingProps = {
  readonly cluster: string
  /** As in ECS and the alarms. */
  readonly serviceName: string
  readonly service: BaseService
}

/**
 * One more task while the CPU is above 70 % for a minute, one fewer after five minutes below 30 %, always
 * between two and ten.
 *
 * Written out, because `scaleOnMetric` uses >= 70 and <= 30 and has one period for both directions.
 */
export class StepScaling extends Construct {
  readonly #target: ScalableTarget
  readonly #cpu: Metric

  constructor(scope: Construct, id: string, props: StepScalingProps) {
    super(scope, id)
    const { cluster, serviceName, service } = props
    this.#target = new ScalableTarget(this, 'Target', {
      serviceNamespace: ServiceNamespace.ECS,
      scalableDimension: 'ecs:service:DesiredCount',
      resourceId: `service/${cluster}/${serviceName}`,
      minCapacity: MIN_TASKS,
      maxCapacity: MAX_TASKS,
      // Otherwise the library creates a role without rights.
      role: this.#serviceLinkedRole(),
    })
    // The id above is a plain string, so nothing else says that the service must exist first.
    this.#target.node.addDependency(service)
    this.#cpu = new Metric({
      namespace: 'AWS/ECS',
      metricName: 'CPUUtilization',
      dimensionsMap: { ClusterName: cluster, ServiceName: serviceName },
      statistic: 'Average',
      period: Duration.minutes(1),
    })
    this.#step('Out', {
      alarmName: scaleOutAlarm(serviceName),
      alarmDescription: 'Adds a task; scaling, not a call for help',
      operator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      threshold: 70,
      minutes: 1,
      change: 1,
      cooldown: Duration.seconds(60),
    })
    this.#step('In', {
      alarmName: scaleInAlarm(serviceName),
      alarmDescription: 'Removes a task; scaling, not a call for help',
      operator: ComparisonOperator.LESS_THAN_THRESHOLD,
      threshold: 30,
      minutes: 5,
      change: -1,
      cooldown: Duration.seconds(300),
    })
  }

  #serviceLinkedRole(): IRole {
    const resourceName = 'AWSServiceRoleForApplicationAutoScaling_ECSService'
    const roleArn = Stack.of(this).formatArn({
      service: 'iam',
      region: '',
      resource: 'role/aws-service-role/ecs.application-autoscaling.amazonaws.com',
      resourceName,
    })
    return Role.fromRoleArn(this, 'Role', roleArn, { mutable: false })
  }

  #step(id: string, step: Step): void {
    const { operator, threshold, minutes, change, cooldown, ...alarm } = step
    const action = new StepScalingAction(this, `${id}Policy`, {
      scalingTarget: this.#target,
      policyName: alarm.alarmName,
      adjustmentType: AdjustmentType.CHANGE_IN_CAPACITY,
      metricAggregationType: MetricAggregationType.AVERAGE,
      cooldown,
    })
    // Bounds count from the threshold: there is one step, however far beyond it the metric is.
    action.addAdjustment({
      adjustment: change,
      ...(change > 0 ? { lowerBound: 0 } : { upperBound: 0 }),
    })
    new Alarm(this, `${id}Alarm`, {
      ...alarm,
      metric: this.#cpu,
      comparisonOperator: operator,
      threshold,
      evaluationPeriods: minutes,
      datapointsToAlarm: minutes,
      treatMissingData: TreatMissingData.MISSING,
    }).addAlarmAction(new ApplicationScalingAction(action))
  }
}

type Step = {
  readonly alarmName: string
  readonly alarmDescription: string
  readonly operator: ComparisonOperator
  readonly threshold: number
  readonly minutes: number
  readonly change: 1 | -1
  readonly cooldown: Duration
}
