import { expect } from 'chai'
import { VARIANTS } from './support/environments.ts'
import {
  ACCOUNT,
  type Attempt,
  type Identity,
  identities,
  KEY,
  may,
  roleArn,
  secretArn,
} from './support/simulation.ts'
import { ofType, type Synthesis, synthesise } from './support/synthesis.ts'

const arn = (service: string, resource: string) =>
  `arn:aws:${service}:us-east-1:${ACCOUNT}:${resource}`

/** Which image each task runs, and which secrets it is given. */
const TASKS: Readonly<
  Record<string, { readonly image: string; readonly secrets: readonly string[] }>
> = {
  'auth-service': {
    image: 'auth-service',
    secrets: [
      'task-mgmt-internal-api-key',
      'task-mgmt-internal-api-key-previous',
      'task-mgmt-jwt-secret',
      'task-mgmt-jwt-secret-previous',
      'task-mgmt-password-pepper',
      'task-mgmt-rds-credentials/auth-service',
      'task-mgmt-redis-password',
    ],
  },
  'task-service': {
    image: 'task-service',
    secrets: [
      'task-mgmt-internal-api-key',
      'task-mgmt-rds-credentials/task-service',
      'task-mgmt-redis-password',
      'task-mgmt-text-key',
      'task-mgmt-text-key-previous',
    ],
  },
  worker: {
    image: 'worker',
    secrets: [
      'task-mgmt-rds-credentials/worker',
      'task-mgmt-log-key',
      'task-mgmt-log-key-previous',
      'task-mgmt-text-key',
      'task-mgmt-text-key-previous',
    ],
  },
  witness: {
    image: 'witness',
    secrets: ['task-mgmt-witness-key', 'task-mgmt-witness-key-previous'],
  },
  migration: {
    image: 'migration',
    secrets: [
      'administrator',
      'task-mgmt-rds-credentials/auth-service',
      'task-mgmt-rds-credentials/task-service',
      'task-mgmt-rds-credentials/worker',
    ],
  },
  rebuild: {
    image: 'worker',
    secrets: ['administrator', 'task-mgmt-text-key', 'task-mgmt-text-key-previous'],
  },
}
const ALL_SECRETS = [...new Set(Object.values(TASKS).flatMap(({ secrets }) => secrets))]
const ALL_IMAGES = [...new Set(Object.values(TASKS).map(({ image }) => image))]

/** By way of Secrets Manager, for the secret of that name. */
const decrypting = (secret: string, via = 'secretsmanager'): Attempt => ({
  action: 'kms:Decrypt',
  resource: KEY,
  context: {
    'kms:ViaService': `${via}.us-east-1.amazonaws.com`,
    'kms:EncryptionContext:SecretARN': secretArn(secret),
  },
})
const reading = (secret: string): Attempt => ({
  action: 'secretsmanager:GetSecretValue',
  resource: secretArn(secret),
})
const pulling = (image: string): readonly Attempt[] =>
  ['BatchCheckLayerAvailability', 'BatchGetImage', 'GetDownloadUrlForLayer'].map((action) => ({
    action: `ecr:${action}`,
    resource: arn('ecr', `repository/${image}`),
  }))
const logging = (task: string): readonly Attempt[] =>
  ['CreateLogStream', 'PutLogEvents'].map((action) => ({
    action: `logs:${action}`,
    resource: arn('logs', `log-group:/ecs/${task}:log-stream:${task}/${task}/0c0c`),
  }))

/** What would hurt most, on what is there. */
const DANGERS: readonly Attempt[] = [
  ...['PutSecretValue', 'UpdateSecret', 'DeleteSecret', 'PutResourcePolicy'].map((action) => ({
    action: `secretsmanager:${action}`,
    resource: secretArn('task-mgmt-jwt-secret'),
  })),
  ...['Encrypt', 'ScheduleKeyDeletion', 'DisableKey', 'PutKeyPolicy', 'CreateGrant'].map(
    (action) => ({ action: `kms:${action}`, resource: KEY }),
  ),
  ...['DeleteDBInstance', 'ModifyDBInstance', 'CreateDBSnapshot'].map((action) => ({
    action: `rds:${action}`,
    resource: arn('rds', 'db:task-mgmt-db'),
  })),
  ...['PutImage', 'DeleteRepository', 'BatchDeleteImage'].map((action) => ({
    action: `ecr:${action}`,
    resource: arn('ecr', 'repository/auth-service'),
  })),
  { action: 'logs:DeleteLogGroup', resource: arn('logs', 'log-group:/ecs/auth-service') },
  { action: 'ecs:UpdateService', resource: arn('ecs', 'service/task-management-cluster/worker') },
  { action: 'ecs:ExecuteCommand', resource: arn('ecs', 'task/task-management-cluster/0c0c') },
  { action: 'ecs:RegisterTaskDefinition', resource: arn('ecs', 'task-definition/worker-task:1') },
  { action: 'lambda:UpdateFunctionCode', resource: arn('lambda', 'function:onEvent') },
  { action: 'cloudformation:DeleteStack', resource: arn('cloudformation', 'stack/prod-data/0c') },
  {
    action: 'ec2:AuthorizeSecurityGroupIngress',
    resource: arn('ec2', 'security-group/sg-0c000000000000001'),
  },
  ...['AttachRolePolicy', 'PutRolePolicy', 'CreateRole'].map((action) => ({
    action: `iam:${action}`,
    resource: roleArn('task-mgmt-auth-service-execution'),
  })),
  { action: 'iam:CreateAccessKey', resource: `arn:aws:iam::${ACCOUNT}:user/somebody` },
  { action: 'sts:AssumeRole', resource: roleArn('Administrator') },
  {
    action: 'iam:PassRole',
    resource: roleArn('Administrator'),
    context: { 'iam:PassedToService': 'ecs-tasks.amazonaws.com' },
  },
  { action: 's3:GetObject', resource: 'arn:aws:s3:::access-logs/AWSLogs/1' },
]

describe('IAM, simulated,', function () {
  // The first simulation reads all actions of AWS.
  this.timeout(120_000)
  let synthesis: Synthesis
  let roles: readonly Identity[]

  before(() => {
    synthesis = synthesise({
      ...VARIANTS.ec2,
      canary: { url: 'https://tasks.example.com' },
      edge: { domain: 'tasks.example.com', throttle: { rate: 1_000, burst: 2_000 } },
    })
    roles = identities(synthesis)
  })

  const role = (name: RegExp | string): Identity => {
    const found = roles.filter((one) =>
      typeof name === 'string' ? one.name === name : name.test(one.name),
    )
    if (found[0] === undefined || found.length > 1) throw new Error(`${found.length} like ${name}`)
    return found[0]
  }
  /** Those of the attempts that succeed. */
  const succeed = async (identity: Identity, attempts: readonly Attempt[]) => {
    const results = await Promise.all(attempts.map((one) => may(synthesis, identity, one)))
    return attempts.filter((_, index) => results[index])
  }

  for (const [task, { image, secrets }] of Object.entries(TASKS)) {
    it(`lets ECS start ${task} with its image, its secrets and its log, and with no other`, async () => {
      const execution = role(`task-mgmt-${task}-execution`)
      const needed = [
        { action: 'ecr:GetAuthorizationToken', resource: '*' },
        ...pulling(image),
        ...logging(task),
        ...secrets.flatMap((secret) => [reading(secret), decrypting(secret)]),
      ]
      expect(await succeed(execution, needed)).to.deep.equal(needed)

      const others = ALL_SECRETS.filter((secret) => !secrets.includes(secret))
      const refused = [
        ...others.flatMap((secret) => [reading(secret), decrypting(secret)]),
        ...secrets.map((secret) => decrypting(secret, 'ssm')),
        { action: 'kms:Decrypt', resource: KEY },
        ...ALL_IMAGES.filter((one) => one !== image).flatMap(pulling),
        ...Object.keys(TASKS)
          .filter((one) => one !== task)
          .flatMap(logging),
      ]
      expect(await succeed(execution, refused)).to.deep.equal([])
    })

    it(`lets ${task} itself do nothing dangerous, once it runs`, async () => {
      // Those have names that the policies of files and photos are about; for photos see below.
      const named = ['witness', 'task-service', 'worker'].includes(task)
        ? `task-mgmt-${task}-task`
        : null
      const own = role(named ?? new RegExp(`^${task.replace('-', '')}TaskRole`))
      const attempts = [...DANGERS, ...ALL_SECRETS.map(reading), ...ALL_IMAGES.flatMap(pulling)]
      expect(await succeed(own, attempts)).to.deep.equal([])
    })
  }

  it('lets a deployment run the migration and look at it, and no other task', async () => {
    const cluster = { 'ecs:cluster': arn('ecs', 'cluster/task-management-cluster') }
    const running = (family: string, context = cluster): Attempt => ({
      action: 'ecs:RunTask',
      resource: arn('ecs', `task-definition/${family}:7`),
      context,
    })
    const passing = (name: string, to = 'ecs-tasks'): Attempt => ({
      action: 'iam:PassRole',
      resource: roleArn(name),
      context: { 'iam:PassedToService': `${to}.amazonaws.com` },
    })
    const starter = role(/^MigrateonEvent/)
    const own = role(/^migrationTaskRole/).name
    const needed = [
      running('migration-task'),
      passing('task-mgmt-migration-execution'),
      passing(own),
    ]
    expect(await succeed(starter, needed)).to.deep.equal(needed)
    const refused = [
      running('rebuild-task'),
      running('migration-task', { 'ecs:cluster': arn('ecs', 'cluster/another') }),
      passing('task-mgmt-migration-execution', 'lambda'),
      passing('task-mgmt-rebuild-execution'),
    ]
    expect(await succeed(starter, refused)).to.deep.equal([])

    const looking = [
      { action: 'ecs:DescribeTasks', resource: arn('ecs', 'task/task-management-cluster/0c0c') },
    ]
    const watcher = role(/^MigrateisComplete/)
    expect(await succeed(watcher, looking)).to.deep.equal(looking)
    expect(await succeed(watcher, needed)).to.deep.equal([])
  })

  it('lets a deployment read how many tasks a service has, and not set it', async () => {
    const reader = role(/^DesiredCountsonEvent/)
    const on = (action: string) =>
      ['auth-service', 'task-service'].map((name) => ({
        action,
        resource: arn('ecs', `service/task-management-cluster/${name}`),
      }))
    expect(await succeed(reader, on('ecs:DescribeServices'))).to.have.length(2)
    expect(await succeed(reader, on('ecs:UpdateService'))).to.deep.equal([])
  })

  it('lets the canary read its own password, and no secret of the services', async () => {
    const [[own = ''] = []] = ofType(synthesis.templates.services, 'AWS::SecretsManager::Secret')
    const canary = role(/^CanaryVisitor/)
    const needed = [reading(own), decrypting(own)]
    expect(await succeed(canary, needed)).to.deep.equal(needed)
    const refused = [
      ...ALL_SECRETS.flatMap((secret) => [reading(secret), decrypting(secret)]),
      decrypting(own, 'ssm'),
      { ...reading(own), action: 'secretsmanager:PutSecretValue' },
    ]
    expect(await succeed(canary, refused)).to.deep.equal([])
  })

  it('lets the authorizer read the keys that sign tokens, and no other secret', async () => {
    const authorizer = role(/^AuthorizerServiceRole/)
    const keys = ['task-mgmt-jwt-secret', 'task-mgmt-jwt-secret-previous']
    const needed = keys.flatMap((secret) => [reading(secret), decrypting(secret)])
    expect(await succeed(authorizer, needed)).to.deep.equal(needed)
    const others = ALL_SECRETS.filter((secret) => !keys.includes(secret))
    const refused = [
      ...others.flatMap((secret) => [reading(secret), decrypting(secret)]),
      ...keys.map((secret) => decrypting(secret, 'ssm')),
    ]
    expect(await succeed(authorizer, refused)).to.deep.equal([])
  })

  it('lets the function that reports uploads read the internal API key, and no other secret', async () => {
    const own = 'task-mgmt-internal-api-key'
    const reporter = role(/^PhotoEventsReporter/)
    const needed = [reading(own), decrypting(own)]
    expect(await succeed(reporter, needed)).to.deep.equal(needed)
    const refused = [
      ...ALL_SECRETS.filter((secret) => secret !== own).flatMap((secret) => {
        return [reading(secret), decrypting(secret)]
      }),
      decrypting(own, 'ssm'),
    ]
    expect(await succeed(reporter, refused)).to.deep.equal([])
  })

  it('lets no role of the environment do what would hurt most', async () => {
    expect(roles.length).to.be.above(15)
    for (const one of roles) {
      expect(await succeed(one, DANGERS), one.name).to.deep.equal([])
    }
  })
})
