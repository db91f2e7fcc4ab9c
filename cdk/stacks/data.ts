import { CfnDeletionPolicy, Duration, RemovalPolicy, Stack, type StackProps } from 'aws-cdk-lib'
import { InstanceType } from 'aws-cdk-lib/aws-ec2'
import type { Key } from 'aws-cdk-lib/aws-kms'
import {
  CaCertificate,
  type CfnDBInstance,
  Credentials,
  DatabaseInstance,
  DatabaseInstanceEngine,
  DatabaseInstanceFromSnapshot,
  type DatabaseInstanceFromSnapshotProps,
  type DatabaseInstanceSourceProps,
  ParameterGroup,
  PostgresEngineVersion,
  StorageType,
  SubnetGroup,
} from 'aws-cdk-lib/aws-rds'
import { StringParameter } from 'aws-cdk-lib/aws-ssm'
import type { Construct } from 'constructs'
import { type Environment, instanceName } from '../config/schema.ts'
import { AppSecrets } from '../constructs/app-secrets.ts'
import { customerKey } from '../constructs/customer-key.ts'
import { privateSubnets } from '../constructs/existing-vpc.ts'
import { fixedGroup } from '../constructs/fixed-group.ts'
import { logGroup } from '../constructs/log-group.ts'
import {
  DATABASE,
  DATABASE_ADDRESS,
  DATABASE_ADMIN,
  DATABASE_ADMIN_SECRET,
  DATABASE_PORT,
} from '../names.ts'
import type { NetworkStack } from './network.ts'

export type DataProps = StackProps & {
  readonly environment: Environment
  readonly network: NetworkStack
}

const EXPORTED_LOGS = ['postgresql', 'upgrade']

/** What must outlive every deployment: the key, the secrets and the database. */
export class DataStack extends Stack {
  readonly key: Key
  readonly secrets: AppSecrets

  constructor(scope: Construct, id: string, props: DataProps) {
    super(scope, id, props)
    this.key = customerKey(this, 'Key')
    this.secrets = new AppSecrets(this, 'Secrets', this.key)
    const { dbInstanceEndpointAddress, node } = this.#database(props)
    // Not a generated secret that we rotate: that adds a function that can reach the database.
    const { attrMasterUserSecretSecretArn } = node.defaultChild as CfnDBInstance
    this.#publish('Address', DATABASE_ADDRESS, dbInstanceEndpointAddress)
    this.#publish('AdministratorSecret', DATABASE_ADMIN_SECRET, attrMasterUserSecretSecretArn)
  }

  #publish(id: string, parameterName: string, stringValue: string): void {
    new StringParameter(this, id, { parameterName, stringValue })
  }

  #database({ environment, network }: DataProps): DatabaseInstance | DatabaseInstanceFromSnapshot {
    const { database } = environment
    const name = instanceName(database)
    const engine = DatabaseInstanceEngine.postgres({
      // Only the major version: minor versions come in the maintenance window.
      version: PostgresEngineVersion.of('15', '15'),
    })
    const common = {
      instanceIdentifier: name,
      engine,
      instanceType: new InstanceType(database.instanceType),
      multiAz: database.multiAz,
      autoMinorVersionUpgrade: true,
      parameterGroup: new ParameterGroup(this, 'Parameters', {
        engine,
        description: 'TLS only; as many connections as the alarm counts with',
        parameters: {
          'rds.force_ssl': '1',
          max_connections: String(database.maxConnections),
          log_min_duration_statement: '1000',
          // Statements, their parameters and the details of errors can contain what people wrote.
          log_min_error_statement: 'panic',
          log_parameter_max_length: '0',
          log_parameter_max_length_on_error: '0',
          log_error_verbosity: 'terse',
        },
      }),
      ...this.#place(network),
      ...this.#storage(environment),
      cloudwatchLogsExports: EXPORTED_LOGS,
      monitoringInterval: Duration.minutes(1),
    }
    const instance =
      database.restoreFrom === undefined
        ? this.#empty(common)
        : this.#restored({ ...common, snapshotIdentifier: database.restoreFrom.snapshot })
    // An instance replaced by a restored one stays, protected, until somebody deletes it.
    const { cfnOptions } = instance.node.defaultChild as CfnDBInstance
    cfnOptions.updateReplacePolicy = CfnDeletionPolicy.RETAIN
    // RDS would create them itself, and never delete their lines.
    for (const log of EXPORTED_LOGS) {
      const path = `/aws/rds/instance/${name}/${log}`
      instance.node.addDependency(logGroup(this, `${log}-log`, path, this.key))
    }
    return instance
  }

  #empty(common: DatabaseInstanceSourceProps): DatabaseInstance {
    return new DatabaseInstance(this, 'Database', {
      ...common,
      databaseName: DATABASE,
      storageEncrypted: true,
      storageEncryptionKey: this.key,
      credentials: Credentials.fromUsername(DATABASE_ADMIN, { encryptionKey: this.key }),
      manageMasterUserPassword: true,
    })
  }

  /** Database, encryption and the administrator's name come from the snapshot. */
  #restored(props: DatabaseInstanceFromSnapshotProps): DatabaseInstanceFromSnapshot {
    const instance = new DatabaseInstanceFromSnapshot(this, 'Database', props)
    // The library has no property for it yet (aws-cdk issue 38175). CloudFormation sets it right after the
    // restore, and RDS then creates a new secret with a new password.
    const resource = instance.node.defaultChild as CfnDBInstance
    resource.manageMasterUserPassword = true
    resource.masterUserSecret = { kmsKeyId: this.key.keyArn }
    return instance
  }

  #place({ vpc, database }: NetworkStack) {
    const vpcSubnets = privateSubnets(vpc)
    return {
      vpc,
      vpcSubnets,
      subnetGroup: new SubnetGroup(this, 'Subnets', {
        subnetGroupName: 'task-mgmt-db-subnet-group',
        description: 'The private subnets',
        vpc,
        vpcSubnets,
      }),
      securityGroups: [fixedGroup(this, database)],
      port: DATABASE_PORT,
      publiclyAccessible: false,
      // The images contain its root, so that services can verify the server.
      caCertificate: CaCertificate.RDS_CA_RSA2048_G1,
    }
  }

  #storage({ database, deletionProtection }: Environment) {
    const { storageGiB, maxStorageGiB } = database
    return {
      storageType: StorageType.GP3,
      allocatedStorage: storageGiB,
      maxAllocatedStorage: maxStorageGiB,
      backupRetention: Duration.days(7),
      preferredBackupWindow: '04:00-04:30',
      preferredMaintenanceWindow: 'Sun:05:00-Sun:05:30',
      copyTagsToSnapshot: true,
      deleteAutomatedBackups: false,
      deletionProtection,
      removalPolicy: RemovalPolicy.SNAPSHOT,
    }
  }
}
