import { expect } from 'chai'
import { dev } from '../../cdk/config/dev.ts'
import { ConfigError, parseEnvironment, parseEnvironments } from '../../cdk/config/parse.ts'
import { prod } from '../../cdk/config/prod.ts'
import { staging } from '../../cdk/config/staging.ts'
import { synthesise } from './support/synthesis.ts'

const without = (field: keyof typeof prod) => {
  const { [field]: _, ...rest } = prod
  return rest
}
const auth = prod.services['auth-service']
const services = (change: object) => ({
  ...prod,
  services: { ...prod.services, 'auth-service': { ...auth, ...change } },
})
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
    'prod: vpc.privateSubnets must name one subnet a zone, in two zones at least.',
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
    'prod: vpc.publicSubnetIds must name one subnet a zone, in two zones at least.',
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
    'prod: vpc.by must be given by attributes or by lookup.',
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
    'prod: vpc.publicSubnets must lie in the zones of vpc.privateSubnets, in the same order.',
  ],
  [
    'public subnets where no private ones are',
    vpc({ publicSubnets: subnetsIn('us-east-1c', 'us-east-1d') }),
    'prod: vpc.publicSubnets must lie in the zones of vpc.privateSubnets, in the same order.',
  ],
  [
    'no certificate outside dev',
    without('certificateArn'),
    'prod: certificateArn is missing: only dev may answer over plain HTTP.',
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
    'prod: database.maxConnections must be at least 542: all services at their most tasks, ' +
      'twice over while a deployment rolls.',
  ],
  [
    'storage that shrinks',
    { ...prod, database: { ...prod.database, maxStorageGiB: 20 } },
    'prod: database.maxStorageGiB must not be less than database.storageGiB.',
  ],
  [
    'one database instance in prod',
    { ...prod, database: { ...prod.database, multiAz: false } },
    'prod: database.multiAz must be true: only dev may do without a standby.',
  ],
]

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
      'staging: account must be another than that of prod in us-east-1.',
    )
    expect(parseEnvironments([dev, staging, prod])).to.have.length(3)
  })

  it('needs nothing from the account when its VPC is given by attributes', () => {
    expect(synthesise(parseEnvironment(prod)).missing).to.deep.equal([])
  })
})
