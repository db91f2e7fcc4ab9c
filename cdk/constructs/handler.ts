import { join } from 'node:path'
import { Duration } from 'aws-cdk-lib'
import type { PolicyStatement } from 'aws-cdk-lib/aws-iam'
import { Runtime } from 'aws-cdk-lib/aws-lambda'
import { NodejsFunction } from 'aws-cdk-lib/aws-lambda-nodejs'
import type { ILogGroup } from 'aws-cdk-lib/aws-logs'
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
  /** @default - 30 seconds */
  readonly timeout?: Duration
}

/** A Lambda function, bundled from cdk/handlers. Lambda already has the AWS SDK. */
export function handler(scope: Construct, id: string, props: HandlerProps): NodejsFunction {
  const { file, logs, statements, ...rest } = props
  return new NodejsFunction(scope, id, {
    timeout: Duration.seconds(30),
    ...rest,
    entry: join(import.meta.dirname, `../handlers/${file}.ts`),
    runtime: Runtime.NODEJS_24_X,
    memorySize: 256,
    logGroup: logs,
    initialPolicy: [...statements],
    bundling: { target: 'node24', externalModules: ['@aws-sdk/*'] },
  })
}
