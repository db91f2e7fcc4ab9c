import { ArnFormat, Stack } from 'aws-cdk-lib'
import { type EventPattern, Match, Rule } from 'aws-cdk-lib/aws-events'
import { PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam'
import type { LogGroup } from 'aws-cdk-lib/aws-logs'
import { Construct } from 'constructs'
import { HTTP_SERVICE_NAMES } from '../catalogue.ts'
import { eventLogs } from '../names.ts'
import { type LogGroupProps, logGroup } from './log-group.ts'
import { scaleInAlarm, scaleOutAlarm } from './step-scaling.ts'

export type EventLogProps = LogGroupProps & {
  /** Names the log group. */
  readonly subject: string
  readonly patterns: Readonly<Record<string, EventPattern>>
}

/**
 * AWS events, stored in full in a log group. Not the library's `CloudWatchLogGroup` target: that deploys a
 * function only to let EventBridge write.
 */
export class EventLog extends Construct {
  readonly logs: LogGroup

  constructor(scope: Construct, id: string, { subject, patterns, ...kept }: EventLogProps) {
    super(scope, id)
    this.logs = logGroup(this, 'Logs', eventLogs(subject), kept)
    this.logs.addToResourcePolicy(
      new PolicyStatement({
        principals: [
          new ServicePrincipal('events.amazonaws.com'),
          new ServicePrincipal('delivery.logs.amazonaws.com'),
        ],
        actions: ['logs:CreateLogStream', 'logs:PutLogEvents'],
        resources: [this.logs.logGroupArn],
      }),
    )
    // The group's own ARN ends in `:*`, which EventBridge does not accept as a target.
    const arn = Stack.of(this).formatArn({
      service: 'logs',
      resource: 'log-group',
      resourceName: this.logs.logGroupName,
      arnFormat: ArnFormat.COLON_RESOURCE_NAME,
    })
    for (const [name, eventPattern] of Object.entries(patterns)) {
      new Rule(this, name, { eventPattern, targets: [{ bind: () => ({ arn }) }] })
    }
  }
}

/** Every stopped task, with the exit codes of its containers and the reason. */
export const taskStops = (clusterArn: string): Readonly<Record<string, EventPattern>> => ({
  Stopped: {
    source: ['aws.ecs'],
    detailType: ['ECS Task State Change'],
    detail: { clusterArn: [clusterArn], lastStatus: ['STOPPED'] },
  },
})

/**
 * Those of them that ended by themselves with an error, or never started; not those that ECS stopped. In
 * any container: AWS may add one of its own to ours.
 */
export const taskCrashes = (clusterArn: string): Readonly<Record<string, EventPattern>> => ({
  Crashed: {
    source: ['aws.ecs'],
    detailType: ['ECS Task State Change'],
    detail: {
      clusterArn: [clusterArn],
      lastStatus: ['STOPPED'],
      $or: [
        { stopCode: ['TaskFailedToStart'] },
        {
          stopCode: ['EssentialContainerExited'],
          containers: { exitCode: Match.anythingBut(0) },
        },
      ],
    },
  },
})

/** What scaling decided and did, and what deployments did. */
export const scalingAndDeployments = (
  clusterArn: string,
): Readonly<Record<string, EventPattern>> => ({
  Alarms: {
    source: ['aws.cloudwatch'],
    detailType: ['CloudWatch Alarm State Change'],
    detail: {
      alarmName: HTTP_SERVICE_NAMES.flatMap((name) => [scaleOutAlarm(name), scaleInAlarm(name)]),
    },
  },
  // ECS reports every change of the desired count here, and whether the service became steady.
  Services: {
    source: ['aws.ecs'],
    detailType: ['ECS Service Action'],
    detail: { clusterArn: [clusterArn] },
  },
  // These do not name their cluster.
  Deployments: { source: ['aws.ecs'], detailType: ['ECS Deployment State Change'] },
  AtMaximum: {
    source: ['aws.application-autoscaling'],
    detailType: ['Application Auto Scaling Scaling Activity State Change'],
  },
  Nodes: {
    source: ['aws.autoscaling'],
    detailType: Match.prefix('EC2 Instance'),
  },
})
