import { join } from 'node:path'
import { Duration } from 'aws-cdk-lib'
import type { PolicyStatement } from 'aws-cdk-lib/aws-iam'
import { Runtime } from 'aws-cdk-lib/aws-lambda'
import { NodejsFunction, type NodejsFunctionProps } from 'aws-cdk-lib/aws-lambda-nodejs'
import type { ILogGroup } from 'aws-cdk-lib/aws-logs'
import type { IQueue } from 'aws-cdk-lib/aws-sqs'
import type { Construct } from 'constructs'

export type HandlerProps = {
  /** In cdk/handlers, without its extension. */
  readonly file: string
  /** What the file exports. */
  readonly handler: string
  readonly logs: ILogGroup
  readonly statements: readonly PolicyStatement[]
  /** @default - one that CloudFormation generates: nobody else refers to the function */
  readonly functionName?: string
  /** @default - none */
  readonly environment?: Readonly<Record<string, string>>
  /** @default - outside of the VPC */
  readonly network?: Pick<NodejsFunctionProps, 'vpc' | 'vpcSubnets' | 'securityGroups'>
  /** For what its retries could not do. @default - none */
  readonly deadLetterQueue?: IQueue
  /** @default - 30 seconds */
  readonly timeout?: Duration
}

/** A Lambda function, bundled from cdk/handlers. Lambda already has the AWS SDK. */
export function handler(scope: Construct, id: string, props: HandlerProps): NodejsFunction {
  const { file, logs, statements, network, ...rest } = props
  return new NodejsFunction(scope, id, {
    timeout: Duration.seconds(30),
    ...rest,
    ...network,
    entry: join(import.meta.dirname, `../handlers/${file}.ts`),
    runtime: Runtime.NODEJS_24_X,
    memorySize: 256,
    logGroup: logs,
    initialPolicy: [...statements],
    bundling: { target: 'node24', externalModules: ['@aws-sdk/*'] },
  })
}
