import { RemovalPolicy } from 'aws-cdk-lib'
import { InstanceType } from 'aws-cdk-lib/aws-ec2'
import type { Key } from 'aws-cdk-lib/aws-kms'
import {
  type CfnDBInstance,
  Credentials,
  DatabaseInstance,
  DatabaseInstanceEngine,
  DatabaseInstanceFromSnapshot,
  type DatabaseInstanceFromSnapshotProps,
  DatabaseInstanceReadReplica,
  type DatabaseInstanceSourceProps,
  ParameterGroup,
  PostgresEngineVersion,
  StorageType,
} from 'aws-cdk-lib/aws-rds'
import type { Construct } from 'constructs'
import { databaseIdentifier, type Environment } from '../config/schema.ts'
import { DATABASE, DATABASE_ADMIN } from '../names.ts'
import {
  CA_CERTIFICATE,
  type Database,
  type DatabaseProps,
  KEEPING,
  logsOf,
  PARAMETERS,
  placeOf,
  retainWhenReplaced,
} from './database.ts'

type Rds = Extract<Environment['database'], { readonly engine: 'rds' }>

const EXPORTED_LOGS = ['postgresql', 'upgrade']

/** One instance of PostgreSQL, with a standby if it says so, and with a replica to read from. */
export function rdsDatabase(scope: Construct, key: Key, props: DatabaseProps): Database {
  const { environment, network } = props
  const database = environment.database as Rds
  const name = databaseIdentifier(database)
  const engine = DatabaseInstanceEngine.postgres({
    // Only the major version: minor versions come in the maintenance window.
    version: PostgresEngineVersion.of('15', '15'),
  })
  const server = {
    instanceType: new InstanceType(database.instanceType),
    autoMinorVersionUpgrade: true,
    parameterGroup: new ParameterGroup(scope, 'Parameters', {
      engine,
      description: 'TLS only; as many connections as the alarm counts with',
      parameters: {
        ...PARAMETERS,
        max_connections: String(database.maxConnections),
        // Otherwise what a replica replays waits for the longest statement there.
        ...(database.readReplica && { hot_standby_feedback: '1' }),
      },
    }),
    ...placeOf(scope, network),
    publiclyAccessible: false,
    caCertificate: CA_CERTIFICATE,
    cloudwatchLogsExports: EXPORTED_LOGS,
    monitoringInterval: KEEPING.monitoringInterval,
    storageType: StorageType.GP3,
    maxAllocatedStorage: database.maxStorageGiB,
    preferredMaintenanceWindow: KEEPING.maintenanceWindow,
    copyTagsToSnapshot: true,
    deletionProtection: environment.deletionProtection,
  }
  const common = {
    ...server,
    instanceIdentifier: name,
    engine,
    multiAz: database.multiAz,
    allocatedStorage: database.storageGiB,
    backupRetention: KEEPING.retention,
    preferredBackupWindow: KEEPING.backupWindow,
    deleteAutomatedBackups: false,
    removalPolicy: KEEPING.removalPolicy,
  }
  const instance =
    database.restoreFrom === undefined
      ? empty(scope, key, common)
      : restored(scope, key, { ...common, snapshotIdentifier: database.restoreFrom.snapshot })
  retainWhenReplaced(instance)
  logsOf(instance, `/aws/rds/instance/${name}`, EXPORTED_LOGS, { environment, key })
  const replica = database.readReplica
    ? new DatabaseInstanceReadReplica(scope, 'Replica', {
        ...server,
        instanceIdentifier: `${name}-replica`,
        sourceDatabaseInstance: instance,
        // Encrypted as its source is. It holds nothing of its own.
        removalPolicy: RemovalPolicy.DESTROY,
      })
    : null
  if (replica !== null) {
    const logs = `/aws/rds/instance/${name}-replica`
    logsOf(replica, logs, EXPORTED_LOGS, { environment, key }, '-log-of-replica')
  }
  const { attrMasterUserSecretSecretArn } = instance.node.defaultChild as CfnDBInstance
  return {
    address: instance.dbInstanceEndpointAddress,
    readAddress: replica?.dbInstanceEndpointAddress ?? null,
    administratorSecret: attrMasterUserSecretSecretArn,
  }
}

function empty(scope: Construct, key: Key, common: DatabaseInstanceSourceProps): DatabaseInstance {
  return new DatabaseInstance(scope, 'Database', {
    ...common,
    databaseName: DATABASE,
    storageEncrypted: true,
    storageEncryptionKey: key,
    credentials: Credentials.fromUsername(DATABASE_ADMIN, { encryptionKey: key }),
    manageMasterUserPassword: true,
  })
}

/** Database, encryption and the administrator's name come from the snapshot. */
function restored(
  scope: Construct,
  key: Key,
  props: DatabaseInstanceFromSnapshotProps,
): DatabaseInstanceFromSnapshot {
  const instance = new DatabaseInstanceFromSnapshot(scope, 'Database', props)
  // The library has no property for it yet (aws-cdk issue 38175). CloudFormation sets it right after the
  // restore, and RDS then creates a new secret with a new password.
  const resource = instance.node.defaultChild as CfnDBInstance
  resource.manageMasterUserPassword = true
  resource.masterUserSecret = { kmsKeyId: key.keyArn }
  return instance
}
