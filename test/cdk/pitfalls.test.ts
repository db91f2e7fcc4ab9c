import { expect } from 'chai'
import { dev } from '../../cdk/config/dev.ts'
import { parseEnvironment } from '../../cdk/config/parse.ts'
import { prod } from '../../cdk/config/prod.ts'
import { staging } from '../../cdk/config/staging.ts'
import { VARIANTS } from './support/environments.ts'
import { allows, statements } from './support/policies.ts'
import { reachability } from './support/reachability.ts'
import { cycle, referencesOf } from './support/references.ts'
import {
  ofType,
  only,
  properties,
  STACKS,
  type Synthesis,
  synthesise,
} from './support/synthesis.ts'

// Each was reproduced once; the numbers are those of the design note on AWS. Where a pitfall has a
// test of its own elsewhere in this folder, this one looks at it from another side.
describe('Pitfall', () => {
  let everything: readonly Synthesis[]
  let fargate: Synthesis
  let ec2: Synthesis

  before(() => {
    fargate = synthesise(VARIANTS.fargate)
    ec2 = synthesise(VARIANTS.ec2)
    everything = [fargate, ec2]
  })

  it('1: no VPC is looked up, and the ids that stand in for one look real', () => {
    for (const input of [dev, staging, prod]) {
      const { vpc } = parseEnvironment(input)
      expect(vpc.by).to.equal('attributes')
    }
    for (const { missing } of everything) expect(missing).to.deep.equal([])
  })

  it('2: scaling is strict at both ends, with a time of its own for each', () => {
    for (const { templates } of everything) {
      const alarms = properties(templates.services, 'AWS::CloudWatch::Alarm')
      const scaling = alarms.filter(({ AlarmName }) => /-scale-(in|out)$/.test(AlarmName))
      const found = scaling.map(({ ComparisonOperator, Threshold, EvaluationPeriods, Period }) => {
        return `${ComparisonOperator} ${Threshold} for ${EvaluationPeriods} x ${Period}`
      })
      expect(found).to.deep.equal([
        'GreaterThanThreshold 70 for 1 x 60',
        'LessThanThreshold 30 for 5 x 60',
        'GreaterThanThreshold 70 for 1 x 60',
        'LessThanThreshold 30 for 5 x 60',
      ])
    }
  })

  it('3: no function rotates a password by a way of its own to the database', () => {
    for (const { templates } of everything) {
      const types = STACKS.flatMap((stack) =>
        Object.values(templates[stack].Resources).map(({ Type }) => Type),
      )
      expect(types).to.not.include('AWS::SecretsManager::RotationSchedule')
      expect(types).to.not.include('AWS::Serverless::Application')
      const clients = reachability(templates.network).pairs.filter((pair) => /rds:5432$/.test(pair))
      expect(clients).to.have.length(4)
    }
  })

  it('4: a role that reads a secret under our key may decrypt it', () => {
    for (const synthesis of everything) {
      const all = statements(synthesis)
      const rolesThat = (action: string) =>
        new Set(all.filter((one) => allows(one, action)).map(({ role }) => role))
      const readers = rolesThat('secretsmanager:GetSecretValue')
      expect(readers.size).to.equal(7)
      expect(rolesThat('kms:Decrypt')).to.deep.equal(readers)
    }
  })

  it('5: no stack needs one that needs it, and nothing is added to another stack', () => {
    for (const { after, templates } of everything) {
      expect(cycle(after)).to.deep.equal([])
      const { Statement } = only(templates.data, 'AWS::KMS::Key').KeyPolicy
      expect(JSON.stringify(Statement)).to.not.include('-execution')
      const { network, ...others } = templates
      expect(JSON.stringify(others)).to.not.match(/AWS::EC2::SecurityGroup(In|E)gress/)
      for (const { FromPort } of properties(network, 'AWS::EC2::SecurityGroupIngress')) {
        expect(FromPort).to.be.a('number')
      }
    }
  })

  it('6: whoever may come in may also go out there', () => {
    for (const { templates } of everything) {
      expect(reachability(templates.network).halfOpen).to.deep.equal([])
      expect(reachability(templates.network).pairs).to.include('task -> rds:5432')
    }
  })

  it('7: machines that run tasks can reach ECS', () => {
    expect(reachability(ec2.templates.network).pairs).to.include('nodes -> internet:443')
  })

  it('8: the capacity that a service uses is there before it, in an earlier stack', () => {
    for (const { templates, after } of everything) {
      const association = only(templates.platform, 'AWS::ECS::ClusterCapacityProviderAssociations')
      const own = ofType(templates.platform, 'AWS::ECS::CapacityProvider')
      for (const service of properties(templates.services, 'AWS::ECS::Service')) {
        for (const { CapacityProvider } of service.CapacityProviderStrategy) {
          const known = own.map(([id, { Properties }]) => [Properties.Name, { Ref: id }] as const)
          const wanted = new Map<string, unknown>(known).get(CapacityProvider) ?? CapacityProvider
          expect(association.CapacityProviders).to.deep.include(wanted)
        }
      }
      expect(after.services).to.include('platform')
    }
  })

  it('9: deployments are rolling, because blue/green registers green tasks by name before the shift', () => {
    for (const { templates } of everything) {
      const { services } = templates
      for (const { DeploymentConfiguration } of properties(services, 'AWS::ECS::Service')) {
        expect(DeploymentConfiguration).to.not.have.property('Strategy')
        expect(DeploymentConfiguration.DeploymentCircuitBreaker.Rollback).to.equal(true)
      }
      for (const { Actions } of properties(services, LISTENER_RULE)) {
        expect(Actions[0]).to.not.have.property('ForwardConfig')
      }
    }
  })

  it('10: a service names its alarms and no alarm refers to it', () => {
    for (const { templates } of everything) {
      const services = ofType(templates.services, 'AWS::ECS::Service').filter(
        ([, { Properties }]) => Properties.DeploymentConfiguration.Alarms !== undefined,
      )
      expect(services).to.have.length(2)
      for (const [, { Properties }] of services) {
        const { AlarmNames } = Properties.DeploymentConfiguration.Alarms
        for (const name of AlarmNames) expect(name).to.be.a('string')
      }
      const ids = services.map(([id]) => id)
      for (const [, alarm] of ofType(templates.services, 'AWS::CloudWatch::Alarm')) {
        if (/-scale-(in|out)$/.test(alarm.Properties.AlarmName)) continue
        expect(referencesOf(alarm).filter((id) => ids.includes(id))).to.deep.equal([])
      }
    }
  })

  it('11: no template has a fixed task count for a service that scales', () => {
    for (const { templates } of everything) {
      const counts = properties(templates.services, 'AWS::ECS::Service').map(
        ({ ServiceName, DesiredCount }) => [ServiceName, typeof DesiredCount],
      )
      // Left out, a new service would begin with one.
      expect(counts).to.deep.equal([
        ['auth-service', 'object'],
        ['task-service', 'object'],
        ['witness', 'number'],
        ['worker', 'number'],
      ])
      const targets = properties(templates.services, 'AWS::ApplicationAutoScaling::ScalableTarget')
      expect(targets.map(({ MinCapacity }) => MinCapacity)).to.deep.equal([2, 2])
    }
    for (const group of properties(ec2.templates.platform, 'AWS::AutoScaling::AutoScalingGroup')) {
      expect(group).to.not.have.property('DesiredCapacity')
    }
  })

  it('12: storage is gp3, and insights are the enhanced ones', () => {
    for (const { templates } of everything) {
      expect(only(templates.data, 'AWS::RDS::DBInstance').StorageType).to.equal('gp3')
      const { ClusterSettings } = only(templates.platform, 'AWS::ECS::Cluster')
      expect(ClusterSettings[0].Value).to.equal('enhanced')
    }
  })

  it('13: a path with nothing behind it is routed too', () => {
    const patterns = properties(fargate.templates.services, LISTENER_RULE).flatMap(
      ({ Conditions }) => Conditions[0].PathPatternConfig.Values,
    )
    for (const path of ['/auth', '/tasks', '/audit']) {
      expect(patterns).to.include.members([path, `${path}/*`])
    }
  })

  it('14: the health check of a container is in its task definition', () => {
    for (const { templates } of everything) {
      const found = properties(templates.services, 'AWS::ECS::TaskDefinition').map(
        ({ ContainerDefinitions: [{ Name, HealthCheck }] }) => [Name, HealthCheck !== undefined],
      )
      expect(Object.fromEntries(found)).to.deep.equal({
        'auth-service': true,
        'task-service': true,
        worker: true,
        witness: true,
        migration: false,
        rebuild: false,
      })
    }
  })
})

const LISTENER_RULE = 'AWS::ElasticLoadBalancingV2::ListenerRule'

describe('The tag latest', () => {
  it('is nowhere, and every image has a semantic version', () => {
    for (const environment of [
      ...Object.values(VARIANTS),
      ...[dev, staging].map(parseEnvironment),
    ]) {
      const { templates } = synthesise(environment)
      for (const template of Object.values(templates)) {
        expect(JSON.stringify(template)).to.not.match(/:latest\b/i)
      }
      for (const { ContainerDefinitions } of properties(
        templates.services,
        'AWS::ECS::TaskDefinition',
      )) {
        for (const { Image } of ContainerDefinitions) {
          expect(Image['Fn::Join'][1].at(-1)).to.match(/^\/[a-z-]+:\d+\.\d+\.\d+$/)
        }
      }
    }
  })
})
