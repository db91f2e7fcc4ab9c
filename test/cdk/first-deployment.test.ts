import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { dev } from '../../cdk/config/dev.ts'
import { parseEnvironment } from '../../cdk/config/parse.ts'
import { prod } from '../../cdk/config/prod.ts'
import { staging } from '../../cdk/config/staging.ts'
import { VARIANTS, variation } from './support/environments.ts'
import { ofType, only, properties, type Synthesis, synthesise } from './support/synthesis.ts'

describe('A first deployment that fails', () => {
  it('leaves every log that its services wrote: their groups are of an earlier stack', () => {
    for (const environment of Object.values(VARIANTS)) {
      const { templates, after } = synthesise(environment)
      const { services, observability } = templates
      expect(after.services).to.include('observability')
      expect(ofType(services, 'AWS::Logs::LogGroup')).to.deep.equal([])

      const there = properties(observability, 'AWS::Logs::LogGroup').map((one) => one.LogGroupName)
      const written = [
        ...properties(services, 'AWS::ECS::TaskDefinition').map(
          ({ ContainerDefinitions: [{ LogConfiguration }] }) =>
            LogConfiguration.Options['awslogs-group'],
        ),
        ...properties(services, 'AWS::Lambda::Function').map((one) => one.LoggingConfig.LogGroup),
        ...properties(services, 'AWS::Logs::MetricFilter').map((one) => one.LogGroupName),
      ]
      for (const name of written) expect(there).to.include(name)
      expect(written).to.include.members(['/ecs/migration', '/aws/lambda/task-mgmt-migration'])
    }
  })

  it('leaves what ECS said of it: the rules that keep events are there before the services', () => {
    const { observability } = synthesise(VARIANTS.fargate).templates
    const kept = properties(observability, 'AWS::Events::Rule').flatMap(
      ({ EventPattern }) => EventPattern['detail-type'],
    )
    expect(kept).to.include.members(['ECS Task State Change', 'ECS Deployment State Change'])
  })

  it('can be rolled back and tried again, because nothing is protected yet', () => {
    for (const input of [dev, staging, prod]) {
      const { deletionProtection } = parseEnvironment(input)
      expect(deletionProtection, input.name).to.equal(false)
    }
    expect(protections(synthesise(variation({ deletionProtection: false })))).to.deep.equal({
      loadBalancer: 'false',
      database: false,
      stacks: [false],
    })
  })

  it('is protected by a second step, as a whole', () => {
    expect(protections(synthesise(variation({ deletionProtection: true })))).to.deep.equal({
      loadBalancer: 'true',
      database: true,
      stacks: [true],
    })
  })

  it('has a runbook for each state in which CloudFormation may leave a stack', () => {
    const runbook = readFileSync('docs/runbooks/deployment-failed.md', 'utf8')
    for (const state of [
      'CREATE_FAILED',
      'ROLLBACK_COMPLETE',
      'ROLLBACK_FAILED',
      'UPDATE_ROLLBACK_FAILED',
      'DELETE_FAILED',
    ]) {
      expect(runbook).to.include(`\`${state}\``)
    }
    expect(readFileSync('docs/deploy.md', 'utf8')).to.include(
      "npm run deploy -- 'dev/*' --no-rollback",
    )
  })
})

function protections({ templates, stage }: Synthesis) {
  const balancer = only(templates.platform, 'AWS::ElasticLoadBalancingV2::LoadBalancer')
  const { Value } = balancer.LoadBalancerAttributes.find(
    ({ Key }: { Key: string }) => Key === 'deletion_protection.enabled',
  )
  const { DeletionProtection } = only(templates.data, 'AWS::RDS::DBInstance')
  const stacks = stage.synth().stacks.map((stack) => stack.terminationProtection ?? false)
  return { loadBalancer: Value, database: DeletionProtection, stacks: [...new Set(stacks)] }
}
