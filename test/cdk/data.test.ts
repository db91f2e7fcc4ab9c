import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { prod } from '../../cdk/config/prod.ts'
import { SECRETS } from '../../cdk/names.ts'
import { VARIANTS, variation } from './support/environments.ts'
import { follow, nameOf, within } from './support/references.ts'
import {
  ofType,
  only,
  properties,
  STACKS,
  type Synthesis,
  synthesise,
} from './support/synthesis.ts'

describe('The data', () => {
  let synthesis: Synthesis
  let database: ReturnType<typeof only>

  before(() => {
    synthesis = synthesise(variation({}))
    database = only(synthesis.templates.data, 'AWS::RDS::DBInstance')
  })

  it('is in PostgreSQL 15, in private subnets, not reachable from outside', () => {
    const { Engine, EngineVersion, PubliclyAccessible, DBName, Port } = database
    expect({ Engine, EngineVersion, PubliclyAccessible, DBName, Port }).to.deep.equal({
      Engine: 'postgres',
      EngineVersion: '15',
      PubliclyAccessible: false,
      DBName: 'taskmanagement',
      Port: '5432',
    })
    const { SubnetIds } = only(synthesis.templates.data, 'AWS::RDS::DBSubnetGroup')
    expect(SubnetIds).to.deep.equal(['subnet-0c000000000000003', 'subnet-0c000000000000004'])
  })

  it('are backed up by themselves and kept for seven days', () => {
    expect(database.BackupRetentionPeriod).to.equal(7)
    expect(database.DeleteAutomatedBackups).to.equal(false)
    expect(database.CopyTagsToSnapshot).to.equal(true)
  })

  it('cannot be deleted by mistake, nor lost with its stack', () => {
    expect(database.DeletionProtection).to.equal(true)
    const [[, instance] = []] = ofType(synthesis.templates.data, 'AWS::RDS::DBInstance')
    expect(instance?.DeletionPolicy).to.equal('Snapshot')
    for (const type of ['AWS::KMS::Key', 'AWS::SecretsManager::Secret']) {
      for (const [, { DeletionPolicy }] of ofType(synthesis.templates.data, type)) {
        expect(DeletionPolicy).to.equal('RetainExceptOnCreate')
      }
    }
  })

  it('are encrypted at rest under our key, on gp3 that grows', () => {
    expect(database.StorageEncrypted).to.equal(true)
    expect(follow(synthesis, 'data', database.KmsKeyId)?.resource.Type).to.equal('AWS::KMS::Key')
    expect(database.StorageType).to.equal('gp3')
    expect(database.MaxAllocatedStorage).to.be.above(Number(database.AllocatedStorage))
  })

  it('are spoken to under TLS only, with a certificate that services can check', () => {
    const { Parameters } = only(synthesis.templates.data, 'AWS::RDS::DBParameterGroup')
    expect(Parameters['rds.force_ssl']).to.equal('1')
    expect(database.CACertificateIdentifier).to.equal('rds-ca-rsa2048-g1')
  })

  it('have an administrator whose password RDS makes, keeps under our key and rotates', () => {
    const { ManageMasterUserPassword, MasterUserPassword, MasterUsername } = database
    expect(ManageMasterUserPassword).to.equal(true)
    expect(MasterUserPassword).to.equal(undefined)
    expect(MasterUsername).to.equal('dbadmin')
    const key = follow(synthesis, 'data', database.MasterUserSecret.KmsKeyId)
    expect(key?.resource.Type).to.equal('AWS::KMS::Key')
  })

  it('stand twice in prod', () => {
    expect(database.MultiAZ).to.equal(true)
  })
})

describe('A database that is restored from a snapshot', () => {
  const restoreFrom = { snapshot: 'before-the-loss', instance: 'task-mgmt-db-2' }
  const empty = synthesise(variation({}))
  const restored = synthesise(variation({ database: { ...prod.database, restoreFrom } }))

  it('is in all else as one that began empty, and its administrator gets a new secret of RDS', () => {
    const { DBInstanceIdentifier, DBSnapshotIdentifier, ...rest } = only(
      restored.templates.data,
      'AWS::RDS::DBInstance',
    )
    expect({ DBInstanceIdentifier, DBSnapshotIdentifier }).to.deep.equal({
      DBInstanceIdentifier: 'task-mgmt-db-2',
      DBSnapshotIdentifier: 'before-the-loss',
    })
    // What the snapshot says; CloudFormation takes none of it beside one.
    const { DBName, MasterUsername, StorageEncrypted, KmsKeyId, ...before } = only(
      empty.templates.data,
      'AWS::RDS::DBInstance',
    )
    expect({ ...rest, DBInstanceIdentifier: 'task-mgmt-db' }).to.deep.equal(before)
    expect(rest).to.deep.include({
      ManageMasterUserPassword: true,
      MultiAZ: true,
      DeletionProtection: true,
      BackupRetentionPeriod: 7,
      EnableCloudwatchLogsExports: ['postgresql', 'upgrade'],
    })
    expect(rest.DBParameterGroupName).to.not.equal(undefined)
  })

  it('takes the place of the one before, which stays', () => {
    const [[before, { UpdateReplacePolicy } = {}] = []] = ofType(
      empty.templates.data,
      'AWS::RDS::DBInstance',
    )
    const [[after] = []] = ofType(restored.templates.data, 'AWS::RDS::DBInstance')
    expect(after).to.equal(before)
    expect(UpdateReplacePolicy).to.equal('Retain')
  })

  it('changes no export, so that CloudFormation lets it take that place', () => {
    for (const stack of STACKS) {
      const exportsOf = ({ templates }: Synthesis) => templates[stack].Outputs ?? {}
      expect(JSON.stringify(exportsOf(restored))).to.equal(JSON.stringify(exportsOf(empty)))
    }
    expect(JSON.stringify(restored.templates.services)).to.equal(
      JSON.stringify(empty.templates.services),
    )
  })

  it('has its own logs, under our key, and is what alarms and dashboard look at', () => {
    const { data, observability } = restored.templates
    const names = properties(data, 'AWS::Logs::LogGroup').map(({ LogGroupName }) => LogGroupName)
    expect(names).to.have.members([
      '/aws/rds/instance/task-mgmt-db-2/postgresql',
      '/aws/rds/instance/task-mgmt-db-2/upgrade',
    ])
    const { KeyPolicy } = only(data, 'AWS::KMS::Key')
    expect(JSON.stringify(KeyPolicy)).to.include('/aws/rds/instance/task-mgmt-db*')
    const watched = JSON.stringify(observability).match(
      /DBInstanceIdentifier[^}\]]*task-mgmt-db[\w-]*/g,
    )
    expect(watched).to.have.length.above(2)
    for (const one of watched ?? []) expect(one).to.match(/task-mgmt-db-2$/)
  })
})

/** The variables of task-service that name where to read from, as its task definition has them. */
function readFrom({ templates }: Synthesis): Record<string, unknown> {
  const { ContainerDefinitions } = only(templates.services, 'AWS::ECS::TaskDefinition', {
    Family: 'task-service-task',
  })
  const variables: { Name: string; Value: unknown }[] = ContainerDefinitions[0].Environment
  const named = variables.filter(({ Name }) => Name.startsWith('READ_'))
  return Object.fromEntries(named.map(({ Name, Value }) => [Name, Value]))
}
/** The names under which the data publish themselves. */
const published = ({ templates }: Synthesis) =>
  properties(templates.data, 'AWS::SSM::Parameter').map(({ Name }) => Name)
/** The parameter that the services read. */
const parameterOf = ({ templates }: Synthesis, value: unknown) =>
  templates.services.Parameters?.[(value as { Ref: string }).Ref]?.Default

describe('A database with a replica on RDS', () => {
  const withReplica = synthesise(
    variation({ database: { ...prod.database, readReplica: true } as typeof prod.database }),
  )
  const servers = properties(withReplica.templates.data, 'AWS::RDS::DBInstance')
  const [source, replica] = servers

  it('has one more server, which is like it and as reachable', () => {
    expect(servers).to.have.length(2)
    expect(replica.DBInstanceIdentifier).to.equal('task-mgmt-db-replica')
    for (const property of [
      'DBInstanceClass',
      'DBParameterGroupName',
      'VPCSecurityGroups',
      'CACertificateIdentifier',
      'EnableCloudwatchLogsExports',
      'MonitoringInterval',
      'PubliclyAccessible',
      'DeletionProtection',
      'StorageType',
      'MaxAllocatedStorage',
    ]) {
      expect(replica[property], property).to.deep.equal(source[property]).and.not.equal(undefined)
    }
    expect(replica.ManageMasterUserPassword).to.equal(undefined)
    const { Parameters } = only(withReplica.templates.data, 'AWS::RDS::DBParameterGroup')
    expect(Parameters.hot_standby_feedback).to.equal('1')
  })

  it('is where task-service reads the past, with an alarm if it does not', () => {
    const { READ_DB_HOST, ...others } = readFrom(withReplica)
    expect(others).to.deep.equal({ READ_DB_POOL_MAX: '8' })
    expect(parameterOf(withReplica, READ_DB_HOST)).to.equal('/task-mgmt/database/read-address')
    expect(published(withReplica)).to.include('/task-mgmt/database/read-address')
    only(withReplica.templates.services, 'AWS::CloudWatch::Alarm', {
      AlarmName: 'task-mgmt-replica-unused',
    })
    only(withReplica.templates.services, 'AWS::Logs::MetricFilter', {
      FilterPattern: '{ $.msg = "the replica is not used" }',
    })
  })

  it('and one without differ in nothing else', () => {
    const without = synthesise(variation({}))
    expect(readFrom(without)).to.deep.equal({})
    expect(published(without)).to.not.include('/task-mgmt/database/read-address')
    expect(JSON.stringify(without.templates.services)).to.not.include('replica-unused')
  })
})

describe('A database on Aurora', () => {
  const synthesis = synthesise(VARIANTS.aurora)
  const { data, observability } = synthesis.templates
  const cluster = only(data, 'AWS::RDS::DBCluster')
  const servers = properties(data, 'AWS::RDS::DBInstance')

  it('is a writer and two readers of PostgreSQL 15, in private subnets', () => {
    expect(cluster).to.include({ Engine: 'aurora-postgresql', DatabaseName: 'taskmanagement' })
    expect(cluster.EngineVersion).to.match(/^15\./)
    expect(cluster.Port).to.equal(5432)
    expect(servers.map(({ DBInstanceIdentifier }) => DBInstanceIdentifier)).to.deep.equal([
      'task-mgmt-db-server-1',
      'task-mgmt-db-server-2',
      'task-mgmt-db-server-3',
    ])
    for (const server of servers) {
      expect(server).to.include({
        DBInstanceClass: 'db.t4g.medium',
        PubliclyAccessible: false,
        CACertificateIdentifier: 'rds-ca-rsa2048-g1',
        MonitoringInterval: 60,
        AutoMinorVersionUpgrade: true,
      })
    }
    const { SubnetIds } = only(data, 'AWS::RDS::DBSubnetGroup')
    expect(SubnetIds).to.deep.equal(['subnet-0c000000000000003', 'subnet-0c000000000000004'])
  })

  it('has all that the one on RDS has', () => {
    const rds = synthesise(VARIANTS.fargate).templates.data
    const instance = only(rds, 'AWS::RDS::DBInstance')
    expect(cluster).to.include({
      BackupRetentionPeriod: instance.BackupRetentionPeriod,
      PreferredBackupWindow: instance.PreferredBackupWindow,
      PreferredMaintenanceWindow: instance.PreferredMaintenanceWindow,
      CopyTagsToSnapshot: true,
      DeleteAutomatedBackups: false,
      DeletionProtection: true,
      StorageEncrypted: true,
      ManageMasterUserPassword: true,
      MasterUsername: 'dbadmin',
    })
    expect(cluster.VpcSecurityGroupIds).to.deep.equal(instance.VPCSecurityGroups)
    for (const key of [cluster.KmsKeyId, cluster.MasterUserSecret.KmsKeyId]) {
      expect(follow(synthesis, 'data', key)?.resource.Type).to.equal('AWS::KMS::Key')
    }
    const { Parameters: own } = only(rds, 'AWS::RDS::DBParameterGroup')
    const { Parameters: ofCluster } = only(data, 'AWS::RDS::DBClusterParameterGroup')
    const { Parameters: ofServers } = only(data, 'AWS::RDS::DBParameterGroup')
    expect({ ...ofCluster, ...ofServers }).to.deep.equal(own)
    const [[, resource] = []] = ofType(data, 'AWS::RDS::DBCluster')
    expect(resource?.DeletionPolicy).to.equal('Snapshot')
    expect(resource?.UpdateReplacePolicy).to.equal('Retain')
  })

  it('has its logs under our key', () => {
    const names = properties(data, 'AWS::Logs::LogGroup').map(({ LogGroupName }) => LogGroupName)
    expect(names).to.deep.equal(['/aws/rds/cluster/task-mgmt-db/postgresql'])
    expect(JSON.stringify(only(data, 'AWS::KMS::Key').KeyPolicy)).to.include(
      '/aws/rds/cluster/task-mgmt-db*',
    )
  })

  it('is written at one address, and its past is read at that of its readers', () => {
    const values = Object.fromEntries(
      properties(data, 'AWS::SSM::Parameter').map(({ Name, Value }) => [Name, Value]),
    )
    const of = (attribute: string) => ({
      'Fn::GetAtt': [ofType(data, 'AWS::RDS::DBCluster')[0]?.[0], attribute],
    })
    expect(values).to.deep.equal({
      '/task-mgmt/database/address': of('Endpoint.Address'),
      '/task-mgmt/database/read-address': of('ReadEndpoint.Address'),
      '/task-mgmt/database/administrator-secret': of('MasterUserSecret.SecretArn'),
    })
    const { READ_DB_HOST } = readFrom(synthesis)
    expect(parameterOf(synthesis, READ_DB_HOST)).to.equal('/task-mgmt/database/read-address')
  })

  it('without readers has no address to read from', () => {
    const database = { ...VARIANTS.aurora.database, readers: 0 }
    const alone = synthesise({ ...VARIANTS.aurora, database } as typeof VARIANTS.aurora)
    expect(readFrom(alone)).to.deep.equal({})
    expect(published(alone)).to.not.include('/task-mgmt/database/read-address')
  })

  it('is watched as its writer, whichever server that is, and as all that can report', () => {
    const alarms = properties(observability, 'AWS::CloudWatch::Alarm')
      .filter(({ AlarmName }) => AlarmName.startsWith('task-mgmt-db-'))
      .map(({ AlarmName, Dimensions, MetricName }) => {
        expect(Dimensions).to.deep.equal([
          { Name: 'DBClusterIdentifier', Value: 'task-mgmt-db' },
          { Name: 'Role', Value: 'WRITER' },
        ])
        return [AlarmName, MetricName]
      })
    expect(Object.fromEntries(alarms)).to.deep.equal({
      'task-mgmt-db-connections': 'DatabaseConnections',
      'task-mgmt-db-storage': 'FreeLocalStorage',
      'task-mgmt-db-memory': 'FreeableMemory',
      'task-mgmt-db-swap': 'SwapUsage',
      'task-mgmt-db-cpu': 'CPUUtilization',
      'task-mgmt-db-cpu-credits': 'CPUCreditBalance',
    })
    const reports = properties(observability, 'AWS::RDS::EventSubscription')
    expect(reports.map(({ SourceType, SourceIds }) => [SourceType, SourceIds])).to.deep.equal([
      ['db-instance', servers.map(({ DBInstanceIdentifier }) => DBInstanceIdentifier)],
      ['db-cluster', ['task-mgmt-db']],
    ])
  })

  it('can be restored from a snapshot, in the place of the one before, which stays', () => {
    const restoreFrom = { snapshot: 'before-the-loss', instance: 'task-mgmt-db-2' }
    const restored = synthesise(
      variation({ database: { ...VARIANTS.aurora.database, restoreFrom } }),
    )
    const { SnapshotIdentifier, DBClusterIdentifier, ...rest } = only(
      restored.templates.data,
      'AWS::RDS::DBCluster',
    )
    expect({ SnapshotIdentifier, DBClusterIdentifier }).to.deep.equal({
      SnapshotIdentifier: 'before-the-loss',
      DBClusterIdentifier: 'task-mgmt-db-2',
    })
    const { DatabaseName, MasterUsername, StorageEncrypted, KmsKeyId, ...before } = cluster
    expect({ ...rest, DBClusterIdentifier: 'task-mgmt-db' }).to.deep.equal(before)
    expect(JSON.stringify(restored.templates.services)).to.equal(
      JSON.stringify(synthesis.templates.services),
    )
  })
})

describe('The secrets', () => {
  let synthesis: Synthesis
  let secrets: ReturnType<typeof properties>

  before(() => {
    synthesis = synthesise(variation({}))
    secrets = properties(synthesis.templates.data, 'AWS::SecretsManager::Secret')
  })

  it('are the database logins, the API key, the pepper, and the keys that sign and encrypt', () => {
    expect(secrets.map(({ Name }) => Name)).to.have.members([
      ...Object.values(SECRETS),
      'task-mgmt-rds-credentials/auth-service',
      'task-mgmt-rds-credentials/task-service',
      'task-mgmt-rds-credentials/worker',
    ])
  })

  // Secrets Manager generates a new value when any of these options changes: every token and every
  // password would be void, every text unreadable. So this says them all, in full.
  it('are generated by options that stay exactly as they are', () => {
    const value = {
      ExcludePunctuation: true,
      GenerateStringKey: 'secret',
      PasswordLength: 64,
      SecretStringTemplate: '{}',
    }
    const login = (username: string) => ({
      ExcludePunctuation: true,
      GenerateStringKey: 'password',
      PasswordLength: 48,
      SecretStringTemplate: `{"username":"${username}"}`,
    })
    const options = secrets.map(({ Name, SecretString, GenerateSecretString }) => {
      expect(SecretString).to.equal(undefined)
      return [Name, GenerateSecretString]
    })
    expect(Object.fromEntries(options)).to.deep.equal({
      'task-mgmt-jwt-secret': value,
      'task-mgmt-jwt-secret-previous': value,
      'task-mgmt-internal-api-key': value,
      'task-mgmt-internal-api-key-previous': value,
      'task-mgmt-password-pepper': value,
      'task-mgmt-text-key': value,
      'task-mgmt-text-key-previous': value,
      'task-mgmt-log-key': value,
      'task-mgmt-log-key-previous': value,
      'task-mgmt-witness-key': value,
      'task-mgmt-witness-key-previous': value,
      'task-mgmt-redis-password': value,
      'task-mgmt-redis-password-previous': value,
      'task-mgmt-rds-credentials/auth-service': login('auth_service'),
      'task-mgmt-rds-credentials/task-service': login('task_service'),
      'task-mgmt-rds-credentials/worker': login('worker'),
    })
  })

  it('lie under a key of ours that changes every year', () => {
    for (const { KmsKeyId } of secrets) {
      const key = follow(synthesis, 'data', KmsKeyId)
      expect(key?.resource.Type).to.equal('AWS::KMS::Key')
      expect(key?.resource.Properties.EnableKeyRotation).to.equal(true)
    }
  })

  it('hold a login of its own for each service', () => {
    const logins = secrets.filter(({ Name }) => Name.startsWith('task-mgmt-rds-credentials/'))
    const users = logins.map(({ GenerateSecretString }) =>
      JSON.parse(GenerateSecretString.SecretStringTemplate),
    )
    expect(users.map(({ username }) => username)).to.deep.equal([
      'auth_service',
      'task_service',
      'worker',
    ])
  })

  it('are never in a template, and read by CloudFormation only for the users of Redis', () => {
    for (const template of Object.values(synthesis.templates)) {
      const others = Object.values(template.Resources).filter(
        ({ Type }) => Type !== 'AWS::ElastiCache::User',
      )
      expect(JSON.stringify(others)).to.not.include('resolve:secretsmanager')
    }
    const users = properties(synthesis.templates.platform, 'AWS::ElastiCache::User')
    for (const { Passwords } of users) {
      const named = Passwords.map((one: unknown) => nameOf(within(synthesis, 'platform', one)))
      expect(named).to.deep.equal(['task-mgmt-redis-password', 'task-mgmt-redis-password-previous'])
    }
  })
})

describe('The stack policy of the data', () => {
  const { Statement } = JSON.parse(readFileSync('cdk/stack-policies/data.json', 'utf8'))
  /** As CloudFormation decides: what is denied anywhere is denied. */
  const allows = (action: string, type: string): boolean => {
    const applies = ({ Action, Condition }: Rule) =>
      [Action].flat().some((one) => one === 'Update:*' || one === action) &&
      (Condition === undefined || Condition.StringEquals.ResourceType.includes(type))
    const effects = Statement.filter(applies).map(({ Effect }: Rule) => Effect)
    return effects.includes('Allow') && !effects.includes('Deny')
  }

  it('lets no update touch a secret, nor replace or remove key and database', () => {
    for (const [type, allowed] of [
      ['AWS::SecretsManager::Secret', []],
      ['AWS::KMS::Key', ['Update:Modify']],
      ['AWS::RDS::DBInstance', ['Update:Modify']],
      ['AWS::RDS::DBCluster', ['Update:Modify']],
      ['AWS::S3::Bucket', ['Update:Modify']],
      ['AWS::S3::BucketPolicy', ['Update:Modify']],
      ['AWS::EFS::FileSystem', ['Update:Modify']],
      ['AWS::EFS::AccessPoint', ['Update:Modify']],
      ['AWS::Cognito::UserPool', ['Update:Modify']],
      ['AWS::RDS::DBParameterGroup', ['Update:Modify', 'Update:Replace', 'Update:Delete']],
    ] as const) {
      const all = ['Update:Modify', 'Update:Replace', 'Update:Delete']
      expect(
        all.filter((action) => allows(action, type)),
        type,
      ).to.deep.equal(allowed)
    }
  })

  it('is about types that are in the stack', () => {
    const withPool = variation({ identity: { by: 'cognito' } })
    const types = [VARIANTS.fargate, VARIANTS.aurora, withPool].flatMap((environment) =>
      Object.values(synthesise(environment).templates.data.Resources).map(({ Type }) => Type),
    )
    const named = Statement.flatMap(
      ({ Condition }: Rule) => Condition?.StringEquals.ResourceType ?? [],
    )
    expect(types).to.include.members(named)
  })
})

type Rule = {
  readonly Effect: string
  readonly Action: string | readonly string[]
  readonly Condition?: { readonly StringEquals: { readonly ResourceType: readonly string[] } }
}

describe('The image repositories', () => {
  let repositories: ReturnType<typeof properties>
  let synthesis: Synthesis

  before(() => {
    synthesis = synthesise(variation({}))
    repositories = properties(synthesis.templates.registry, 'AWS::ECR::Repository')
  })

  it('are one for each image', () => {
    const names = repositories.map(({ RepositoryName }) => RepositoryName)
    expect(names).to.deep.equal(['auth-service', 'task-service', 'worker', 'witness', 'migration'])
  })

  it('scan an image when it is pushed', () => {
    for (const { ImageScanningConfiguration } of repositories) {
      expect(ImageScanningConfiguration).to.deep.equal({ ScanOnPush: true })
    }
  })

  it('let no tag be given twice', () => {
    for (const { ImageTagMutability } of repositories) {
      expect(ImageTagMutability).to.equal('IMMUTABLE')
    }
  })

  it('keep the last ten images', () => {
    for (const { LifecyclePolicy } of repositories) {
      const [rule, ...others] = JSON.parse(LifecyclePolicy.LifecyclePolicyText).rules
      expect(others).to.deep.equal([])
      expect(rule.action).to.deep.equal({ type: 'expire' })
      const { tagStatus, countType, countNumber } = rule.selection
      expect({ tagStatus, countType, countNumber }).to.deep.equal({
        tagStatus: 'any',
        countType: 'imageCountMoreThan',
        countNumber: 10,
      })
    }
  })

  it('are where tasks take their images from', () => {
    const { services } = synthesis.templates
    const found = properties(services, 'AWS::ECS::TaskDefinition').map(
      ({ ContainerDefinitions: [{ Image }], Family }) => {
        const [registry, { Ref }, image] = Image['Fn::Join'][1]
        expect([registry, Ref]).to.deep.equal(['333333333333.dkr.ecr.us-east-1.', 'AWS::URLSuffix'])
        return [Family, image]
      },
    )
    expect(Object.fromEntries(found)).to.deep.equal({
      'auth-service-task': '/auth-service:1.0.0',
      'task-service-task': '/task-service:1.0.0',
      'worker-task': '/worker:1.0.0',
      'witness-task': '/witness:1.0.0',
      'migration-task': '/migration:1.0.0',
      'rebuild-task': '/worker:1.0.0',
    })
  })
})
