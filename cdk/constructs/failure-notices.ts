import { Stack } from 'aws-cdk-lib'
import { EventField, type IRuleTarget, Match, Rule, RuleTargetInput } from 'aws-cdk-lib/aws-events'
import { CfnEventSubscription } from 'aws-cdk-lib/aws-rds'
import type { ITopic } from 'aws-cdk-lib/aws-sns'
import { Construct } from 'constructs'
import { databaseIdentifier, type Environment, serverName } from '../config/schema.ts'
import { CLUSTER } from '../names.ts'

export type FailureNoticesProps = {
  readonly topic: ITopic
  readonly database: Environment['database']
}

/** What AWS reports once and no metric shows goes to the topic as it is. */
export class FailureNotices extends Construct {
  constructor(scope: Construct, id: string, props: FailureNoticesProps) {
    super(scope, id)
    this.#deployments(props)
    this.#database(props)
    if (props.database.engine === 'rds') this.#storage(props)
  }

  /** Also those that ECS rolls back by itself, and those that nobody waits for. */
  #deployments({ topic }: FailureNoticesProps): void {
    const { account, region } = Stack.of(this)
    const service = EventField.fromPath('$.resources[0]')
    const reason = EventField.fromPath('$.detail.reason')
    const input = RuleTargetInput.fromText(
      `A deployment of ${service} failed: ${reason} Runbook: docs/runbooks/deployment-failed.md`,
    )
    new Rule(this, 'Deployments', {
      eventPattern: {
        source: ['aws.ecs'],
        detailType: ['ECS Deployment State Change'],
        resources: Match.prefix(`arn:aws:ecs:${region}:${account}:service/${CLUSTER}/`),
        detail: { eventName: ['SERVICE_DEPLOYMENT_FAILED'] },
      },
      targets: [sends(topic, input)],
    })
  }

  /** RDS knows how much is allocated, and reports when it can give no more. */
  #database({ topic, database }: FailureNoticesProps): void {
    new CfnEventSubscription(this, 'Database', {
      snsTopicArn: topic.topicArn,
      enabled: true,
      sourceType: 'db-instance',
      sourceIds: [...instancesOf(database)],
      eventCategories: [
        'availability',
        'configuration change',
        'failover',
        'failure',
        'low storage',
        'maintenance',
        'recovery',
      ],
    })
    if (database.engine === 'rds') return
    new CfnEventSubscription(this, 'Cluster', {
      snsTopicArn: topic.topicArn,
      enabled: true,
      sourceType: 'db-cluster',
      sourceIds: [databaseIdentifier(database)],
      eventCategories: ['configuration change', 'failover', 'failure', 'maintenance'],
    })
  }

  /**
   * When autoscaling can add little more: 80 % of `maxStorageGiB` is allocated. The allocated size is not a
   * metric; RDS itself reports it, and a function of ours that polls it would need monitoring in turn. If it
   * can add nothing more, that is a `failure`, above. A rule, because the rest of this event's category
   * concerns nobody.
   */
  #storage({ topic, database }: FailureNoticesProps): void {
    const input = RuleTargetInput.fromText(
      `Database storage: ${EventField.fromPath('$.detail.Message')} ` +
        'Runbook: docs/runbooks/database-storage.md',
    )
    new Rule(this, 'Storage', {
      eventPattern: {
        source: ['aws.rds'],
        detailType: ['RDS DB Instance Event'],
        detail: { SourceIdentifier: [databaseIdentifier(database)], EventID: ['RDS-EVENT-0225'] },
      },
      targets: [sends(topic, input)],
    })
  }
}

function instancesOf(database: Environment['database']): readonly string[] {
  const name = databaseIdentifier(database)
  if (database.engine === 'rds') return database.readReplica ? [name, `${name}-replica`] : [name]
  return Array.from({ length: 1 + database.readers }, (_, index) => serverName(database, index + 1))
}

/** The topic's policy already lets EventBridge send; the library's target would add it again. */
const sends = ({ topicArn }: ITopic, input: RuleTargetInput): IRuleTarget => ({
  bind: () => ({ arn: topicArn, input }),
})
