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
  /** Who may use them is written in this group, with all other rules. */
  readonly securityGroup: ISecurityGroup
  /** Those that the VPC has already: it takes no second one of a service. */
  readonly except: readonly EndpointName[]
  /** Whether the VPC has the gateway endpoint of S3 already. */
  readonly s3GatewayExists: boolean
}

/** What a task needs of AWS when no NAT gateway leads out, as far as it is not there. */
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
    if (s3GatewayExists) return
    vpc.addGatewayEndpoint(`${id}S3`, {
      service: GatewayVpcEndpointAwsService.S3,
      subnets: [privateSubnets(vpc)],
    })
  }
}
