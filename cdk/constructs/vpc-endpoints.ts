import {
  GatewayVpcEndpointAwsService,
  InterfaceVpcEndpointAwsService,
  type ISecurityGroup,
  type IVpc,
} from 'aws-cdk-lib/aws-ec2'
import { Construct } from 'constructs'
import { ENDPOINT_NAMES, type EndpointName } from '../names.ts'
import { privateSubnets } from './existing-vpc.ts'

export type VpcEndpointsProps = {
  readonly vpc: IVpc
  /** This group has the rules for who may use them, like all other groups. */
  readonly securityGroup: ISecurityGroup
  /** Those that the VPC already has: it can have only one per service. */
  readonly except: readonly EndpointName[]
  /** Whether the VPC already has the gateway endpoint of S3. */
  readonly s3GatewayExists: boolean
}

/** What tasks need of AWS without a NAT gateway, except for what exists already. */
export class VpcEndpoints extends Construct {
  constructor(scope: Construct, id: string, props: VpcEndpointsProps) {
    super(scope, id)
    const { vpc, securityGroup, except, s3GatewayExists } = props
    for (const name of ENDPOINT_NAMES.filter((name) => !except.includes(name))) {
      vpc.addInterfaceEndpoint(`${id}${name}`, {
        service: new InterfaceVpcEndpointAwsService(name),
        subnets: privateSubnets(vpc),
        securityGroups: [securityGroup],
        privateDnsEnabled: true,
        open: false,
      })
    }
    if (!s3GatewayExists) s3Gateway(vpc, `${id}S3`)
  }
}

/** From the tables of the private subnets to S3: free, while a NAT gateway charges for every gigabyte. */
export function s3Gateway(vpc: IVpc, id: string): void {
  vpc.addGatewayEndpoint(id, {
    service: GatewayVpcEndpointAwsService.S3,
    subnets: [privateSubnets(vpc)],
  })
}
