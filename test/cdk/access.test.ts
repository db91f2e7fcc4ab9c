import { expect } from 'chai'
import { VARIANTS, variation } from './support/environments.ts'
import { allows, statements, whoMay } from './support/policies.ts'
import { nameOf, within } from './support/references.ts'
import { only, properties, STACKS, type Synthesis, synthesise } from './support/synthesis.ts'

const OWN_SECRETS = {
  PhotoEventsReporterServiceRoleD20D64C1: ['task-mgmt-internal-api-key'],
  'task-mgmt-auth-service-execution': [
    'task-mgmt-internal-api-key',
    'task-mgmt-internal-api-key-previous',
    'task-mgmt-jwt-secret',
    'task-mgmt-jwt-secret-previous',
    'task-mgmt-password-pepper',
    'task-mgmt-rds-credentials/auth-service',
    'task-mgmt-redis-password',
  ],
  'task-mgmt-task-service-execution': [
    'task-mgmt-internal-api-key',
    'task-mgmt-rds-credentials/task-service',
    'task-mgmt-redis-password',
    'task-mgmt-text-key',
    'task-mgmt-text-key-previous',
  ],
  'task-mgmt-worker-execution': [
    'task-mgmt-log-key',
    'task-mgmt-log-key-previous',
    'task-mgmt-rds-credentials/worker',
    'task-mgmt-text-key',
    'task-mgmt-text-key-previous',
  ],
  'task-mgmt-witness-execution': ['task-mgmt-witness-key', 'task-mgmt-witness-key-previous'],
  'task-mgmt-migration-execution': [
    'administrator',
    'task-mgmt-rds-credentials/auth-service',
    'task-mgmt-rds-credentials/task-service',
    'task-mgmt-rds-credentials/worker',
  ],
  'task-mgmt-rebuild-execution': [
    'administrator',
    'task-mgmt-text-key',
    'task-mgmt-text-key-previous',
  ],
}

describe('Access', () => {
  let synthesis: Synthesis
  let ec2: Synthesis

  before(() => {
    synthesis = synthesise(variation({}))
    ec2 = synthesise(VARIANTS.ec2)
  })

  it('to each secret is given to the execution roles that inject it, and to the function that needs one', () => {
    expect(whoMay(synthesis, 'secretsmanager:GetSecretValue')).to.deep.equal(OWN_SECRETS)
    expect(whoMay(ec2, 'secretsmanager:GetSecretValue')).to.deep.equal(OWN_SECRETS)
  })

  it('to the key is given for these secrets only, by way of Secrets Manager', () => {
    for (const variant of [synthesis, ec2]) {
      const decrypting = statements(variant).filter(({ actions }) =>
        actions.includes('kms:Decrypt'),
      )
      const found = decrypting.map(({ role, stack, conditions, actions, resources }) => {
        const { 'kms:ViaService': via, ...context } = conditions.StringEquals
        expect(via).to.equal('secretsmanager.us-east-1.amazonaws.com')
        expect(actions).to.deep.equal(['kms:Decrypt'])
        expect(within(variant, stack, resources[0])?.resource.Type).to.equal('AWS::KMS::Key')
        const arns: readonly unknown[] = context['kms:EncryptionContext:SecretARN']
        return [role, arns.map((arn) => nameOf(within(variant, stack, arn))).sort()]
      })
      expect(Object.fromEntries(found)).to.deep.equal(OWN_SECRETS)
      for (const action of ['kms:Encrypt', 'kms:GenerateDataKey', 'kms:CreateGrant']) {
        expect(whoMay(variant, action)).to.deep.equal({})
      }
    }
  })

  it('to the key by its own policy is given to logs and alarms, each for its own', () => {
    const { Statement } = only(synthesis.templates.data, 'AWS::KMS::Key').KeyPolicy
    const services = Statement.filter(({ Principal }: never) => 'Service' in (Principal as object))
    const found = services.map(({ Principal, Condition }: never) => [
      (Principal as { Service: string }).Service,
      Object.keys(Object.values(Condition as object)[0]),
    ])
    expect(Object.fromEntries(found)).to.deep.equal({
      'logs.us-east-1.amazonaws.com': ['kms:EncryptionContext:aws:logs:arn'],
      'cloudwatch.amazonaws.com': ['aws:SourceAccount'],
      'events.amazonaws.com': ['kms:EncryptionContext:aws:sns:topicArn'],
      'events.rds.amazonaws.com': ['kms:EncryptionContext:aws:sns:topicArn'],
    })
    const others = Statement.filter(
      ({ Principal, Effect }: never) => Effect === 'Allow' && !('Service' in (Principal as object)),
    )
    for (const { Principal } of others) {
      expect(Principal).to.deep.equal({ AWS: 'arn:aws:iam::333333333333:root' })
    }
  })

  it('to AWS is not given to a task itself, but to photos', () => {
    const roles = STACKS.flatMap((stack) =>
      properties(synthesis.templates[stack], 'AWS::ECS::TaskDefinition').map(({ TaskRoleArn }) =>
        nameOf(within(synthesis, stack, TaskRoleArn)),
      ),
    )
    expect(roles).to.have.length(6)
    const rights = statements(synthesis).filter(({ role }) => roles.includes(role))
    expect([...new Set(rights.map(({ role }) => role))]).to.deep.equal([
      'task-mgmt-task-service-task',
      'task-mgmt-worker-task',
    ])
    for (const { actions } of rights) {
      expect(actions.filter((action) => !action.startsWith('s3:'))).to.deep.equal([])
    }
    const without = statements(synthesise(variation({ photos: undefined })))
    expect(without.filter(({ role }) => role.endsWith('-task'))).to.deep.equal([])
  })

  it('of an execution role is to its own image and its own log beside its secrets', () => {
    expect(whoMay(synthesis, 'ecr:BatchGetImage')).to.deep.equal({
      'task-mgmt-auth-service-execution': ['auth-service'],
      'task-mgmt-task-service-execution': ['task-service'],
      'task-mgmt-worker-execution': ['worker'],
      'task-mgmt-witness-execution': ['witness'],
      'task-mgmt-migration-execution': ['migration'],
      'task-mgmt-rebuild-execution': ['worker'],
    })
    expect(whoMay(synthesis, 'logs:PutLogEvents')).to.deep.equal({
      'task-mgmt-auth-service-execution': ['/ecs/auth-service'],
      'task-mgmt-task-service-execution': ['/ecs/task-service'],
      'task-mgmt-worker-execution': ['/ecs/worker'],
      'task-mgmt-witness-execution': ['/ecs/witness'],
      'task-mgmt-migration-execution': ['/ecs/migration'],
      'task-mgmt-rebuild-execution': ['/ecs/rebuild'],
    })
  })

  it('of all is nowhere', () => {
    for (const { actions } of [...statements(synthesis), ...statements(ec2)]) {
      expect(actions.filter((action) => /^\*$|^[a-z0-9-]+:\*$/.test(action))).to.deep.equal([])
    }
  })

  it('by policies of AWS is limited to three that read no secret', () => {
    const attached = STACKS.flatMap((stack) =>
      properties(ec2.templates[stack], 'AWS::IAM::Role').flatMap((role) => {
        const policies: readonly object[] = role.ManagedPolicyArns ?? []
        return policies.map((arn) => JSON.stringify(arn).match(/policy\/([\w/-]+)/)?.[1])
      }),
    )
    expect([...new Set(attached)].sort()).to.deep.equal([
      'service-role/AWSLambdaBasicExecutionRole',
      'service-role/AWSLambdaVPCAccessExecutionRole',
      'service-role/AmazonRDSEnhancedMonitoringRole',
    ])
  })

  it('to start a migration is for that one task in this one cluster', () => {
    const [run, ...others] = statements(synthesis).filter(({ actions }) =>
      actions.includes('ecs:RunTask'),
    )
    expect(others).to.deep.equal([])
    expect(run?.resources).to.deep.equal([
      'arn:aws:ecs:us-east-1:333333333333:task-definition/migration-task:*',
    ])
    expect(run?.conditions.ArnEquals['ecs:cluster']).to.match(/:cluster\/task-management-cluster$/)
    const passed = whoMay(synthesis, 'iam:PassRole')
    const names = Object.values(passed)
      .flat()
      .filter((name) => !name.startsWith('migration'))
    expect(names).to.deep.equal(['task-mgmt-migration-execution'])
  })

  it('to read how many tasks there are is for the two services that scale', () => {
    const reading = statements(synthesis).filter((one) => allows(one, 'ecs:DescribeServices'))
    expect(reading.map(({ resources }) => resources)).to.deep.equal([
      ['auth-service', 'task-service'].map(
        (name) => `arn:aws:ecs:us-east-1:333333333333:service/task-management-cluster/${name}`,
      ),
    ])
  })

  it('to the roles of tasks is for ECS acting for this account', () => {
    const { data, services } = synthesis.templates
    const roles = [...properties(data, 'AWS::IAM::Role'), ...properties(services, 'AWS::IAM::Role')]
    const trusts = roles.flatMap(
      ({ AssumeRolePolicyDocument }) => AssumeRolePolicyDocument.Statement,
    )
    const ecs = trusts.filter(({ Principal }) => Principal.Service === 'ecs-tasks.amazonaws.com')
    expect(ecs).to.have.length(12)
    for (const { Condition } of ecs) {
      expect(Condition.StringEquals).to.deep.equal({ 'aws:SourceAccount': '333333333333' })
    }
  })

  it('to the alarm topic is for alarms and events of this account, under TLS', () => {
    const { Statement } = only(synthesis.templates.platform, 'AWS::SNS::TopicPolicy').PolicyDocument
    const allowed = Statement.filter(({ Effect }: { Effect: string }) => Effect === 'Allow')
    const found = allowed.map(({ Action, Principal, Condition }: never) => [
      (Principal as { Service: string }).Service,
      Action,
      Condition,
    ])
    const thisAccount = { StringEquals: { 'aws:SourceAccount': '333333333333' } }
    expect(found).to.deep.equal([
      ['cloudwatch.amazonaws.com', 'sns:Publish', thisAccount],
      ['events.rds.amazonaws.com', 'sns:Publish', thisAccount],
      // EventBridge tells a topic nothing that a condition could be about.
      ['events.amazonaws.com', 'sns:Publish', undefined],
    ])
  })
})
