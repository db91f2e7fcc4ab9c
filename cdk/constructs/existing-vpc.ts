import { type ISubnet, type IVpc, type SubnetSelection, Vpc } from 'aws-cdk-lib/aws-ec2'
import type { Construct } from 'constructs'
import type { Environment } from '../config/schema.ts'

/** The VPC that is there: by what the configuration says of it, or by asking the account. */
export function existingVpc(scope: Construct, vpc: Environment['vpc']): IVpc {
  if (vpc.by === 'lookup') return Vpc.fromLookup(scope, 'Vpc', { vpcId: vpc.id })
  const { publicSubnets, privateSubnets } = vpc
  return Vpc.fromVpcAttributes(scope, 'Vpc', {
    vpcId: vpc.id,
    vpcCidrBlock: vpc.cidr,
    availabilityZones: privateSubnets.map(({ zone }) => zone),
    publicSubnetIds: publicSubnets.map(({ id }) => id),
    publicSubnetRouteTableIds: publicSubnets.map(({ routeTableId }) => routeTableId),
    privateSubnetIds: privateSubnets.map(({ id }) => id),
    privateSubnetRouteTableIds: privateSubnets.map(({ routeTableId }) => routeTableId),
  })
}

/** Where tasks, nodes and the database live. Without a NAT gateway a lookup calls them isolated. */
export function privateSubnets(vpc: IVpc): SubnetSelection & { readonly subnets: ISubnet[] } {
  const subnets = vpc.privateSubnets.length > 0 ? vpc.privateSubnets : vpc.isolatedSubnets
  return { subnets }
}
