import { expect } from 'chai'
import { dev } from '../../cdk/config/dev.ts'
import { ConfigError, parseEnvironment, parseEnvironments } from '../../cdk/config/parse.ts'
import { prod } from '../../cdk/config/prod.ts'
import type { Environment } from '../../cdk/config/schema.ts'
import { staging } from '../../cdk/config/staging.ts'
import { VARIANTS } from './support/environments.ts'
import { PROD_LOG } from './support/log-keys.ts'
import { STACKS, synthesise } from './support/synthesis.ts'

const without = (field: keyof typeof prod) => {
  const { [field]: _, ...rest } = prod
  return rest
}
const auth = prod.services['auth-service']
const services = (change: object) => ({
  ...prod,
  services: { ...prod.services, 'auth-service': { ...auth, ...change } },
})
const database = (change: object) => ({ ...prod, database: { ...prod.database, ...change } })
const AURORA = VARIANTS.aurora.database
const images = (tag: string) => ({ ...prod, images: { ...prod.images, 'auth-service': tag } })
const vpc = (change: object) => ({ ...prod, vpc: { ...prod.vpc, ...change } })
const subnetsIn = (...zones: string[]) =>
  zones.map((zone, at) => ({
    id: `subnet-0c00000000000000${at}`,
    zone,
    routeTableId: `rtb-0c00000000000000${at}`,
  }))
const oneZone = [
  { id: 'subnet-0c000000000000003', zone: 'us-east-1a', routeTableId: 'rtb-0c000000000000003' },
]

const WRONG: readonly (readonly [what: string, input: unknown, sentence: string])[] = [
  ['no account', without('account'), 'prod: account is missing.'],
  ['no database', without('database'), 'prod: database is missing.'],
  [
    'a pre-release that SemVer does not order',
    images('1.0.0-01'),
    'prod: images.auth-service must be a semantic version such as 1.4.2.',
  ],
  [
    'the tag latest',
    images('latest'),
    'prod: images.auth-service must be a semantic version such as 1.4.2.',
  ],
  [
    'a tag with a v',
    images('v1.0.0'),
    'prod: images.auth-service must be a semantic version such as 1.4.2.',
  ],
  [
    'a misspelt field',
    { ...prod, certficateArn: prod.certificateArn },
    'prod: certficateArn is not a known field.',
  ],
  [
    'a way to deploy, for all deployments roll',
    { ...prod, deployment: { strategy: 'blue-green', bakeMinutes: 5 } },
    'prod: deployment is not a known field.',
  ],
  [
    'an unknown environment',
    { ...prod, name: 'production' },
    'production: name must be dev, staging or prod.',
  ],
  [
    'a short account',
    { ...prod, account: '3333' },
    'prod: account must be an account of twelve digits.',
  ],
  [
    'one zone',
    vpc({ privateSubnets: oneZone }),
    'prod: vpc.privateSubnets must name one subnet per zone, in at least two zones.',
  ],
  [
    'a made-up id',
    vpc({ id: 'vpc-xxxxxxxxx' }),
    'prod: vpc.id must be an id such as vpc-0a1b2c3d4e5f60718.',
  ],
  [
    'one subnet alone to be looked up',
    {
      ...prod,
      vpc: { by: 'lookup', id: 'vpc-0c000000000000001', publicSubnetIds: [oneZone[0]?.id] },
    },
    'prod: vpc.publicSubnetIds must name one subnet per zone, in at least two zones.',
  ],
  [
    'an endpoint that no task needs',
    {
      ...prod,
      egress: { via: 'endpoints', s3PrefixListId: 'pl-63a5400a', existing: { sqs: 'sg-0a0a0a0a' } },
    },
    'prod: egress.existing.sqs is not a known field.',
  ],
  [
    'a VPC given in neither way',
    { ...prod, vpc: { by: 'name' } },
    'prod: vpc.by must be given by attributes or by lookup, or be our own.',
  ],
  [
    'zones of another region',
    {
      ...prod,
      region: 'eu-west-1',
      certificateArn: prod.certificateArn?.replace('us-east-1', 'eu-west-1'),
    },
    'prod: vpc must have its subnets in zones of eu-west-1.',
  ],
  [
    'a certificate of another region',
    { ...prod, certificateArn: prod.certificateArn?.replace('us-east-1', 'eu-west-1') },
    'prod: certificateArn must be a certificate in us-east-1.',
  ],
  [
    'a certificate of another account',
    { ...prod, certificateArn: prod.certificateArn?.replace(':333333333333:', ':222222222222:') },
    'prod: certificateArn must be a certificate of the account 333333333333.',
  ],
  [
    'more public zones than private ones',
    vpc({ publicSubnets: subnetsIn('us-east-1a', 'us-east-1b', 'us-east-1c') }),
    'prod: vpc.publicSubnets must be in the zones of vpc.privateSubnets, in the same order.',
  ],
  [
    'public subnets where no private ones are',
    vpc({ publicSubnets: subnetsIn('us-east-1c', 'us-east-1d') }),
    'prod: vpc.publicSubnets must be in the zones of vpc.privateSubnets, in the same order.',
  ],
  [
    'no certificate outside dev',
    without('certificateArn'),
    'prod: certificateArn is missing: only dev may answer over plain HTTP.',
  ],
  ...['http://tasks.example.com', 'https://tasks.example.com/', 'tasks.example.com'].map(
    (url) =>
      [
        `a canary at ${url}`,
        { ...prod, canary: { url } },
        'prod: canary.url must be the address that users call, such as https://tasks.example.com.',
      ] as const,
  ),
  [
    'a canary and no certificate',
    { ...dev, canary: { url: 'https://tasks.example.com' } },
    'dev: certificateArn is missing: the canary sends its password only over TLS.',
  ],
  [
    'an edge without the name that its certificate is for',
    { ...prod, edge: {} },
    'prod: edge.domain and certificateArn must both be given, or neither: each needs the other.',
  ],
  [
    'an edge with a name and no certificate',
    { ...dev, edge: { domain: 'api.example.com' } },
    'dev: edge.domain and certificateArn must both be given, or neither: each needs the other.',
  ],
  [
    'a name of the edge that is a URL',
    { ...prod, edge: { domain: 'https://api.example.com' } },
    'prod: edge.domain must be the host that users call, such as api.example.com.',
  ],
  [
    'an edge that lets nothing through',
    { ...prod, edge: { domain: 'api.example.com', throttle: { rate: 0, burst: 1 } } },
    'prod: edge.throttle.rate must be a whole number from 1 to 10000.',
  ],
  [
    'a canary that would go past the edge',
    {
      ...prod,
      edge: { domain: 'api.example.com' },
      canary: { url: 'https://tasks.example.com' },
    },
    'prod: canary.url must be https:// and edge.domain: nobody can call the load balancer itself.',
  ],
  ...['https://app.example.com/', 'https://*.example.com', '*'].map(
    (origin) =>
      [
        `scripts of ${origin}`,
        { ...prod, corsOrigins: [origin] },
        'prod: corsOrigins.0 must be an origin such as https://app.example.com.',
      ] as const,
  ),
  [
    'scripts of a page without TLS outside dev',
    { ...prod, corsOrigins: ['http://app.example.com'] },
    'prod: corsOrigins must begin with https: only dev may be called from plain HTTP.',
  ],
  [
    'an unknown launch type',
    services({ launchType: 'lambda' }),
    'prod: services.auth-service.launchType must be fargate or ec2.',
  ],
  [
    'a size that Fargate has not',
    services({ size: { cpu: 256, memoryMiB: 4_096 } }),
    'prod: services.auth-service.size must be a size that Fargate offers, ' +
      'such as cpu 256 with memoryMiB 512.',
  ],
  [
    'ec2 without machines',
    services({ launchType: 'ec2' }),
    'prod: nodes is missing: a service has the launch type ec2.',
  ],
  [
    'more connections than the database takes',
    services({ poolMax: 11 }),
    'prod: database.maxConnections must be at least 506: all services with their maximum number of tasks, ' +
      'twice over during a deployment.',
  ],
  [
    'more connections than the memory of its class has room for',
    database({ instanceType: 't3.micro', maxConnections: 449 }),
    'prod: database.maxConnections must be at most 112 on t3.micro: each connection takes memory.',
  ],
  [
    'one connection more than its class has room for',
    database({ maxConnections: 451 }),
    'prod: database.maxConnections must be at most 450 on t4g.medium: each connection takes memory.',
  ],
  [
    'a class whose memory nobody knows',
    database({ instanceType: 'x2g.large' }),
    'prod: database.instanceType must be of a class t, m or r, whose memory is known, such as t3.micro.',
  ],
  ...[20, 19].map(
    (max) =>
      [
        `at most ${max} machines and at least 20`,
        { ...prod, nodes: { instanceTypes: ['t3.medium', 't3a.medium'], min: 20, max } },
        'prod: nodes.max must be more than nodes.min: ' +
          'an update starts a new machine before an old one stops.',
      ] as const,
  ),
  [
    'a restored database under the name of the one before',
    database({ restoreFrom: { snapshot: 'before-the-loss', instance: 'task-mgmt-db' } }),
    'prod: database.restoreFrom.instance must be a new name such as task-mgmt-db-2.',
  ],
  ...[20, 62].map(
    (maxStorageGiB) =>
      [
        `storage of 50 GiB that may grow to ${maxStorageGiB}`,
        database({ maxStorageGiB }),
        'prod: database.maxStorageGiB must be more than 1.25 times database.storageGiB.',
      ] as const,
  ),
  [
    'one database instance in prod',
    { ...prod, database: { ...prod.database, multiAz: false } },
    'prod: database.multiAz must be true: only dev may run without a standby.',
  ],
  [
    'no engine of the database',
    database({ engine: undefined }),
    'prod: database.engine is missing.',
  ],
  [
    'Aurora with a storage of its own',
    { ...prod, database: { ...AURORA, storageGiB: 20 } },
    'prod: database.storageGiB is not a known field.',
  ],
  [
    'Aurora in prod without a reader',
    { ...prod, database: { ...AURORA, readers: 0 } },
    'prod: database.readers must be at least 1: only dev may run without a standby.',
  ],
  [
    'a class that Aurora does not have',
    { ...prod, database: { ...AURORA, instanceType: 'm6g.large' } },
    'prod: database.instanceType must be a class that Aurora has: r, or t from medium on.',
  ],
  [
    'the key of the log without that of the witness',
    { ...prod, log: { verifierKey: PROD_LOG.verifierKey } },
    'prod: log.witnessVerifierKey is missing: the worker would not know the witness that knows its log.',
  ],
  [
    'the key of the witness without that of the log',
    { ...prod, log: { witnessVerifierKey: PROD_LOG.witnessVerifierKey } },
    'prod: log.verifierKey is missing: ' +
      'the witness would not know the log that is to have its signature.',
  ],
  [
    'the keys of log and witness in the place of each other',
    {
      ...prod,
      log: { verifierKey: PROD_LOG.witnessVerifierKey, witnessVerifierKey: PROD_LOG.verifierKey },
    },
    'prod: log.verifierKey must be the verifier key of the log prod.tasktrail.local/log, ' +
      'as log:key prints it; log.witnessVerifierKey must be the verifier key of the witness ' +
      'prod.tasktrail.local/witness, as witness:key prints it.',
  ],
  [
    'keys of another log',
    { ...prod, log: { ...PROD_LOG, origin: 'tasks.example.com/log' } },
    'prod: log.verifierKey must be the verifier key of the log tasks.example.com/log',
  ],
  [
    'a mistyped key',
    {
      ...prod,
      log: { ...PROD_LOG, verifierKey: PROD_LOG.verifierKey.replace(/.$/, '') },
    },
    'prod: log.verifierKey must be the verifier key of the log prod.tasktrail.local/log',
  ],
  [
    'a space in the name of the log',
    { ...prod, log: { origin: 'our log' } },
    'prod: log.origin must be a name without spaces and +, such as tasks.example.com/log.',
  ],
]

/** Of what is not in a region. */
const namesOnceAnAccount = (environment: Environment): readonly string[] =>
  STACKS.flatMap((stack) =>
    Object.values(synthesise(environment).templates[stack].Resources).flatMap(
      ({ Type, Properties }) =>
        (/^AWS::(IAM|CloudFront|Route53|S3)::|^AWS::CloudWatch::Dashboard$/.test(Type)
          ? [Properties.RoleName, Properties.DashboardName, Properties.BucketName]
          : []
        ).filter((name) => typeof name === 'string'),
    ),
  )

describe('An environment', () => {
  WRONG.forEach(([what, input, sentence]) => {
    it(`with ${what} is refused by name`, () => {
      expect(() => parseEnvironment(input)).to.throw(ConfigError, sentence)
    })
  })

  it('with several faults is told all of them at once', () => {
    const sentence = 'prod: account is missing; images.migration must be a semantic version'
    const input = { ...without('account'), images: { ...prod.images, migration: 'latest' } }
    expect(() => parseEnvironment(input)).to.throw(ConfigError, sentence)
  })

  it('is in us-east-1 unless it says otherwise', () => {
    expect(parseEnvironment(prod).region).to.equal('us-east-1')
  })

  it('is alone in its account and region, because names are fixed', () => {
    const { account, certificateArn } = prod
    const twin = { ...staging, account, ...(certificateArn && { certificateArn }) }
    expect(() => parseEnvironments([prod, twin])).to.throw(
      ConfigError,
      'staging: account must differ from that of prod in us-east-1.',
    )
    expect(parseEnvironments([dev, staging, prod])).to.have.length(3)
  })

  it('has as many connections as its class has room for, and no more', () => {
    const room = {
      'm6g.large': 901,
      'r6g.large': 1_802,
      't3.2xlarge': 3_604,
      'm7g.12xlarge': 5_000,
    }
    for (const [instanceType, maxConnections] of Object.entries(room)) {
      const right = parseEnvironment(database({ instanceType, maxConnections }))
      expect(right.database.maxConnections).to.equal(maxConnections)
      const wrong = database({ instanceType, maxConnections: maxConnections + 1 })
      expect(() => parseEnvironment(wrong)).to.throw(ConfigError, 'database.maxConnections must be')
    }
  })

  it('shares an account with one in another region, but no name that must be unique in the account', () => {
    const { certificateArn, ...rest } = prod
    const elsewhere = parseEnvironment({
      ...rest,
      region: 'eu-west-1',
      ...(certificateArn && { certificateArn: certificateArn.replace('us-east-1', 'eu-west-1') }),
      vpc: JSON.parse(JSON.stringify(prod.vpc).replaceAll('us-east-1', 'eu-west-1')),
      name: 'staging',
    })
    const [here, there] = [parseEnvironment(prod), elsewhere].map(namesOnceAnAccount)
    expect(here).to.include.members(['task-management-dashboard', 'task-mgmt-worker-execution'])
    expect(there).to.include.members([
      'task-management-dashboard-eu-west-1',
      'task-mgmt-worker-execution-eu-west-1',
    ])
    expect(here?.filter((name) => there?.includes(name))).to.deep.equal([])
  })

  it('needs nothing from the account when its VPC is given by attributes', () => {
    expect(synthesise(parseEnvironment(prod)).missing).to.deep.equal([])
  })
})
