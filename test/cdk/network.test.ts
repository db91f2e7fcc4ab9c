import { expect } from 'chai'
import { VARIANTS, variation } from './support/environments.ts'
import { party, reachability } from './support/reachability.ts'
import { follow, nameOf } from './support/references.ts'
import { ofType, only, properties, type Synthesis, synthesise } from './support/synthesis.ts'

const BETWEEN_PARTIES = [
  'alb -> auth:3000',
  'alb -> task:3000',
  'auth -> rds:5432',
  'auth -> redis:6379',
  'internet -> alb:443',
  'internet -> alb:80',
  'migration -> rds:5432',
  'photo-events -> task:3000',
  'task -> auth:3000',
  'task -> rds:5432',
  'task -> redis:6379',
  'witness -> witness-store:2049',
  'worker -> rds:5432',
  'worker -> witness:3000',
]

const ENDPOINTS = {
  via: 'endpoints',
  s3PrefixListId: 'pl-63a5400a',
  existing: {},
  s3GatewayExists: false,
} as const

const last = (ids: readonly string[]) => ids.map((id) => id.slice(-1))
const REPORTER = 'task-mgmt-photo-uploaded'

const groupsOf = (synthesis: Synthesis, stack: 'data' | 'platform' | 'services', values: []) =>
  values.map((value) => party(nameOf(follow(synthesis, stack, value))))

describe('The network', () => {
  let fargate: Synthesis
  let ec2: Synthesis
  let endpoints: Synthesis

  before(() => {
    fargate = synthesise(variation({}))
    ec2 = synthesise(VARIANTS.ec2)
    endpoints = synthesise({ ...VARIANTS.ec2, egress: ENDPOINTS })
  })

  it('lets exactly the allowed pairs reach each other', () => {
    const out = ['auth', 'migration', 'photo-events', 'task', 'witness', 'worker'].map(
      (party) => `${party} -> internet:443`,
    )
    expect(reachability(fargate.templates.network).pairs).to.have.members([
      ...BETWEEN_PARTIES,
      ...out,
    ])
  })

  it('lets our own machines reach AWS and be reached by nobody', () => {
    expect(reachability(ec2.templates.network).pairs).to.have.members([
      ...BETWEEN_PARTIES,
      'auth -> internet:443',
      'migration -> internet:443',
      'nodes -> internet:443',
      'photo-events -> internet:443',
      'task -> internet:443',
      'witness -> internet:443',
      'worker -> internet:443',
    ])
  })

  it('lets nobody reach the worker', () => {
    for (const { templates } of [fargate, ec2, endpoints]) {
      const { pairs } = reachability(templates.network)
      expect(pairs.filter((pair) => pair.includes('-> worker'))).to.deep.equal([])
    }
  })

  it('lets nobody but the worker reach the witness, and nobody but the witness what it keeps', () => {
    for (const { templates } of [fargate, ec2, endpoints]) {
      const { pairs } = reachability(templates.network)
      expect(pairs.filter((pair) => pair.includes('-> witness'))).to.have.members([
        'worker -> witness:3000',
        'witness -> witness-store:2049',
      ])
    }
  })

  it('opens no way to the internet where AWS is reached by endpoints', () => {
    const out = ['auth', 'migration', 'nodes', 'photo-events', 'task', 'witness', 'worker'].flatMap(
      (group) => [`${group} -> endpoints:443`, `${group} -> pl-63a5400a:443`],
    )
    expect(reachability(endpoints.templates.network).pairs).to.have.members([
      ...BETWEEN_PARTIES,
      ...out,
    ])
  })

  it('has an endpoint for everything that a task needs of AWS', () => {
    const { network } = endpoints.templates
    const names = properties(network, 'AWS::EC2::VPCEndpoint').map(({ ServiceName }) =>
      typeof ServiceName === 'string' ? ServiceName : 'com.amazonaws.us-east-1.s3',
    )
    const services = ['ecr.api', 'ecr.dkr', 'ecs', 'ecs-agent', 'ecs-telemetry', 'logs', 's3']
    const expected = [...services, 'secretsmanager'].map(
      (name) => `com.amazonaws.us-east-1.${name}`,
    )
    expect(names).to.have.members(expected)
    const { RouteTableIds } = only(network, 'AWS::EC2::VPCEndpoint', { VpcEndpointType: 'Gateway' })
    expect(RouteTableIds).to.have.members(['rtb-0c000000000000003', 'rtb-0c000000000000004'])
  })

  it('creates no endpoint that the VPC already has, and lets tasks reach the existing ones', () => {
    const [shared, own] = ['sg-0aaaaaaaaaaaaaaaa', 'sg-0bbbbbbbbbbbbbbbb']
    const existing = { logs: shared, 'ecr.api': shared, secretsmanager: own }
    const egress = { ...ENDPOINTS, existing, s3GatewayExists: true }
    const { network } = synthesise(variation({ egress })).templates
    const made = properties(network, 'AWS::EC2::VPCEndpoint').map(({ ServiceName }) => ServiceName)
    expect(made).to.have.members(
      ['ecr.dkr', 'ecs', 'ecs-agent', 'ecs-telemetry'].map(
        (name) => `com.amazonaws.us-east-1.${name}`,
      ),
    )
    const { pairs, halfOpen } = reachability(network)
    expect(halfOpen).to.deep.equal([])
    for (const user of ['auth', 'task', 'worker', 'witness', 'migration', 'photo-events']) {
      expect(pairs).to.include.members([`${user} -> ${shared}:443`, `${user} -> ${own}:443`])
    }
  })

  it('opens both ends of every rule', () => {
    for (const { templates } of [fargate, ec2, endpoints]) {
      expect(reachability(templates.network).halfOpen).to.deep.equal([])
    }
  })

  it('keeps every security group and every rule in the network stack', () => {
    for (const { templates } of [fargate, ec2, endpoints]) {
      const { network, ...others } = templates
      expect(ofType(network, 'AWS::EC2::SecurityGroup')).to.have.length.above(4)
      for (const template of Object.values(others)) {
        const found = Object.values(template.Resources).filter(({ Type }) =>
          Type.startsWith('AWS::EC2::SecurityGroup'),
        )
        expect(found).to.deep.equal([])
      }
    }
  })

  it('puts each party behind its own group', () => {
    const { data, platform, services } = ec2.templates
    const { VPCSecurityGroups } = only(data, 'AWS::RDS::DBInstance')
    expect(groupsOf(ec2, 'data', VPCSecurityGroups)).to.deep.equal(['rds'])
    const { SecurityGroups } = only(platform, 'AWS::ElasticLoadBalancingV2::LoadBalancer')
    expect(groupsOf(ec2, 'platform', SecurityGroups)).to.deep.equal(['alb'])
    const { LaunchTemplateData } = only(platform, 'AWS::EC2::LaunchTemplate')
    const [network] = LaunchTemplateData.NetworkInterfaces
    expect(groupsOf(ec2, 'platform', network.Groups)).to.deep.equal(['nodes'])
    for (const { ServiceName, NetworkConfiguration } of properties(services, 'AWS::ECS::Service')) {
      const { SecurityGroups: groups } = NetworkConfiguration.AwsvpcConfiguration
      const name = ServiceName.replace('-service', '')
      expect(groupsOf(ec2, 'services', groups)).to.deep.equal([name])
    }
    const { VpcConfig } = only(services, 'AWS::Lambda::Function', { FunctionName: REPORTER })
    expect(groupsOf(ec2, 'services', VpcConfig.SecurityGroupIds)).to.deep.equal(['photo-events'])
    const { SecurityGroupIds } = only(platform, 'AWS::ElastiCache::ReplicationGroup')
    expect(groupsOf(ec2, 'platform', SecurityGroupIds)).to.deep.equal(['redis'])
    const { securityGroup } = only(services, 'Custom::Migration')
    expect(groupsOf(ec2, 'services', [securityGroup] as never)).to.deep.equal(['migration'])
  })

  it('uses the public subnets for the load balancer and the private ones for everything else', () => {
    const { data, platform, services } = ec2.templates
    const { Subnets, Scheme } = only(platform, 'AWS::ElasticLoadBalancingV2::LoadBalancer')
    expect(Scheme).to.equal('internet-facing')
    expect(last(Subnets)).to.deep.equal(['1', '2'])
    const { VPCZoneIdentifier } = only(platform, 'AWS::AutoScaling::AutoScalingGroup')
    const { SubnetIds } = only(data, 'AWS::RDS::DBSubnetGroup')
    const { subnets } = only(services, 'Custom::Migration')
    const tasks = properties(services, 'AWS::ECS::Service').map(
      ({ NetworkConfiguration }) => NetworkConfiguration.AwsvpcConfiguration,
    )
    const { VpcConfig } = only(services, 'AWS::Lambda::Function', { FunctionName: REPORTER })
    expect(last(VpcConfig.SubnetIds)).to.deep.equal(['3', '4'])
    expect(last(only(platform, 'AWS::ElastiCache::SubnetGroup').SubnetIds)).to.deep.equal([
      '3',
      '4',
    ])
    for (const ids of [VPCZoneIdentifier, SubnetIds, subnets, ...tasks.map((one) => one.Subnets)]) {
      expect(last(ids)).to.deep.equal(['3', '4'])
    }
    expect(tasks.map(({ AssignPublicIp }) => AssignPublicIp)).to.deep.equal(
      Array(4).fill('DISABLED'),
    )
  })

  it('leads to S3 past the NAT gateway where the environment asks for it', () => {
    const { network } = synthesise(variation({ egress: { via: 'nat', s3Gateway: true } })).templates
    const gateway = only(network, 'AWS::EC2::VPCEndpoint')
    expect(gateway.VpcEndpointType).to.equal('Gateway')
    expect(JSON.stringify(gateway.ServiceName)).to.match(/\.s3"/)
    expect(last(gateway.RouteTableIds)).to.deep.equal(['3', '4'])
  })

  it('uses the existing VPC and creates no network of its own', () => {
    const types = Object.values(fargate.templates.network.Resources).map(({ Type }) => Type)
    expect(new Set(types)).to.deep.equal(
      new Set([
        'AWS::EC2::SecurityGroup',
        'AWS::EC2::SecurityGroupEgress',
        'AWS::EC2::SecurityGroupIngress',
      ]),
    )
    const vpcs = properties(fargate.templates.network, 'AWS::EC2::SecurityGroup')
    expect(new Set(vpcs.map(({ VpcId }) => VpcId))).to.deep.equal(
      new Set(['vpc-0c000000000000001']),
    )
  })
})
