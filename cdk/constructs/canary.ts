import { Duration, RemovalPolicy } from 'aws-cdk-lib'
import { ComparisonOperator, Metric, TreatMissingData } from 'aws-cdk-lib/aws-cloudwatch'
import { Rule, Schedule } from 'aws-cdk-lib/aws-events'
import { LambdaFunction } from 'aws-cdk-lib/aws-events-targets'
import { PolicyStatement } from 'aws-cdk-lib/aws-iam'
import type { IKey } from 'aws-cdk-lib/aws-kms'
import type { NodejsFunction } from 'aws-cdk-lib/aws-lambda-nodejs'
import { LogGroup } from 'aws-cdk-lib/aws-logs'
import { Secret } from 'aws-cdk-lib/aws-secretsmanager'
import type { ITopic } from 'aws-cdk-lib/aws-sns'
import { Construct } from 'constructs'
import { handlerLogs, handlerName } from '../names.ts'
import { alarm } from './alarm.ts'
import { handler } from './handler.ts'
import { mayDecrypt } from './secret-access.ts'

export type CanaryProps = {
  /** The address of the API for users. */
  readonly url: string
  readonly topic: ITopic
  readonly key: IKey
}

const INTERVAL = Duration.minutes(5)

/**
 * A synthetic user that comes every five minutes from outside: through name, certificate, load balancer,
 * both services and the database. A single failed visit counts, not a rate, and no other user's request is
 * needed to notice it.
 */
export class Canary extends Construct {
  constructor(scope: Construct, id: string, props: CanaryProps) {
    super(scope, id)
    const visitor = this.#visitor(props)
    // The next visit comes soon enough, and a retry would count twice.
    visitor.configureAsyncInvoke({ retryAttempts: 0, maxEventAge: INTERVAL })
    new Rule(this, 'Schedule', {
      schedule: Schedule.rate(INTERVAL),
      targets: [new LambdaFunction(visitor)],
    })
    alarm(this, 'Failing', {
      topic: props.topic,
      alarmName: 'task-mgmt-canary-failing',
      says: 'The canary could not log in, list tasks and log out twice in a row, or did not run.',
      runbook: 'canary-failing',
      metric: canaryMetrics.failures,
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
      threshold: 0,
      evaluationPeriods: 2,
      treatMissingData: TreatMissingData.BREACHING,
    })
  }

  #visitor({ url, key }: CanaryProps): NodejsFunction {
    const { secretArn } = this.#password(key)
    return handler(this, 'Visitor', {
      file: 'canary',
      handler: 'onSchedule',
      functionName: handlerName('canary'),
      logs: LogGroup.fromLogGroupName(this, 'Logs', handlerLogs('canary')),
      environment: { API_URL: url, PASSWORD_ARN: secretArn },
      statements: [
        new PolicyStatement({
          sid: 'ReadOwnPassword',
          actions: ['secretsmanager:GetSecretValue'],
          resources: [secretArn],
        }),
        mayDecrypt(this, key.keyArn, [secretArn]),
      ],
    })
  }

  /**
   * Nothing is lost if it is deleted: a new password gets a new account. Without a fixed name, because that of
   * a deleted secret stays taken for weeks.
   */
  #password(encryptionKey: IKey): Secret {
    return new Secret(this, 'Password', {
      description: 'The password of the canary',
      generateSecretString: { passwordLength: 64, excludePunctuation: true },
      encryptionKey,
      removalPolicy: RemovalPolicy.DESTROY,
    })
  }
}

const metric = (metricName: string, statistic: string) =>
  new Metric({
    namespace: 'AWS/Lambda',
    metricName,
    dimensionsMap: { FunctionName: handlerName('canary') },
    statistic,
    period: INTERVAL,
  })

/** Lambda's metrics of the visits; each failed visit is an error. */
export const canaryMetrics = {
  visits: metric('Invocations', 'Sum'),
  failures: metric('Errors', 'Sum'),
  duration: metric('Duration', 'Maximum'),
}
