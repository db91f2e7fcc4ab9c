import { expect } from 'chai'
import { dev } from '../../cdk/config/dev.ts'
import { parseEnvironment } from '../../cdk/config/parse.ts'
import { VARIANTS } from './support/environments.ts'
import { cycle, referencesOf } from './support/references.ts'
import { ofType, properties, STACKS, type Synthesis, synthesise } from './support/synthesis.ts'

describe('The order of deployment', () => {
  let syntheses: Readonly<Record<string, Synthesis>>

  before(() => {
    const environments = { ...VARIANTS, dev: parseEnvironment(dev) }
    syntheses = Object.fromEntries(
      Object.entries(environments).map(([name, one]) => [name, synthesise(one)]),
    )
  })

  it('has no circular dependency among the stacks, and is this', () => {
    for (const { after } of Object.values(syntheses)) {
      expect(cycle(after)).to.deep.equal([])
      expect(after).to.deep.equal({
        network: [],
        registry: [],
        data: ['network'],
        platform: ['data', 'network'],
        services: ['data', 'network', 'observability', 'platform', 'registry'],
        observability: ['data', 'platform'],
      })
    }
  })

  // A weak reference (Fn::GetStackOutput) goes stale without a word when its resource is replaced.
  it('holds what another stack uses: a reference is an import, which keeps its export', () => {
    for (const { templates } of Object.values(syntheses)) {
      const exported = STACKS.flatMap((stack) =>
        Object.values(templates[stack].Outputs ?? {}).flatMap(({ Export }) => Export?.Name ?? []),
      )
      for (const stack of STACKS) {
        const text = JSON.stringify(templates[stack])
        expect(text).to.not.include('Fn::GetStackOutput')
        const imported = [...text.matchAll(/{"Fn::ImportValue":"([^"]+)"}/g)].map(
          ([, name]) => name,
        )
        expect(imported).to.have.length(text.split('Fn::ImportValue').length - 1)
        expect(exported).to.include.members(imported)
      }
    }
  })

  it('reads what a restore replaces from parameters that an earlier stack has written', () => {
    for (const { templates } of Object.values(syntheses)) {
      const written = [templates.data, templates.platform].flatMap((template) =>
        properties(template, 'AWS::SSM::Parameter').map(({ Name }) => Name),
      )
      const read = Object.values(templates.services.Parameters ?? {})
        .filter(({ Type }) => Type === 'AWS::SSM::Parameter::Value<String>')
        .map(({ Default }) => Default)
      expect(read).to.have.members([...written, BOOTSTRAP_VERSION])
      const exported = Object.values(templates.data.Outputs ?? {})
      expect(JSON.stringify(exported)).to.not.include('Database')
    }
  })

  it('names images by their fixed repositories, so that those stand by themselves', () => {
    for (const { templates } of Object.values(syntheses)) {
      expect(templates.registry.Outputs).to.equal(undefined)
      expect(JSON.stringify(templates.services)).to.not.include('test-registry')
    }
  })

  it('has no circular dependency within any stack', () => {
    for (const [name, { templates }] of Object.entries(syntheses)) {
      for (const stack of STACKS) {
        const graph = Object.entries(templates[stack].Resources).map(([id, resource]) => {
          return [id, referencesOf(resource)] as const
        })
        expect(cycle(Object.fromEntries(graph)), `${name} ${stack}`).to.deep.equal([])
      }
    }
  })

  it('runs the migration before any service, and its rights before the migration', () => {
    for (const { templates } of Object.values(syntheses)) {
      const { services } = templates
      const [[run, migration] = []] = ofType(services, 'Custom::Migration')
      const started = ofType(services, 'AWS::ECS::Service')
      expect(started).to.have.length(4)
      for (const [, { DependsOn }] of started) expect(DependsOn).to.include(run)
      const waits = migration?.DependsOn ?? []
      expect(waits.some((id) => /^migrationExecutionRoleDefaultPolicy/.test(id))).to.equal(true)
    }
  })

  it('has rights, rules and alarms of a service there before it', () => {
    for (const { templates } of Object.values(syntheses)) {
      const { Resources } = templates.services
      for (const [, service] of ofType(templates.services, 'AWS::ECS::Service')) {
        if (['worker', 'witness'].includes(service.Properties.ServiceName)) continue
        const types = referencesOf(service).map((id) => Resources[id]?.Type)
        expect(types).to.include.members([
          'AWS::IAM::Policy',
          'AWS::ElasticLoadBalancingV2::ListenerRule',
          'AWS::CloudWatch::Alarm',
        ])
        const alarms: string[] = service.Properties.DeploymentConfiguration.Alarms.AlarmNames
        const there = referencesOf(service).map((id) => Resources[id]?.Properties?.AlarmName)
        expect(there).to.include.members(alarms)
      }
    }
  })

  it('has the rights of the worker there before it, and its alarms after it', () => {
    for (const { templates } of Object.values(syntheses)) {
      const { Resources } = templates.services
      const [[id, worker] = []] = ofType(templates.services, 'AWS::ECS::Service').filter(
        ([, { Properties }]) => Properties.ServiceName === 'worker',
      )
      const types = worker && referencesOf(worker).map((one) => Resources[one]?.Type)
      expect(types).to.include('AWS::IAM::Policy').and.not.include('AWS::CloudWatch::Alarm')
      const waiting = ofType(templates.services, 'AWS::CloudWatch::Alarm').filter(
        ([, alarm]) => id !== undefined && referencesOf(alarm).includes(id),
      )
      expect(waiting.map(([, { Properties }]) => Properties.AlarmName)).to.have.members([
        'task-mgmt-projection-lagging',
        'task-mgmt-projection-parked',
        'task-mgmt-log-unsigned',
        'task-mgmt-log-refused',
        'task-mgmt-drift-found',
      ])
    }
  })

  it('runs the migration again for each version of its image', () => {
    const versions = ['1.0.0', '1.0.1'].map((migration) => {
      const environment = VARIANTS.fargate
      const { templates } = synthesise({
        ...environment,
        images: { ...environment.images, migration },
      })
      const [[, run] = []] = ofType(templates.services, 'Custom::Migration')
      return run?.Properties.version
    })
    expect(versions).to.deep.equal(['1.0.0', '1.0.1'])
  })

  it('can run the same migration by hand', () => {
    const { Outputs = {} } = (syntheses.dev as Synthesis).templates.services
    const [command] = Object.values(Outputs).filter(({ Value }) =>
      JSON.stringify(Value).includes('aws ecs run-task --cluster task-management-cluster'),
    )
    expect(JSON.stringify(command?.Value)).to.match(/migrationDefinition.*awsvpcConfiguration/)
  })
})

describe('Every resource', () => {
  it('that can carry tags carries project, environment and maker', () => {
    const { stage, templates } = synthesise(VARIANTS.ec2)
    const expected = { project: 'tasktrail', environment: 'prod', 'managed-by': 'cdk' }
    for (const { tags } of stage.node.children.map((stack) => stack as never as Tagged)) {
      expect(tags.tagValues()).to.include(expected)
    }
    let tagged = 0
    for (const stack of STACKS) {
      for (const [id, { Type, Properties }] of Object.entries(templates[stack].Resources)) {
        if (!TAGGABLE.some((pattern) => pattern.test(Type))) continue
        tagged += 1
        const tags = Properties.Tags ?? Properties.HostedZoneTags ?? Properties.FileSystemTags
        const found = Array.isArray(tags)
          ? Object.fromEntries(tags.map(({ Key, Value }: Tag) => [Key, Value]))
          : tags
        expect(found, `${id} ${Type}`).to.include(expected)
      }
    }
    expect(tagged).to.be.above(40)
  })
})

/** Every stack asks whether its account is ready for the CDK. */
const BOOTSTRAP_VERSION = '/cdk-bootstrap/hnb659fds/version'

type Tagged = { readonly tags: { tagValues(): Readonly<Record<string, string>> } }
type Tag = { readonly Key: string; readonly Value: string }

/** Written out, so that a type which the library forgets to tag does not go unnoticed. */
const TAGGABLE = [
  /^AWS::EC2::SecurityGroup$/,
  /^AWS::EC2::VPCEndpoint$/,
  /^AWS::ECR::Repository$/,
  /^AWS::KMS::Key$/,
  /^AWS::EFS::FileSystem$/,
  /^AWS::SecretsManager::Secret$/,
  /^AWS::RDS::/,
  /^AWS::ECS::(Cluster|CapacityProvider|TaskDefinition|Service)$/,
  /^AWS::ElasticLoadBalancingV2::/,
  /^AWS::S3::Bucket$/,
  /^AWS::SNS::Topic$/,
  /^AWS::SSM::Parameter$/,
  /^AWS::ServiceDiscovery::/,
  /^AWS::IAM::Role$/,
  /^AWS::Lambda::Function$/,
  /^AWS::StepFunctions::StateMachine$/,
  /^AWS::Logs::LogGroup$/,
  /^AWS::CloudWatch::Alarm$/,
  /^AWS::Events::Rule$/,
  /^AWS::AutoScaling::AutoScalingGroup$/,
]
