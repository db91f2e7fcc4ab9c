import { CfnDeletionPolicy, type CfnResource, Duration, RemovalPolicy } from 'aws-cdk-lib'
import type { ISecurityGroup, IVpc } from 'aws-cdk-lib/aws-ec2'
import { CaCertificate, SubnetGroup } from 'aws-cdk-lib/aws-rds'
import type { Construct } from 'constructs'
import type { Environment } from '../config/schema.ts'
import { DATABASE_PORT } from '../names.ts'
import { dataSubnets } from './existing-vpc.ts'
import { fixedGroup } from './fixed-group.ts'
import { type LogGroupProps, logGroup } from './log-group.ts'

export type DatabaseProps = {
  readonly environment: Environment
  readonly network: { readonly vpc: IVpc; readonly database: ISecurityGroup }
}

export type Database = {
  /** Of the primary, whichever server that is. */
  readonly address: string
  /** Of what may be read from instead. */
  readonly readAddress: string | null
  /**
   * The ARN of a secret of RDS. Not a generated secret that we rotate: that adds a function that can reach the
   * database.
   */
  readonly administratorSecret: string
}

/** What a server with PostgreSQL is told, whichever engine it has. */
export const PARAMETERS = {
  'rds.force_ssl': '1',
  log_min_duration_statement: '1000',
  // Statements, their parameters and the details of errors can contain what people wrote.
  log_min_error_statement: 'panic',
  log_parameter_max_length: '0',
  log_parameter_max_length_on_error: '0',
  log_error_verbosity: 'terse',
} as const

/** How long it keeps what, and when it is worked on. */
export const KEEPING = {
  retention: Duration.days(7),
  backupWindow: '04:00-04:30',
  maintenanceWindow: 'Sun:05:00-Sun:05:30',
  monitoringInterval: Duration.minutes(1),
  removalPolicy: RemovalPolicy.SNAPSHOT,
} as const

export function placeOf(scope: Construct, { vpc, database }: DatabaseProps['network']) {
  const vpcSubnets = dataSubnets(vpc)
  return {
    vpc,
    vpcSubnets,
    subnetGroup: new SubnetGroup(scope, 'Subnets', {
      subnetGroupName: 'task-mgmt-db-subnet-group',
      description: 'The private subnets',
      vpc,
      vpcSubnets,
    }),
    securityGroups: [fixedGroup(scope, database)],
    port: DATABASE_PORT,
  }
}

/** The images contain its root, so that services can verify the server. */
export const CA_CERTIFICATE = CaCertificate.RDS_CA_RSA2048_G1

/** One replaced by a restored one stays, protected, until somebody deletes it. */
export function retainWhenReplaced(database: Construct): void {
  const { cfnOptions } = database.node.defaultChild as CfnResource
  cfnOptions.updateReplacePolicy = CfnDeletionPolicy.RETAIN
}

/** RDS would create them itself, and never delete their lines. */
export function logsOf(
  database: Construct,
  path: string,
  logs: readonly string[],
  kept: LogGroupProps,
  suffix = '-log',
): void {
  for (const log of logs) {
    const scope = database.node.scope as Construct
    database.node.addDependency(logGroup(scope, `${log}${suffix}`, `${path}/${log}`, kept))
  }
}
