import { ContextProvider } from 'aws-cdk-lib'
import { type ISubnet, type IVpc, type SubnetSelection, Vpc } from 'aws-cdk-lib/aws-ec2'
import { ContextProvider as Provider } from 'aws-cdk-lib/cloud-assembly-schema'
import type { Construct } from 'constructs'
import { ConfigError } from '../config/parse.ts'
import type { Environment, ExistingVpcConfig } from '../config/schema.ts'
import {
  chooseSubnets,
  type FoundSubnet,
  type SubnetKind,
  type Subnets,
} from '../config/subnets.ts'

/** The existing VPC, with one public and one private subnet per zone. */
export function existingVpc(
  scope: Construct,
  environment: Environment,
  vpc: ExistingVpcConfig,
): IVpc {
  if (vpc.by === 'attributes') return vpcOf(scope, { ...vpc, vpcId: vpc.id })
  const found = Vpc.fromLookup(scope, 'Lookup', { vpcId: vpc.id })
  // A placeholder, until the CLI has queried the account and synthesises again.
  const answered = found.vpcId === vpc.id
  requireDns(scope, environment, vpc)
  return answered
    ? vpcOf(scope, { vpcId: vpc.id, cidr: found.vpcCidrBlock, ...chosen(found, environment, vpc) })
    : found
}

type Known = Subnets & { readonly vpcId: string; readonly cidr: string }

const vpcOf = (scope: Construct, { vpcId, cidr, publicSubnets, privateSubnets }: Known): IVpc =>
  Vpc.fromVpcAttributes(scope, 'Vpc', {
    vpcId,
    vpcCidrBlock: cidr,
    availabilityZones: privateSubnets.map(({ zone }) => zone),
    publicSubnetIds: publicSubnets.map(({ id }) => id),
    publicSubnetRouteTableIds: publicSubnets.map(({ routeTableId }) => routeTableId),
    privateSubnetIds: privateSubnets.map(({ id }) => id),
    privateSubnetRouteTableIds: privateSubnets.map(({ routeTableId }) => routeTableId),
  })

/** Chosen from all subnets of the VPC: a load balancer and an endpoint accept only one per zone. */
function chosen(
  found: IVpc,
  { name, egress, region }: Environment,
  vpc: ExistingVpcConfig,
): Subnets {
  const ofKind =
    (kind: SubnetKind) =>
    ({ subnetId, availabilityZone, routeTable, ipv4CidrBlock }: ISubnet): FoundSubnet => {
      const { routeTableId } = routeTable
      return { id: subnetId, zone: availabilityZone, routeTableId, cidr: ipv4CidrBlock, kind }
    }
  const all = [
    ...found.publicSubnets.map(ofKind('public')),
    ...found.privateSubnets.map(ofKind('with a NAT gateway')),
    ...found.isolatedSubnets.map(ofKind('isolated')),
  ]
  const privateKinds: readonly SubnetKind[] =
    egress.via === 'nat' ? ['with a NAT gateway'] : ['with a NAT gateway', 'isolated']
  try {
    return chooseSubnets(all, { ...vpc, privateKinds }, region)
  } catch (error) {
    throw new ConfigError(`${name}: ${(error as Error).message}.`)
  }
}

const DNS = ['EnableDnsSupport', 'EnableDnsHostnames'] as const

/** Services find each other, and endpoints and the database, by names that resolve only inside the VPC. */
function requireDns(scope: Construct, { name }: Environment, vpc: ExistingVpcConfig): void {
  const { value } = ContextProvider.getValue(scope, {
    provider: Provider.CC_API_PROVIDER,
    props: { typeName: 'AWS::EC2::VPC', exactIdentifier: vpc.id, propertiesToReturn: [...DNS] },
    dummyValue: [Object.fromEntries(DNS.map((attribute) => [attribute, true]))],
  })
  const [attributes = {}] = value as readonly Readonly<Record<string, unknown>>[]
  const off = DNS.filter((attribute) => attributes[attribute] !== true)
  if (off.length > 0) throw new ConfigError(`${name}: vpc must have ${off.join(' and ')} on.`)
}

type Chosen = SubnetSelection & { readonly subnets: ISubnet[] }

/** The subnets of tasks and nodes. */
export const privateSubnets = (vpc: IVpc): Chosen => ({ subnets: vpc.privateSubnets })

/** Those of the database and of what else keeps data: only a VPC of ours has some for them alone. */
export const dataSubnets = (vpc: IVpc): Chosen => ({
  subnets: vpc.isolatedSubnets.length > 0 ? vpc.isolatedSubnets : vpc.privateSubnets,
})
