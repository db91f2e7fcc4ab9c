import { expect } from 'chai'
import { witnessConfig, workerConfig } from '../../src/config.ts'
import { VARIANTS, variation } from './support/environments.ts'
import { PROD_LOG } from './support/log-keys.ts'
import { follow, nameOf, within } from './support/references.ts'
import { ofType, only, properties, type Synthesis, synthesise } from './support/synthesis.ts'

type Properties = ReturnType<typeof only>
const TASK = 'AWS::ECS::TaskDefinition'

describe('The witness', () => {
  let fargate: Synthesis
  let ec2: Synthesis
  let first: Synthesis

  const taskOf = ({ templates }: Synthesis, family: string) =>
    only(templates.services, TASK, { Family: `${family}-task` })
  const serviceOf = ({ templates }: Synthesis) =>
    only(templates.services, 'AWS::ECS::Service', { ServiceName: 'witness' })
  const settingsOf = (synthesis: Synthesis, family: string): Record<string, string> => {
    const [{ Environment, Secrets }] = taskOf(synthesis, family).ContainerDefinitions
    const plain = Environment.map(({ Name, Value }: Properties) => [
      Name,
      typeof Value === 'string' ? Value : 'elsewhere',
    ])
    const secret = Secrets.map(({ Name }: Properties) => [Name, 's'.repeat(64)])
    return Object.fromEntries([...plain, ...secret])
  }

  before(() => {
    fargate = synthesise(variation({}))
    ec2 = synthesise(VARIANTS.ec2)
    first = synthesise(variation({ log: {} }))
  })

  it('runs once, and never twice at the same time: the old task stops first', () => {
    for (const synthesis of [fargate, ec2]) {
      const { DesiredCount, DeploymentConfiguration, ...service } = serviceOf(synthesis)
      expect(DesiredCount).to.equal(1)
      expect(DeploymentConfiguration).to.deep.equal({
        MinimumHealthyPercent: 0,
        MaximumPercent: 100,
        DeploymentCircuitBreaker: { Enable: true, Rollback: true },
      })
      expect(service.AvailabilityZoneRebalancing).to.equal('DISABLED')
      expect(service.LoadBalancers ?? []).to.deep.equal([])
    }
  })

  it('runs on Fargate wherever the others run, for a machine would show its files to all of them', () => {
    for (const synthesis of [fargate, ec2]) {
      const [{ CapacityProvider }] = serviceOf(synthesis).CapacityProviderStrategy
      expect(CapacityProvider).to.equal('FARGATE')
    }
  })

  it('is found by the worker by its name, soon after it has moved', () => {
    const { services } = fargate.templates
    const { DnsConfig } = only(services, 'AWS::ServiceDiscovery::Service', { Name: 'witness' })
    expect(DnsConfig.DnsRecords).to.deep.equal([{ TTL: 10, Type: 'A' }])
    const [{ RegistryArn }] = serviceOf(fargate).ServiceRegistries
    expect(nameOf(follow(fargate, 'services', RegistryArn))).to.equal('witness')
  })

  it('and the log have the keys of each other, as their own settings read them', () => {
    const witness = witnessConfig(settingsOf(fargate, 'witness'))
    const worker = workerConfig(settingsOf(fargate, 'worker'))
    const [log] = witness.WITNESS_LOGS
    expect(log?.text).to.equal(PROD_LOG.verifierKey)
    expect(log?.name).to.equal(worker.LOG_ORIGIN).and.equal('prod.tasktrail.local/log')
    expect(worker.WITNESSES?.quorum).to.equal('own')
    const [own, ...others] = worker.WITNESSES?.witnesses ?? []
    expect(others).to.deep.equal([])
    expect(own?.key.text).to.equal(PROD_LOG.witnessVerifierKey)
    expect(own?.key.name).to.equal(witness.WITNESS_NAME)
    expect(own?.url).to.equal('http://witness.task-management.local:3000')
  })

  it('waits for the keys, which only the first deployment makes; the worker signs without it', () => {
    expect(serviceOf(first).DesiredCount).to.equal(0)
    expect(settingsOf(first, 'worker')).to.not.have.property('WITNESSES')
    expect(workerConfig(settingsOf(first, 'worker')).LOG_ORIGIN).to.equal(
      'prod.tasktrail.local/log',
    )
    expect(() => witnessConfig(settingsOf(first, 'witness'))).to.not.throw()
    const says = ({ templates }: Synthesis) =>
      JSON.stringify(templates.services.Outputs).includes('Set log.verifierKey')
    expect([says(first), says(fargate)]).to.deep.equal([true, false])
  })

  describe('has its files', () => {
    let files: Properties

    before(() => {
      files = only(fargate.templates.data, 'AWS::EFS::FileSystem')
    })

    it('encrypted under our key, backed up, and kept when the stack goes', () => {
      expect(files.Encrypted).to.equal(true)
      expect(follow(fargate, 'data', files.KmsKeyId)?.resource.Type).to.equal('AWS::KMS::Key')
      expect(files.BackupPolicy).to.deep.equal({ Status: 'ENABLED' })
      const [[, { DeletionPolicy, UpdateReplacePolicy } = {}] = []] = ofType(
        fargate.templates.data,
        'AWS::EFS::FileSystem',
      )
      expect(DeletionPolicy).to.equal('RetainExceptOnCreate')
      expect(UpdateReplacePolicy).to.equal('Retain')
    })

    it('in each private subnet, behind a group of their own', () => {
      const targets = properties(fargate.templates.data, 'AWS::EFS::MountTarget')
      expect(targets.map(({ SubnetId }) => SubnetId.slice(-1))).to.deep.equal(['3', '4'])
      for (const { SecurityGroups } of targets) {
        const groups = SecurityGroups.map((one: unknown) => nameOf(follow(fargate, 'data', one)))
        expect(groups).to.deep.equal(['task-mgmt-witness-store-sg'])
      }
    })

    it('in a directory that belongs to the user of its container', () => {
      const point = only(fargate.templates.data, 'AWS::EFS::AccessPoint')
      expect(point.PosixUser).to.deep.equal({ Uid: '1000', Gid: '1000' })
      expect(point.RootDirectory).to.deep.equal({
        Path: '/witness',
        CreationInfo: { OwnerUid: '1000', OwnerGid: '1000', Permissions: '700' },
      })
      const [{ User, MountPoints, ReadonlyRootFilesystem }] = taskOf(
        fargate,
        'witness',
      ).ContainerDefinitions
      expect([User, ReadonlyRootFilesystem]).to.deep.equal(['1000', true])
      expect(MountPoints).to.deep.equal([
        { ContainerPath: '/var/lib/witness', ReadOnly: false, SourceVolume: 'files' },
      ])
      expect(settingsOf(fargate, 'witness').WITNESS_DIR).to.equal('/var/lib/witness')
    })

    it('mounted over TLS, as its role and through that directory', () => {
      const [{ Name, EFSVolumeConfiguration: volume }] = taskOf(fargate, 'witness').Volumes
      expect(Name).to.equal('files')
      expect(volume.TransitEncryption).to.equal('ENABLED')
      expect(volume.AuthorizationConfig.IAM).to.equal('ENABLED')
      const typeOf = (value: unknown) => follow(fargate, 'services', value)?.resource.Type
      expect(typeOf(volume.FilesystemId)).to.equal('AWS::EFS::FileSystem')
      expect(typeOf(volume.AuthorizationConfig.AccessPointId)).to.equal('AWS::EFS::AccessPoint')
    })

    it('for itself: their policy lets in its role, and no task has another right to them', () => {
      const { Statement } = files.FileSystemPolicy
      const [own, tls, ...others] = Statement
      expect(others).to.deep.equal([])
      expect(nameOf(within(fargate, 'data', own.Principal.AWS))).to.equal('task-mgmt-witness-task')
      expect(own.Action).to.deep.equal([
        'elasticfilesystem:ClientMount',
        'elasticfilesystem:ClientWrite',
      ])
      expect(own.Condition.Bool).to.deep.equal({
        'elasticfilesystem:AccessedViaMountTarget': 'true',
      })
      expect(own.Condition.ArnLike['elasticfilesystem:AccessPointArn']).to.match(
        /:access-point\/\*$/,
      )
      expect([tls.Effect, tls.Condition]).to.deep.equal([
        'Deny',
        { Bool: { 'aws:SecureTransport': 'false' } },
      ])
      const { TaskRoleArn } = taskOf(fargate, 'witness')
      expect(nameOf(within(fargate, 'services', TaskRoleArn))).to.equal('task-mgmt-witness-task')
      for (const task of properties(fargate.templates.services, TASK)) {
        expect(task.Volumes !== undefined, task.Family).to.equal(task.Family === 'witness-task')
      }
    })
  })
})
