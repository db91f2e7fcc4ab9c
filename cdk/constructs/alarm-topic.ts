import { Stack } from 'aws-cdk-lib'
import { PolicyStatement, ServicePrincipal } from 'aws-cdk-lib/aws-iam'
import type { IKey } from 'aws-cdk-lib/aws-kms'
import { Topic } from 'aws-cdk-lib/aws-sns'
import { EmailSubscription } from 'aws-cdk-lib/aws-sns-subscriptions'
import type { Construct } from 'constructs'
import { ALARM_TOPIC } from '../names.ts'

/** The topic of all alarms. Each address gets a message first, and must confirm it. */
export function alarmTopic(scope: Construct, key: IKey, emails: readonly string[]): Topic {
  const topic = new Topic(scope, 'Alarms', {
    topicName: ALARM_TOPIC,
    displayName: 'Tasktrail',
    masterKey: key,
    enforceSSL: true,
  })
  // The policy that enforces TLS replaces the default one, which lets alarms send.
  const thisAccount = { StringEquals: { 'aws:SourceAccount': Stack.of(topic).account } }
  const mayPublish = (sid: string, service: string, conditions: object) =>
    topic.addToResourcePolicy(
      new PolicyStatement({
        sid,
        principals: [new ServicePrincipal(service)],
        actions: ['sns:Publish'],
        resources: [topic.topicArn],
        conditions: { ...conditions },
      }),
    )
  mayPublish('AlarmsOfThisAccount', 'cloudwatch.amazonaws.com', thisAccount)
  mayPublish('DatabaseEventsOfThisAccount', 'events.rds.amazonaws.com', thisAccount)
  // EventBridge supports no condition in the policy of a topic.
  mayPublish('EventsToTheirTopic', 'events.amazonaws.com', {})
  for (const email of emails) topic.addSubscription(new EmailSubscription(email))
  return topic
}
