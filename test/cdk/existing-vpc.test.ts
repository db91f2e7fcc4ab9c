import { expect } from 'chai'
import { ConfigError, parseEnvironment } from '../../cdk/config/parse.ts'
import { prod } from '../../cdk/config/prod.ts'
import type { Environment, EnvironmentInput } from '../../cdk/config/schema.ts'
import { only, properties, type Synthesis, synthesise } from './support/synthesis.ts'

const ID = 'vpc-0c000000000000001'
const ENDPOINTS = { via: 'endpoints', s3PrefixListId: 'pl-63a5400a' } as const

const environment = (vpc: object = {}, egress: EnvironmentInput['egress'] = { via: 'nat' }) =>
  parseEnvironment({ ...prod, egress, vpc: { by: 'lookup', id: ID, ...vpc } })

type Kind = 'Public' | 'Private' | 'Isolated'
/** Ids end in the two digits; the zone is that of us-east-1. */
const subnet = (type: Kind, digits: string, zone: string, size = 24) => ({
  type,
  subnet: {
    subnetId: idOf(digits),
    cidr: `10.2.${Number.parseInt(digits, 16)}.0/${size}`,
    availabilityZone: `us-east-1${zone}`,
    routeTableId: `rtb-0c0000000000000${digits}`,
  },
})
const idOf = (digits: string) => `subnet-0c0000000000000${digits}`

/** As the CLI puts the account's answers into cdk.context.json. */
const vpcOf = (subnets: readonly ReturnType<typeof subnet>[]) => ({
  vpcId: ID,
  vpcCidrBlock: '10.2.0.0/16',
  ownerAccountId: prod.account,
  availabilityZones: [],
  subnetGroups: (['Public', 'Private', 'Isolated'] as const).map((type) => ({
    name: type,
    type,
    subnets: subnets.filter((one) => one.type === type).map((one) => one.subnet),
  })),
})
const DNS = { EnableDnsSupport: true, EnableDnsHostnames: true, Identifier: ID }

function lookUp(
  asking: Environment,
  subnets: readonly ReturnType<typeof subnet>[],
  dns: object = DNS,
): Synthesis {
  const answers = synthesise(asking).missing.map(({ key, provider }) => {
    return [key, provider === 'vpc-provider' ? vpcOf(subnets) : [dns]]
  })
  return synthesise(asking, Object.fromEntries(answers))
}

/** Two public and three private subnets in a, two of each in b, one of each in c. */
const SEVERAL = [
  subnet('Public', '01', 'a', 27),
  subnet('Public', '02', 'a'),
  subnet('Public', '03', 'b'),
  subnet('Public', '04', 'b'),
  subnet('Private', '11', 'a', 26),
  subnet('Private', '12', 'a', 22),
  subnet('Private', '13', 'a', 22),
  subnet('Private', '14', 'b'),
  subnet('Private', '15', 'b', 23),
  subnet('Private', '16', 'd'),
  subnet('Isolated', '21', 'a', 20),
  subnet('Isolated', '22', 'b', 20),
]

const subnetsOf = ({ templates }: Synthesis) => {
  const { Subnets } = only(templates.platform, 'AWS::ElasticLoadBalancingV2::LoadBalancer')
  const { SubnetIds } = only(templates.data, 'AWS::RDS::DBSubnetGroup')
  return { public: Subnets, private: SubnetIds }
}

describe('A VPC that is looked up', () => {
  it('is asked for once, with its subnets and with what it answers to names', () => {
    const { missing } = synthesise(environment())
    expect(missing.map(({ provider }) => provider)).to.have.members([
      'vpc-provider',
      'cc-api-provider',
    ])
    expect(missing[0]?.props).to.deep.include({ filter: { 'vpc-id': ID }, region: 'us-east-1' })
    expect(missing[1]?.props).to.deep.include({ typeName: 'AWS::EC2::VPC', exactIdentifier: ID })
    expect(lookUp(environment(), SEVERAL).missing).to.deep.equal([])
  })

  it('gives one subnet per zone, the largest, in zones that have a public and a private one', () => {
    expect(subnetsOf(lookUp(environment(), SEVERAL))).to.deep.equal({
      public: [idOf('02'), idOf('03')],
      private: [idOf('12'), idOf('15')],
    })
  })

  it('gives those that the configuration names, in the order of their zones', () => {
    const publicSubnetIds = [idOf('04'), idOf('01')]
    const privateSubnetIds = [idOf('14'), idOf('11')]
    const named = environment({ publicSubnetIds, privateSubnetIds })
    expect(subnetsOf(lookUp(named, SEVERAL))).to.deep.equal({
      public: [idOf('01'), idOf('04')],
      private: [idOf('11'), idOf('14')],
    })
  })

  it('gives every endpoint one subnet per zone, and its gateway their route tables', () => {
    const { network } = lookUp(environment({}, ENDPOINTS), SEVERAL).templates
    for (const endpoint of properties(network, 'AWS::EC2::VPCEndpoint')) {
      if (endpoint.VpcEndpointType === 'Gateway') {
        expect(endpoint.RouteTableIds).to.deep.equal([
          'rtb-0c000000000000021',
          'rtb-0c000000000000022',
        ])
      } else expect(endpoint.SubnetIds).to.deep.equal([idOf('21'), idOf('22')])
    }
  })

  const public2 = [subnet('Public', '01', 'a'), subnet('Public', '02', 'b')]
  const private2 = [subnet('Private', '11', 'a'), subnet('Private', '12', 'b')]
  const isolated2 = [subnet('Isolated', '21', 'a'), subnet('Isolated', '22', 'b')]
  const noPair = (kinds: string) =>
    `prod: vpc must have a public subnet and a private one (${kinds}) in the same zone, one per zone, ` +
    'in at least two zones.'
  const WRONG: readonly (readonly [
    what: string,
    asking: Environment,
    subnets: readonly ReturnType<typeof subnet>[],
    sentence: string,
  ])[] = [
    [
      'without a NAT gateway where egress needs one',
      environment(),
      [...public2, ...isolated2],
      noPair('with a NAT gateway'),
    ],
    [
      'with both kinds in one zone only',
      environment({}, ENDPOINTS),
      [...public2, subnet('Private', '11', 'a'), subnet('Isolated', '22', 'c')],
      noPair('with a NAT gateway or isolated'),
    ],
    [
      'with two named subnets in one zone',
      environment({ publicSubnetIds: [idOf('01'), idOf('02')] }),
      SEVERAL,
      noPair('with a NAT gateway'),
    ],
    [
      'with a named subnet that it has not',
      environment({ privateSubnetIds: [idOf('99'), idOf('12')] }),
      SEVERAL,
      `prod: vpc.privateSubnetIds: the VPC has no subnet ${idOf('99')} that is with a NAT gateway.`,
    ],
    [
      'with named subnets in other zones than each other',
      environment({
        publicSubnetIds: [idOf('01'), idOf('04')],
        privateSubnetIds: [idOf('12'), idOf('16')],
      }),
      SEVERAL,
      'prod: vpc.publicSubnets must be in the zones of vpc.privateSubnets, in the same order.',
    ],
    [
      'with too small a subnet for the load balancer',
      environment(),
      [subnet('Public', '01', 'a', 28), subnet('Public', '02', 'b'), ...private2],
      'prod: vpc must have public subnets of /27 or larger for its load balancer.',
    ],
  ]
  WRONG.forEach(([what, asking, subnets, sentence]) => {
    it(`${what} is refused`, () => {
      expect(() => lookUp(asking, subnets)).to.throw(ConfigError, sentence)
    })
  })

  it('that answers to no names is refused', () => {
    const dns = { ...DNS, EnableDnsHostnames: false }
    expect(() => lookUp(environment(), SEVERAL, dns)).to.throw(
      ConfigError,
      'prod: vpc must have EnableDnsHostnames on.',
    )
  })

  it('needs no NAT gateway where AWS is reached by endpoints', () => {
    const { templates } = lookUp(environment({}, ENDPOINTS), [...public2, ...isolated2])
    const { SubnetIds } = only(templates.data, 'AWS::RDS::DBSubnetGroup')
    expect(SubnetIds).to.deep.equal([idOf('21'), idOf('22')])
  })
})
