import { expect } from 'chai'
import { dev } from '../../cdk/config/dev.ts'
import { ConfigError, parseEnvironment } from '../../cdk/config/parse.ts'
import { VARIANTS, variation } from './support/environments.ts'
import { reachability } from './support/reachability.ts'
import { cycle, follow } from './support/references.ts'
import {
  ofType,
  only,
  properties,
  type Resource,
  type StackName,
  type Synthesis,
  synthesise,
} from './support/synthesis.ts'

const CIDR = '10.0.0.0/16'
const own = { by: 'own', cidr: CIDR } as const
const ENDPOINTS = { via: 'endpoints', s3PrefixListId: 'pl-63a5400a' } as const

/** `services b`: the tier and the zone of a subnet, by the tags and properties that it gets. */
const placeOf = ({ Properties: { AvailabilityZone, Tags } }: Resource): string => {
  const tier = Tags.find(({ Key }: { Key: string }) => Key === 'aws-cdk:subnet-name').Value
  return `${tier} ${AvailabilityZone.slice(-1)}`
}
const placesOf = (synthesis: Synthesis, stack: StackName, ids: readonly unknown[]): string[] =>
  ids.map((id) => {
    const target = follow(synthesis, stack, id)
    return target === undefined ? '?' : placeOf(target.resource)
  })

/** Where each subnet's own table leads for what is in none of its networks. */
function waysOut(synthesis: Synthesis): Record<string, string> {
  const { network } = synthesis.templates
  const routes = properties(network, 'AWS::EC2::Route')
  const entries = properties(network, 'AWS::EC2::SubnetRouteTableAssociation').map((one) => {
    const [place = '?'] = placesOf(synthesis, 'network', [one.SubnetId])
    const found = routes.filter(({ RouteTableId }) => RouteTableId.Ref === one.RouteTableId.Ref)
    const targets = found.map(({ DestinationCidrBlock, GatewayId, NatGatewayId }) => {
      expect(DestinationCidrBlock).to.equal('0.0.0.0/0')
      if (GatewayId !== undefined) return 'the internet'
      const nat = follow(synthesis, 'network', NatGatewayId)?.resource.Properties
      return `NAT in ${placesOf(synthesis, 'network', [nat.SubnetId])}`
    })
    return [place, targets.join() || 'nowhere']
  })
  return Object.fromEntries(entries)
}

/** First and last address, as numbers. */
const rangeOf = (cidr: string): readonly [number, number] => {
  const [address = '', size] = cidr.split('/')
  const first = address.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0)
  return [first, first + 2 ** (32 - Number(size)) - 1]
}

describe('A VPC of our own', () => {
  let fargate: Synthesis
  let ec2: Synthesis
  let inDev: Synthesis
  let endpoints: Synthesis

  before(() => {
    fargate = synthesise(variation({ vpc: own }))
    ec2 = synthesise({ ...VARIANTS.ec2, vpc: own })
    inDev = synthesise(parseEnvironment({ ...dev, vpc: { ...own, natGateways: 1 } }))
    endpoints = synthesise(variation({ vpc: own, egress: ENDPOINTS }))
  })

  it('has two public subnets and four private ones in two zones, none within another', () => {
    const subnets = ofType(fargate.templates.network, 'AWS::EC2::Subnet').map(([, one]) => one)
    expect(subnets.map(placeOf)).to.have.members([
      ...['public a', 'public b'],
      ...['services a', 'services b'],
      ...['data a', 'data b'],
    ])
    const sizes = subnets.map((one) => {
      return `${placeOf(one).split(' ')[0]} /${one.Properties.CidrBlock.split('/')[1]}`
    })
    expect([...new Set(sizes)]).to.have.members(['public /24', 'services /20', 'data /24'])
    const [first, last] = rangeOf(CIDR)
    const ranges = subnets.map(({ Properties }) => rangeOf(Properties.CidrBlock))
    ranges.sort(([a], [b]) => a - b)
    expect(ranges[0]?.[0]).to.be.at.least(first)
    expect(ranges.at(-1)?.[1]).to.be.at.most(last)
    ranges.slice(1).forEach(([begin], index) => {
      expect(begin).to.be.above(ranges[index]?.[1] ?? 0)
    })
    for (const { Properties } of subnets) expect(Properties.MapPublicIpOnLaunch).to.equal(false)
  })

  it('has room for a load balancer also in the smallest block that it accepts', () => {
    const small = synthesise(variation({ vpc: { ...own, cidr: '10.0.0.0/19' } }))
    for (const { CidrBlock } of properties(small.templates.network, 'AWS::EC2::Subnet')) {
      expect(Number(CidrBlock.split('/')[1])).to.be.at.most(27)
    }
  })

  it('lets tasks out by the NAT gateway of their zone, and data nowhere', () => {
    expect(waysOut(fargate)).to.deep.equal({
      'public a': 'the internet',
      'public b': 'the internet',
      'services a': 'NAT in public a',
      'services b': 'NAT in public b',
      'data a': 'nowhere',
      'data b': 'nowhere',
    })
  })

  it('in dev may have one NAT gateway for both zones', () => {
    const { 'services a': a, 'services b': b, 'data b': data } = waysOut(inDev)
    expect([a, b, data]).to.deep.equal(['NAT in public a', 'NAT in public a', 'nowhere'])
  })

  it('has no NAT gateway where AWS is reached by endpoints, which are where the tasks are', () => {
    const ways = waysOut(endpoints)
    expect([ways['services a'], ways['data a']]).to.deep.equal(['nowhere', 'nowhere'])
    const { network } = endpoints.templates
    expect(ofType(network, 'AWS::EC2::NatGateway')).to.deep.equal([])
    for (const endpoint of properties(network, 'AWS::EC2::VPCEndpoint')) {
      if (endpoint.VpcEndpointType === 'Gateway') {
        expect(tablesOf(endpoints, endpoint)).to.deep.equal(['services a', 'services b'])
      } else {
        const places = placesOf(endpoints, 'network', endpoint.SubnetIds)
        expect(places).to.deep.equal(['services a', 'services b'])
      }
    }
  })

  it('lets tasks reach S3 without paying a NAT gateway for it', () => {
    const { network } = fargate.templates
    const gateway = only(network, 'AWS::EC2::VPCEndpoint', { VpcEndpointType: 'Gateway' })
    expect(JSON.stringify(gateway.ServiceName)).to.match(/\.s3"/)
    expect(tablesOf(fargate, gateway)).to.deep.equal(['services a', 'services b'])
  })

  /** Of which subnets the tables are that an endpoint changes. */
  function tablesOf(synthesis: Synthesis, endpoint: Resource['Properties']): readonly string[] {
    const { network } = synthesis.templates
    const tables = endpoint.RouteTableIds.map(({ Ref }: { Ref: string }) => Ref)
    return properties(network, 'AWS::EC2::SubnetRouteTableAssociation')
      .filter(({ RouteTableId }) => tables.includes(RouteTableId.Ref))
      .flatMap(({ SubnetId }) => placesOf(synthesis, 'network', [SubnetId]))
  }

  it('has the load balancer in its public subnets, tasks and machines in theirs, data in theirs', () => {
    const { data, platform, services } = ec2.templates
    const zones = (tier: string) => [`${tier} a`, `${tier} b`]
    const { Subnets } = only(platform, 'AWS::ElasticLoadBalancingV2::LoadBalancer')
    expect(placesOf(ec2, 'platform', Subnets)).to.deep.equal(zones('public'))
    const { VPCZoneIdentifier } = only(platform, 'AWS::AutoScaling::AutoScalingGroup')
    expect(placesOf(ec2, 'platform', VPCZoneIdentifier)).to.deep.equal(zones('services'))
    const reporter = only(services, 'AWS::Lambda::Function', {
      FunctionName: 'task-mgmt-photo-uploaded',
    })
    const tasks = [
      only(services, 'Custom::Migration').subnets,
      reporter.VpcConfig.SubnetIds,
      ...properties(services, 'AWS::ECS::Service').map(
        ({ NetworkConfiguration }) => NetworkConfiguration.AwsvpcConfiguration.Subnets,
      ),
    ]
    for (const ids of tasks) {
      expect(placesOf(ec2, 'services', ids)).to.deep.equal(zones('services'))
    }
    const { SubnetIds } = only(data, 'AWS::RDS::DBSubnetGroup')
    expect(placesOf(ec2, 'data', SubnetIds)).to.deep.equal(zones('data'))
    const redis = only(platform, 'AWS::ElastiCache::SubnetGroup').SubnetIds
    expect(placesOf(ec2, 'platform', redis)).to.deep.equal(zones('data'))
    const files = properties(data, 'AWS::EFS::MountTarget').map(({ SubnetId }) => SubnetId)
    expect(placesOf(ec2, 'data', files)).to.deep.equal(zones('data'))
  })

  it('lets exactly those reach each other that can in an existing one', () => {
    const existing = synthesise(VARIANTS.fargate).templates.network
    expect(reachability(fargate.templates.network)).to.deep.equal(reachability(existing))
    const byEndpoints = synthesise(
      variation({ egress: { ...ENDPOINTS, existing: {}, s3GatewayExists: false } }),
    ).templates.network
    expect(reachability(endpoints.templates.network)).to.deep.equal(reachability(byEndpoints))
  })

  it('logs every connection, also those that were refused', () => {
    for (const [synthesis, days] of [
      [fargate, 90],
      [inDev, 30],
    ] as const) {
      const { network } = synthesis.templates
      const { ResourceType, TrafficType, ...flows } = only(network, 'AWS::EC2::FlowLog')
      expect([ResourceType, TrafficType]).to.deep.equal(['VPC', 'ALL'])
      const logs = follow(synthesis, 'network', flows.LogGroupName)?.resource.Properties
      expect(logs).to.include({ LogGroupName: '/aws/vpc/task-management', RetentionInDays: days })
    }
  })

  it('closes its default group', () => {
    const closing = only(fargate.templates.network, 'Custom::VpcRestrictDefaultSG')
    const [vpc, attribute] = closing.DefaultSecurityGroupId['Fn::GetAtt']
    expect(attribute).to.equal('DefaultSecurityGroup')
    expect(fargate.templates.network.Resources[vpc]?.Type).to.equal('AWS::EC2::VPC')
  })

  it('asks the account for nothing, and no stack needs one that needs it', () => {
    for (const { missing, after } of [fargate, ec2, inDev, endpoints]) {
      expect(missing).to.deep.equal([])
      expect(cycle(after)).to.deep.equal([])
    }
  })

  for (const [what, vpc, sentence, egress] of [
    [
      'too small',
      { cidr: '10.0.0.0/20' },
      'prod: vpc.cidr must be a block from /16 to /19, for its smallest subnets are /27.',
    ],
    [
      'in another region',
      { zones: ['eu-west-1a', 'eu-west-1b'] },
      'prod: vpc.zones must be zones of us-east-1.',
    ],
    [
      'in one zone',
      { zones: ['us-east-1a', 'us-east-1a'] },
      'prod: vpc.zones must be two different zones.',
    ],
    [
      'in three zones',
      { zones: ['us-east-1a', 'us-east-1b', 'us-east-1c'] },
      'prod: vpc.zones must name two zones.',
    ],
    [
      'with one NAT gateway in prod',
      { natGateways: 1 },
      'prod: vpc.natGateways must be 2: only dev may lose its way out with one zone.',
    ],
    [
      'with NAT gateways that nobody would use',
      { natGateways: 2 },
      'prod: vpc.natGateways must be left out: egress goes via endpoints.',
      ENDPOINTS,
    ],
    [
      'with endpoints that it cannot have yet',
      {},
      'prod: egress must name no existing endpoints: a VPC of ours begins without any.',
      { ...ENDPOINTS, existing: { logs: 'sg-0aaaaaaaaaaaaaaaa' } },
    ],
  ] as const) {
    it(`${what} is refused`, () => {
      const input = {
        vpc: { ...own, ...vpc },
        egress: egress ?? { via: 'nat' },
      } as unknown as Parameters<typeof variation>[0]
      expect(() => variation(input)).to.throw(ConfigError, sentence)
    })
  }
})
