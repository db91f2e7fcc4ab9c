import { RemovalPolicy } from 'aws-cdk-lib'
import type { IKey } from 'aws-cdk-lib/aws-kms'
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs'
import type { Construct } from 'constructs'
import type { Environment } from '../config/schema.ts'

export type LogGroupProps = {
  readonly environment: Pick<Environment, 'name'>
  /** @default - that of CloudWatch, for what is there before our key */
  readonly key?: IKey
}

/** Kept when its stack is deleted: that is when logs are read. */
export const logGroup = (
  scope: Construct,
  id: string,
  logGroupName: string,
  { environment, key }: LogGroupProps,
): LogGroup =>
  new LogGroup(scope, id, {
    logGroupName,
    retention: environment.name === 'prod' ? RetentionDays.THREE_MONTHS : RetentionDays.ONE_MONTH,
    ...(key !== undefined && { encryptionKey: key }),
    removalPolicy: RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
  })
