import {
  GatewayVpcEndpointAwsService,
  InterfaceVpcEndpointAwsService,
  type ISecurityGroup,
  type IVpc,
} from 'aws-cdk-lib/aws-ec2'
import { Construct } from 'constructs'
import { privateSubnets } from './existing-vpc.ts'

export type VpcEndpointsProps = {
  readonly vpc: IVpc
  /** Who may use them is written in this group, with all other rules. */
  readonly securityGroup: ISecurityGroup
}

/** What a task needs of AWS when no NAT gateway leads out: images, secrets, logs and ECS itself. */
export class VpcEndpoints extends Construct {
  constructor(scope: Construct, id: string, { vpc, securityGroup }: VpcEndpointsProps) {
    super(scope, id)
    for (const [name, service] of Object.entries(SERVICES)) {
      vpc.addInterfaceEndpoint(`${id}${name}`, {
        service,
        subnets: privateSubnets(vpc),
        securityGroups: [securityGroup],
        privateDnsEnabled: true,
        open: false,
      })
    }
    vpc.addGatewayEndpoint(`${id}S3`, {
      service: GatewayVpcEndpointAwsService.S3,
      subnets: [privateSubnets(vpc)],
    })
  }
}

const SERVICES = {
  EcrApi: InterfaceVpcEndpointAwsService.ECR,
  EcrDocker: InterfaceVpcEndpointAwsService.ECR_DOCKER,
  SecretsManager: InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
  Logs: InterfaceVpcEndpointAwsService.CLOUDWATCH_LOGS,
  Ecs: InterfaceVpcEndpointAwsService.ECS,
  EcsAgent: InterfaceVpcEndpointAwsService.ECS_AGENT,
  EcsTelemetry: InterfaceVpcEndpointAwsService.ECS_TELEMETRY,
} as const
