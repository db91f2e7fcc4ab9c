import {
  FlowLogDestination,
  IpAddresses,
  type ISubnet,
  type IVpc,
  SubnetType,
  Vpc,
} from 'aws-cdk-lib/aws-ec2'
import { Construct } from 'constructs'
import { natGatewaysOf, zonesOf } from '../config/own-vpc.ts'
import type { Environment, OwnVpcConfig } from '../config/schema.ts'
import { FLOW_LOGS } from '../names.ts'
import { logGroup } from './log-group.ts'

/** How much smaller than the whole each subnet is: tasks need addresses, one each; the others need few. */
const BITS = { public: 8, services: 4, data: 8 } as const

/**
 * A VPC of ours: in each of two zones a public subnet for the load balancer, a private one for tasks, and
 * one for data, from which no way leads out.
 */
export class OwnVpc extends Construct {
  /** As an existing one is seen: nothing can be added to it, and so no other stack can try. */
  readonly vpc: IVpc

  constructor(scope: Construct, id: string, environment: Environment, config: OwnVpcConfig) {
    super(scope, id)
    const made = this.#make(environment, config)
    this.#flowLogs(made, environment)
    this.vpc = this.#asExisting(made, environment, config)
  }

  #make({ egress, region }: Environment, config: OwnVpcConfig): Vpc {
    const { cidr } = config
    const size = Number(cidr.split('/')[1])
    const natGateways = natGatewaysOf(config, egress)
    return new Vpc(this, 'Vpc', {
      ipAddresses: IpAddresses.cidr(cidr),
      availabilityZones: [...zonesOf(config, region)],
      natGateways,
      subnetConfiguration: [
        {
          name: 'public',
          subnetType: SubnetType.PUBLIC,
          cidrMask: size + BITS.public,
          mapPublicIpOnLaunch: false,
        },
        {
          name: 'services',
          subnetType:
            natGateways === 0 ? SubnetType.PRIVATE_ISOLATED : SubnetType.PRIVATE_WITH_EGRESS,
          cidrMask: size + BITS.services,
        },
        { name: 'data', subnetType: SubnetType.PRIVATE_ISOLATED, cidrMask: size + BITS.data },
      ],
      // Nobody uses it, and what is put into it by mistake should reach nothing.
      restrictDefaultSecurityGroup: true,
    })
  }

  /** Of everything, also of what was refused. Our key comes later, so they are under CloudWatch's. */
  #flowLogs(vpc: Vpc, environment: Environment): void {
    const logs = logGroup(this, 'FlowLogs', FLOW_LOGS, { environment })
    vpc.addFlowLog('Flows', { destination: FlowLogDestination.toCloudWatchLogs(logs) })
  }

  #asExisting(made: Vpc, { region }: Environment, config: OwnVpcConfig): IVpc {
    const tier = (subnetGroupName: string) => made.selectSubnets({ subnetGroupName }).subnets
    const [publicOnes, services, data] = ['public', 'services', 'data'].map(tier) as Tiers
    return Vpc.fromVpcAttributes(this, 'View', {
      vpcId: made.vpcId,
      vpcCidrBlock: config.cidr,
      availabilityZones: [...zonesOf(config, region)],
      publicSubnetIds: idsOf(publicOnes),
      publicSubnetRouteTableIds: routesOf(publicOnes),
      privateSubnetIds: idsOf(services),
      privateSubnetRouteTableIds: routesOf(services),
      isolatedSubnetIds: idsOf(data),
      isolatedSubnetRouteTableIds: routesOf(data),
    })
  }
}

type Tiers = [ISubnet[], ISubnet[], ISubnet[]]

const idsOf = (subnets: readonly ISubnet[]) => subnets.map(({ subnetId }) => subnetId)
const routesOf = (subnets: readonly ISubnet[]) =>
  subnets.map(({ routeTable }) => routeTable.routeTableId)
