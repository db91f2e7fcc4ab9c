import { join } from 'node:path'
import { Duration } from 'aws-cdk-lib'
import type { PolicyStatement } from 'aws-cdk-lib/aws-iam'
import { Runtime } from 'aws-cdk-lib/aws-lambda'
import { NodejsFunction } from 'aws-cdk-lib/aws-lambda-nodejs'
import type { ILogGroup } from 'aws-cdk-lib/aws-logs'
import type { Construct } from 'constructs'

export type HandlerProps = {
  /** In cdk/handlers, without its ending. */
  readonly file: string
  /** What the file exports. */
  readonly handler: string
  readonly logs: ILogGroup
  readonly statements: readonly PolicyStatement[]
  /** @default - 30 seconds */
  readonly timeout?: Duration
}

/** A function of Lambda, bundled from cdk/handlers. The AWS SDK is in Lambda already. */
export function handler(scope: Construct, id: string, props: HandlerProps): NodejsFunction {
  return new NodejsFunction(scope, id, {
    entry: join(import.meta.dirname, `../handlers/${props.file}.ts`),
    handler: props.handler,
    runtime: Runtime.NODEJS_24_X,
    timeout: props.timeout ?? Duration.seconds(30),
    memorySize: 256,
    logGroup: props.logs,
    initialPolicy: [...props.statements],
    bundling: { target: 'node24', externalModules: ['@aws-sdk/*'] },
  })
}
