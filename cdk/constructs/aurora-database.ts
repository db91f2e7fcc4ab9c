import { InstanceType } from 'aws-cdk-lib/aws-ec2'
import type { Key } from 'aws-cdk-lib/aws-kms'
import {
  AuroraPostgresEngineVersion,
  type CfnDBCluster,
  ClusterInstance,
  Credentials,
  DatabaseCluster,
  DatabaseClusterEngine,
  DatabaseClusterFromSnapshot,
  type DatabaseClusterProps,
  ParameterGroup,
} from 'aws-cdk-lib/aws-rds'
import type { Construct } from 'constructs'
import { databaseIdentifier, type Environment, serverName } from '../config/schema.ts'
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

type Aurora = Extract<Environment['database'], { readonly engine: 'aurora' }>

const EXPORTED_LOGS = ['postgresql']

/** A writer and its readers, on one storage that grows by itself. */
export function auroraDatabase(scope: Construct, key: Key, props: DatabaseProps): Database {
  const { environment, network } = props
  const database = environment.database as Aurora
  const name = databaseIdentifier(database)
  // Aurora asks for a minor version too; later ones come in the maintenance window.
  const version = AuroraPostgresEngineVersion.VER_15_17
  const engine = DatabaseClusterEngine.auroraPostgres({ version })
  const instances = new ParameterGroup(scope, 'InstanceParameters', {
    engine,
    description: 'As many connections as the alarm counts with',
    parameters: { max_connections: String(database.maxConnections) },
  })
  const instance = (id: string, number: number) =>
    ClusterInstance.provisioned(id, {
      instanceIdentifier: serverName(database, number),
      instanceType: new InstanceType(database.instanceType),
      parameterGroup: instances,
      publiclyAccessible: false,
      autoMinorVersionUpgrade: true,
      caCertificate: CA_CERTIFICATE,
    })
  const common = {
    clusterIdentifier: name,
    engine,
    writer: instance('Writer', 1),
    readers: Array.from({ length: database.readers }, (_, index) =>
      instance(`Reader${index + 1}`, index + 2),
    ),
    parameterGroup: new ParameterGroup(scope, 'Parameters', {
      engine,
      description: 'TLS only',
      parameters: PARAMETERS,
    }),
    ...placeOf(scope, network),
    backup: { retention: KEEPING.retention, preferredWindow: KEEPING.backupWindow },
    preferredMaintenanceWindow: KEEPING.maintenanceWindow,
    copyTagsToSnapshot: true,
    deleteAutomatedBackups: false,
    deletionProtection: environment.deletionProtection,
    removalPolicy: KEEPING.removalPolicy,
    cloudwatchLogsExports: EXPORTED_LOGS,
    monitoringInterval: KEEPING.monitoringInterval,
    manageMasterUserPassword: true,
  } satisfies DatabaseClusterProps
  const cluster =
    database.restoreFrom === undefined
      ? new DatabaseCluster(scope, 'Cluster', {
          ...common,
          credentials: Credentials.fromUsername(DATABASE_ADMIN, { encryptionKey: key }),
          defaultDatabaseName: DATABASE,
          storageEncrypted: true,
          storageEncryptionKey: key,
        })
      : // Database, encryption and the administrator's name come from the snapshot.
        new DatabaseClusterFromSnapshot(scope, 'Cluster', {
          ...common,
          snapshotIdentifier: database.restoreFrom.snapshot,
          snapshotCredentials: { generatePassword: false, encryptionKey: key },
        })
  retainWhenReplaced(cluster)
  logsOf(cluster, `/aws/rds/cluster/${name}`, EXPORTED_LOGS, { environment, key })
  const { attrMasterUserSecretSecretArn } = cluster.node.defaultChild as CfnDBCluster
  return {
    address: cluster.clusterEndpoint.hostname,
    readAddress: database.readers > 0 ? cluster.clusterReadEndpoint.hostname : null,
    administratorSecret: attrMasterUserSecretSecretArn,
  }
}
