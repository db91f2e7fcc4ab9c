import { expect } from 'chai'
import { VARIANTS, variation } from './support/environments.ts'
import { only, properties, type Synthesis, synthesise } from './support/synthesis.ts'

type Properties = ReturnType<typeof only>
const SERVICES = ['auth-service', 'task-service'] as const

describe('Scaling', () => {
  let template: Synthesis['templates']['services']

  const alarmOf = (name: string) => only(template, 'AWS::CloudWatch::Alarm', { AlarmName: name })
  const policyOf = (alarm: Properties) => template.Resources[alarm.AlarmActions[0].Ref]?.Properties

  before(() => {
    template = synthesise(variation({})).templates.services
  })

  it('keeps each service between 2 and 10 tasks', () => {
    const targets = properties(template, 'AWS::ApplicationAutoScaling::ScalableTarget')
    const found = targets.map(({ ResourceId, MinCapacity, MaxCapacity }) => {
      return { ResourceId, MinCapacity, MaxCapacity }
    })
    expect(found).to.deep.equal(
      SERVICES.map((name) => ({
        ResourceId: `service/task-management-cluster/${name}`,
        MinCapacity: 2,
        MaxCapacity: 10,
      })),
    )
  })

  it('adds one task when the CPU is above 70 % for a minute', () => {
    for (const name of SERVICES) {
      const alarm = alarmOf(`${name}-scale-out`)
      expect(alarm).to.include({
        Namespace: 'AWS/ECS',
        MetricName: 'CPUUtilization',
        Statistic: 'Average',
        ComparisonOperator: 'GreaterThanThreshold',
        Threshold: 70,
        Period: 60,
        EvaluationPeriods: 1,
      })
      expect(policyOf(alarm).StepScalingPolicyConfiguration).to.deep.include({
        AdjustmentType: 'ChangeInCapacity',
        Cooldown: 60,
        StepAdjustments: [{ MetricIntervalLowerBound: 0, ScalingAdjustment: 1 }],
      })
    }
  })

  it('removes one task when the CPU is below 30 % for five minutes', () => {
    for (const name of SERVICES) {
      const alarm = alarmOf(`${name}-scale-in`)
      expect(alarm).to.include({
        ComparisonOperator: 'LessThanThreshold',
        Threshold: 30,
        Period: 60,
        EvaluationPeriods: 5,
        DatapointsToAlarm: 5,
      })
      expect(policyOf(alarm).StepScalingPolicyConfiguration).to.deep.include({
        AdjustmentType: 'ChangeInCapacity',
        Cooldown: 300,
        StepAdjustments: [{ MetricIntervalUpperBound: 0, ScalingAdjustment: -1 }],
      })
    }
  })

  it('acts in the role that AWS keeps for it', () => {
    for (const { RoleARN } of properties(template, 'AWS::ApplicationAutoScaling::ScalableTarget')) {
      expect(JSON.stringify(RoleARN)).to.include(
        'AWSServiceRoleForApplicationAutoScaling_ECSService',
      )
    }
  })

  it('has machines follow the tasks, drained before they go', () => {
    const { platform } = synthesise(VARIANTS.ec2).templates
    const { AutoScalingGroupProvider } = only(platform, 'AWS::ECS::CapacityProvider')
    expect(AutoScalingGroupProvider.ManagedScaling.Status).to.equal('ENABLED')
    expect(AutoScalingGroupProvider.ManagedDraining).to.equal('ENABLED')
    const { LaunchTemplateData } = only(platform, 'AWS::EC2::LaunchTemplate')
    expect(LaunchTemplateData.MetadataOptions).to.include({ HttpTokens: 'required' })
    expect(LaunchTemplateData.BlockDeviceMappings[0].Ebs).to.include({
      Encrypted: true,
      VolumeType: 'gp3',
    })
    expect(JSON.stringify(LaunchTemplateData.UserData)).to.include('ECS_AWSVPC_BLOCK_IMDS=true')
    const { MinSize, MaxSize } = only(platform, 'AWS::AutoScaling::AutoScalingGroup')
    expect([MinSize, MaxSize]).to.deep.equal(['2', '20'])
  })
})
