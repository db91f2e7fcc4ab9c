import { RemovalPolicy, Stack } from 'aws-cdk-lib'
import { AnyPrincipal, Effect, PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam'
import { Key } from 'aws-cdk-lib/aws-kms'
import type { Construct } from 'constructs'
import { ALARM_TOPIC, DATABASE_INSTANCE, KEY_ALIAS, REDIS } from '../names.ts'

/**
 * Our only key: it encrypts secrets, database, logs and alarm messages. AWS services may use it for us,
 * each for its own purpose; everyone else needs a statement in a role.
 */
export function customerKey(scope: Construct, id: string, otherLogs: readonly string[]): Key {
  const { account, region } = Stack.of(scope)
  const key = new Key(scope, id, {
    alias: KEY_ALIAS,
    description: 'Secrets, database, logs and alarms of Tasktrail',
    enableKeyRotation: true,
    removalPolicy: RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
  })
  const logGroups = [...LOG_GROUPS, ...otherLogs].map(
    (name) => `arn:aws:logs:${region}:${account}:log-group:${name}`,
  )
  key.addToResourcePolicy(
    new PolicyStatement({
      sid: 'LogGroupsOfTasktrail',
      principals: [new ServicePrincipal(`logs.${region}.amazonaws.com`)],
      actions: [
        'kms:Encrypt',
        'kms:Decrypt',
        'kms:ReEncrypt*',
        'kms:GenerateDataKey*',
        'kms:Describe*',
      ],
      resources: ['*'],
      conditions: { ArnLike: { 'kms:EncryptionContext:aws:logs:arn': logGroups } },
    }),
  )
  key.addToResourcePolicy(
    new PolicyStatement({
      sid: 'AlarmsToTheirTopic',
      principals: [new ServicePrincipal('cloudwatch.amazonaws.com')],
      actions: ['kms:Decrypt', 'kms:GenerateDataKey*'],
      resources: ['*'],
      conditions: { StringEquals: { 'aws:SourceAccount': account } },
    }),
  )
  const topic = `arn:aws:sns:${region}:${account}:${ALARM_TOPIC}`
  for (const [sid, service] of [
    ['EventsToTheirTopic', 'events.amazonaws.com'],
    ['DatabaseEventsToTheirTopic', 'events.rds.amazonaws.com'],
  ] as const) {
    key.addToResourcePolicy(
      new PolicyStatement({
        sid,
        principals: [new ServicePrincipal(service)],
        actions: ['kms:Decrypt', 'kms:GenerateDataKey*'],
        resources: ['*'],
        conditions: { StringEquals: { 'kms:EncryptionContext:aws:sns:topicArn': topic } },
      }),
    )
  }
  // AWS services create grants for each other; nobody else may.
  key.addToResourcePolicy(
    new PolicyStatement({
      sid: 'GrantsForAwsOnly',
      effect: Effect.DENY,
      principals: [new AnyPrincipal()],
      actions: ['kms:CreateGrant'],
      resources: ['*'],
      conditions: {
        BoolIfExists: {
          'kms:GrantIsForAWSResource': 'false',
          'aws:PrincipalIsAWSService': 'false',
        },
      },
    }),
  )
  return key
}

const LOG_GROUPS = [
  '/ecs/*',
  '/aws/events/task-management/*',
  '/aws/lambda/task-mgmt-*',
  `/aws/elasticache/${REDIS}/*`,
  `/aws/rds/instance/${DATABASE_INSTANCE}*`,
  `/aws/rds/cluster/${DATABASE_INSTANCE}*`,
]
