import {
  AutoScalingGroup,
  OnDemandAllocationStrategy,
  UpdatePolicy,
} from 'aws-cdk-lib/aws-autoscaling'
import {
  BlockDeviceVolume,
  EbsDeviceVolumeType,
  InstanceType,
  type ISecurityGroup,
  type IVpc,
  LaunchTemplate,
  UserData,
} from 'aws-cdk-lib/aws-ec2'
import { AsgCapacityProvider, EcsOptimizedImage, MachineImageType } from 'aws-cdk-lib/aws-ecs'
import { Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam'
import { Construct } from 'constructs'
import type { Environment } from '../config/schema.ts'
import { NODES } from '../names.ts'
import { privateSubnets } from './existing-vpc.ts'

export type NodesProps = {
  readonly vpc: IVpc
  readonly securityGroup: ISecurityGroup
  readonly config: NonNullable<Environment['nodes']>
}

/** Machines for the launch type ec2, as many as their tasks need. */
export class Nodes extends Construct {
  readonly capacityProvider: AsgCapacityProvider

  constructor(scope: Construct, id: string, props: NodesProps) {
    super(scope, id)
    const { vpc, config } = props
    const launchTemplate = this.#template(props.securityGroup)
    this.capacityProvider = new AsgCapacityProvider(this, 'Provider', {
      capacityProviderName: NODES,
      machineImageType: MachineImageType.AMAZON_LINUX_2,
      autoScalingGroup: new AutoScalingGroup(this, 'Group', {
        vpc,
        vpcSubnets: privateSubnets(vpc),
        minCapacity: config.min,
        maxCapacity: config.max,
        mixedInstancesPolicy: {
          launchTemplate,
          launchTemplateOverrides: config.instanceTypes.map((type) => ({
            instanceType: new InstanceType(type),
          })),
          instancesDistribution: {
            onDemandPercentageAboveBaseCapacity: 100,
            onDemandAllocationStrategy: OnDemandAllocationStrategy.LOWEST_PRICE,
          },
        },
        updatePolicy: UpdatePolicy.rollingUpdate({ minInstancesInService: config.min }),
      }),
      // ECS drains a machine before it stops; protection would only keep the stack from being deleted.
      enableManagedTerminationProtection: false,
      enableManagedDraining: true,
    })
  }

  #template(securityGroup: ISecurityGroup): LaunchTemplate {
    const userData = UserData.forLinux()
    // Otherwise a task could take the machine's role and its rights.
    userData.addCommands('echo ECS_AWSVPC_BLOCK_IMDS=true >> /etc/ecs/ecs.config')
    return new LaunchTemplate(this, 'Template', {
      machineImage: EcsOptimizedImage.amazonLinux2023(),
      securityGroup,
      role: new Role(this, 'Role', { assumedBy: new ServicePrincipal('ec2.amazonaws.com') }),
      userData,
      requireImdsv2: true,
      httpPutResponseHopLimit: 1,
      detailedMonitoring: true,
      associatePublicIpAddress: false,
      blockDevices: [
        {
          deviceName: '/dev/xvda',
          volume: BlockDeviceVolume.ebs(30, {
            volumeType: EbsDeviceVolumeType.GP3,
            encrypted: true,
            deleteOnTermination: true,
          }),
        },
      ],
    })
  }
}
