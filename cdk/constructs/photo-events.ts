import { Duration, RemovalPolicy } from 'aws-cdk-lib'
import { ComparisonOperator } from 'aws-cdk-lib/aws-cloudwatch'
import type { ISecurityGroup, IVpc } from 'aws-cdk-lib/aws-ec2'
import { Match, Rule } from 'aws-cdk-lib/aws-events'
import { LambdaFunction } from 'aws-cdk-lib/aws-events-targets'
import { PolicyStatement } from 'aws-cdk-lib/aws-iam'
import type { IKey } from 'aws-cdk-lib/aws-kms'
import type { NodejsFunction } from 'aws-cdk-lib/aws-lambda-nodejs'
import { LogGroup } from 'aws-cdk-lib/aws-logs'
import type { ITopic } from 'aws-cdk-lib/aws-sns'
import { Queue, QueueEncryption } from 'aws-cdk-lib/aws-sqs'
import { Construct } from 'constructs'
import { HANDLER_CALLS } from '../catalogue.ts'
import { handlerLogs, handlerName, NAMESPACE, PHOTO_REPORTS, SERVICE_PORT } from '../names.ts'
import { alarm } from './alarm.ts'
import { privateSubnets } from './existing-vpc.ts'
import { handler } from './handler.ts'
import { USERS } from './photo-roles.ts'
import { mayDecrypt } from './secret-access.ts'

export type PhotoEventsProps = {
  readonly bucketName: string
  readonly vpc: IVpc
  readonly securityGroup: ISecurityGroup
  readonly key: IKey
  /** The secret with the key that task-service knows its callers by. */
  readonly apiKeyArn: string
  readonly topic: ITopic
}

const HANDLER = 'photo-uploaded'

/**
 * S3 says what was uploaded, and a function says it to task-service: a client that uploads and then goes
 * away has its photo too. By EventBridge, which the bucket need not know: it is older than the function.
 */
export class PhotoEvents extends Construct {
  constructor(scope: Construct, id: string, props: PhotoEventsProps) {
    super(scope, id)
    const failed = new Queue(this, 'Failed', {
      encryption: QueueEncryption.SQS_MANAGED,
      enforceSSL: true,
      retentionPeriod: Duration.days(14),
      removalPolicy: RemovalPolicy.DESTROY,
    })
    new Rule(this, 'Uploaded', {
      description: 'Originals of photos: nobody waits for thumbnails',
      eventPattern: {
        source: ['aws.s3'],
        detailType: ['Object Created'],
        detail: {
          bucket: { name: [props.bucketName] },
          object: { key: Match.wildcard(`${USERS}*/original`) },
        },
      },
      targets: [new LambdaFunction(this.#reporter(props, failed))],
    })
    alarm(this, 'Failing', {
      topic: props.topic,
      alarmName: 'task-mgmt-photo-events-failed',
      says: 'task-service could not be told of an upload, in three tries.',
      runbook: 'photo-events-failed',
      metric: failed.metricApproximateNumberOfMessagesVisible({
        statistic: 'Maximum',
        period: Duration.minutes(5),
      }),
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      threshold: 0,
      evaluationPeriods: 1,
    })
  }

  #reporter(props: PhotoEventsProps, failed: Queue): NodejsFunction {
    const { vpc, securityGroup, key, apiKeyArn } = props
    return handler(this, 'Reporter', {
      file: HANDLER,
      handler: 'onObjectCreated',
      functionName: handlerName(HANDLER),
      logs: LogGroup.fromLogGroupName(this, 'Logs', handlerLogs(HANDLER)),
      environment: {
        API_KEY_ARN: apiKeyArn,
        REPORT_URL: `http://${HANDLER_CALLS[HANDLER]}.${NAMESPACE}:${SERVICE_PORT}${PHOTO_REPORTS}`,
      },
      statements: [
        new PolicyStatement({
          sid: 'ReadTheKeyOfTheServices',
          actions: ['secretsmanager:GetSecretValue'],
          resources: [apiKeyArn],
        }),
        mayDecrypt(this, key.keyArn, [apiKeyArn]),
      ],
      network: { vpc, vpcSubnets: privateSubnets(vpc), securityGroups: [securityGroup] },
      deadLetterQueue: failed,
    })
  }
}
