import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { expect } from 'chai'
import { prod } from '../../cdk/config/prod.ts'
import { variation } from './support/environments.ts'
import { follow } from './support/references.ts'
import { only, properties, STACKS, type Synthesis, synthesise } from './support/synthesis.ts'

type Properties = ReturnType<typeof only>
const SERVICES = ['auth-service', 'task-service'] as const
const ALARM = 'AWS::CloudWatch::Alarm'

const all = ({ templates }: Synthesis, type: string): Properties[] =>
  STACKS.flatMap((stack) => properties(templates[stack], type))

describe('Alarms', () => {
  let synthesis: Synthesis
  let alarms: Readonly<Record<string, Properties>>

  before(() => {
    synthesis = synthesise(
      variation({
        canary: { url: 'https://tasks.example.com' },
        mail: { domain: 'example.com', publicUrl: 'https://tasks.example.com' },
        edge: { domain: 'tasks.example.com' },
        database: { ...prod.database, readReplica: true } as typeof prod.database,
      }),
    )
    alarms = Object.fromEntries(all(synthesis, ALARM).map((alarm) => [alarm.AlarmName, alarm]))
  })

  const scaling = /-scale-(in|out)$/

  it('are these', () => {
    const ofServices = ['error-rate', 'response-time', 'high-cpu', 'unhealthy-tasks']
    expect(Object.keys(alarms).filter((name) => !scaling.test(name))).to.have.members([
      ...SERVICES.flatMap((name) => ofServices.map((what) => `${name}-${what}`)),
      'task-mgmt-high-error-rate',
      'task-mgmt-db-connections',
      'task-mgmt-db-storage',
      'task-mgmt-db-memory',
      'task-mgmt-db-swap',
      'task-mgmt-db-cpu',
      'task-mgmt-db-cpu-credits',
      'task-mgmt-task-crashed',
      'task-mgmt-projection-lagging',
      'task-mgmt-projection-parked',
      'task-mgmt-log-unsigned',
      'task-mgmt-log-refused',
      'task-mgmt-witness-down',
      'task-mgmt-drift-found',
      'task-mgmt-mails-waiting',
      'task-mgmt-canary-failing',
      'task-mgmt-photo-bucket-4xx',
      'task-mgmt-photo-bucket-5xx',
      'task-mgmt-photo-events-failed',
      ...['memory', 'evictions', 'connections', 'cpu', 'away'].map(
        (what) => `task-mgmt-redis-${what}`,
      ),
      'task-mgmt-replica-unused',
      'task-mgmt-edge-client-errors',
      'task-mgmt-edge-server-errors',
      'task-mgmt-edge-latency',
      'task-mgmt-edge-throttled',
      'task-mgmt-edge-authorizer',
    ])
  })

  it('ring when more than 5 % of the answers of a service over 5 minutes are errors', () => {
    for (const name of SERVICES) {
      const alarm = alarms[`${name}-error-rate`]
      expect(alarm).to.include({
        ComparisonOperator: 'GreaterThanThreshold',
        Threshold: 5,
        EvaluationPeriods: 1,
        TreatMissingData: 'notBreaching',
      })
      const [rate, ...metrics] = alarm.Metrics
      const party = name.replace('-service', '')
      expect(rate.Expression).to.equal(`100 * FILL(errors_${party}, 0) / requests_${party}`)
      const parts = metrics.map(({ Id, MetricStat }: Properties) => [
        Id,
        MetricStat.Metric.MetricName,
        MetricStat.Metric.Dimensions[0].Value,
        MetricStat.Period,
        MetricStat.Stat,
      ])
      expect(parts).to.have.deep.members([
        [`errors_${party}`, 'ErrorCount', name, 300, 'Sum'],
        [`requests_${party}`, 'RequestCount', name, 300, 'Sum'],
      ])
    }
  })

  it('ring for errors that no service can log, as a rate too', () => {
    const { Metrics, Threshold, EvaluationPeriods } = alarms['task-mgmt-high-error-rate']
    expect({ Threshold, EvaluationPeriods }).to.deep.equal({ Threshold: 5, EvaluationPeriods: 1 })
    const names = Metrics.slice(1).map(({ MetricStat }: Properties) => [
      MetricStat.Metric.MetricName,
      MetricStat.Period,
    ])
    expect(names).to.have.deep.members([
      ['RequestCount', 300],
      ['HTTPCode_ELB_5XX_Count', 300],
      ['HTTPCode_Target_5XX_Count', 300],
    ])
  })

  it('ring when API Gateway answers too many errors, late, or refuses what it should let through', () => {
    for (const [what, metricName, Threshold, EvaluationPeriods] of [
      ['client-errors', '4XXError', 30, 3],
      ['server-errors', '5XXError', 5, 1],
    ] as const) {
      const { Metrics, ...alarm } = alarms[`task-mgmt-edge-${what}`]
      expect(alarm).to.include({ Threshold, EvaluationPeriods, TreatMissingData: 'notBreaching' })
      const [rate, ...metrics] = Metrics
      expect(rate.Expression).to.equal('IF(requests >= 100, 100 * errors / requests, 0)')
      const parts = metrics.map(({ Id, MetricStat }: Properties) => [
        Id,
        MetricStat.Metric.Namespace,
        MetricStat.Metric.MetricName,
        MetricStat.Metric.Dimensions.map(({ Value }: Properties) => Value),
        MetricStat.Period,
      ])
      const dimensions = ['task-mgmt-api', 'v1']
      expect(parts).to.have.deep.members([
        ['requests', 'AWS/ApiGateway', 'Count', dimensions, 300],
        ['errors', 'AWS/ApiGateway', metricName, dimensions, 300],
      ])
    }
    expect(alarms['task-mgmt-edge-latency']).to.include({
      MetricName: 'IntegrationLatency',
      ExtendedStatistic: 'p95',
      Threshold: 3_000,
      EvaluationPeriods: 3,
    })
    expect(alarms['task-mgmt-edge-throttled']).to.include({
      Namespace: 'TaskManagement',
      MetricName: 'EdgeThrottled',
      Threshold: 0,
    })
    const filter = only(synthesis.templates.edge, 'AWS::Logs::MetricFilter')
    expect(filter.LogGroupName).to.equal('/aws/apigateway/task-mgmt-api')
    expect(filter.FilterPattern).to.equal('{ $.error = "THROTTLED" }')
    const [sum, ...parts] = alarms['task-mgmt-edge-authorizer'].Metrics
    expect(sum.Expression).to.equal('FILL(errors, 0) + FILL(throttles, 0)')
    expect(parts.map(({ MetricStat }: Properties) => MetricStat.Metric.MetricName)).to.have.members(
      ['Errors', 'Throttles'],
    )
  })

  it('ring when the CPU of a service is above 70 % for 5 minutes', () => {
    for (const name of SERVICES) {
      expect(alarms[`${name}-high-cpu`]).to.include({
        MetricName: 'CPUUtilization',
        ComparisonOperator: 'GreaterThanThreshold',
        Threshold: 70,
        Period: 60,
        EvaluationPeriods: 5,
      })
    }
  })

  it('ring when more than 80 % of the database connections are in use', () => {
    const { Parameters } = only(synthesis.templates.data, 'AWS::RDS::DBParameterGroup')
    expect(Parameters.max_connections).to.equal('450')
    expect(alarms['task-mgmt-db-connections']).to.include({
      MetricName: 'DatabaseConnections',
      ComparisonOperator: 'GreaterThanThreshold',
      Threshold: 0.8 * 450,
    })
  })

  const GIB = 2 ** 30

  it('ring when the memory of the database runs out, by what its class has', () => {
    // A t4g.medium has 4 GiB.
    expect(alarms['task-mgmt-db-memory']).to.include({
      MetricName: 'FreeableMemory',
      ComparisonOperator: 'LessThanThreshold',
      Threshold: 0.05 * 4 * GIB,
      Period: 300,
      EvaluationPeriods: 3,
    })
    expect(alarms['task-mgmt-db-swap']).to.include({
      MetricName: 'SwapUsage',
      ComparisonOperator: 'GreaterThanThreshold',
      Threshold: 0.25 * 4 * GIB,
      EvaluationPeriods: 3,
    })
  })

  it('ring when the database is busy for a quarter of an hour, or has no credits left', () => {
    expect(alarms['task-mgmt-db-cpu']).to.include({
      MetricName: 'CPUUtilization',
      ComparisonOperator: 'GreaterThanThreshold',
      Threshold: 80,
      EvaluationPeriods: 3,
    })
    // A t4g.medium earns 24 an hour. A new one begins without any, and must not ring for that.
    const credits = alarms['task-mgmt-db-cpu-credits']
    expect(credits).to.include({
      MetricName: 'CPUCreditBalance',
      ComparisonOperator: 'LessThanThreshold',
      Threshold: 24,
    })
    expect(credits.Period * credits.EvaluationPeriods).to.be.above(3_600)
  })

  it('ring for no credits only where a class has some', () => {
    const { database } = variation({})
    const large = variation({ database: { ...database, instanceType: 'm7g.large' } })
    const names = all(synthesise(large), ALARM).map(({ AlarmName }) => AlarmName)
    expect(names).to.include('task-mgmt-db-cpu').and.not.include('task-mgmt-db-cpu-credits')
  })

  it('ring when storage stays short although it had the time to grow by itself', () => {
    expect(alarms['task-mgmt-db-storage']).to.include({
      MetricName: 'FreeStorageSpace',
      ComparisonOperator: 'LessThanThreshold',
      Threshold: 0.1 * 50 * GIB,
      Period: 300,
      EvaluationPeriods: 6,
    })
  })

  it('ring when a task is unhealthy for 2 minutes', () => {
    for (const name of SERVICES) {
      expect(alarms[`${name}-unhealthy-tasks`]).to.include({
        MetricName: 'UnHealthyHostCount',
        Statistic: 'Maximum',
        Period: 60,
        ComparisonOperator: 'GreaterThanThreshold',
        Threshold: 0,
        EvaluationPeriods: 2,
      })
    }
  })

  it('ring when the audit trail is 60 s behind for 5 minutes, or no worker reports its lag', () => {
    expect(alarms['task-mgmt-projection-lagging']).to.deep.include({
      Namespace: 'TaskManagement',
      MetricName: 'ProjectionLag',
      Dimensions: [{ Name: 'Projection', Value: 'audit' }],
      Statistic: 'Maximum',
      ComparisonOperator: 'GreaterThanThreshold',
      Threshold: 60,
      Period: 60,
      EvaluationPeriods: 5,
      TreatMissingData: 'breaching',
    })
  })

  it('ring when an event waits for a checkpoint for longer than the worker ever leaves it', () => {
    expect(alarms['task-mgmt-log-unsigned']).to.include({
      Namespace: 'TaskManagement',
      MetricName: 'UnloggedAge',
      Statistic: 'Maximum',
      ComparisonOperator: 'GreaterThanThreshold',
      Threshold: 60,
      Period: 60,
      EvaluationPeriods: 5,
    })
  })

  it('ring at once when the worker refuses to sign', () => {
    expect(alarms['task-mgmt-log-refused']).to.include({
      Namespace: 'TaskManagement',
      MetricName: 'SigningRefusals',
      Statistic: 'Sum',
      ComparisonOperator: 'GreaterThanThreshold',
      Threshold: 0,
      Period: 60,
      EvaluationPeriods: 1,
    })
  })

  it('ring when no task of the witness runs, but not before there is anything for it to do', () => {
    expect(alarms['task-mgmt-witness-down']).to.deep.include({
      Namespace: 'ECS/ContainerInsights',
      MetricName: 'RunningTaskCount',
      Statistic: 'Maximum',
      ComparisonOperator: 'LessThanThreshold',
      Threshold: 1,
      Period: 60,
      EvaluationPeriods: 5,
      TreatMissingData: 'breaching',
    })
    const names = all(synthesise(variation({ log: {} })), ALARM).map(({ AlarmName }) => AlarmName)
    expect(names).to.not.include('task-mgmt-witness-down')
  })

  it('ring when a stream is parked, and when a view differs from the log', () => {
    for (const [name, MetricName, Statistic] of [
      ['task-mgmt-projection-parked', 'ParkedStreams', 'Maximum'],
      ['task-mgmt-drift-found', 'Drift', 'Sum'],
    ] as const) {
      expect(alarms[name]).to.include({
        Namespace: 'TaskManagement',
        MetricName,
        Statistic,
        ComparisonOperator: 'GreaterThanThreshold',
        Threshold: 0,
        EvaluationPeriods: 1,
      })
      expect(alarms[name]).to.not.have.property('Dimensions')
    }
  })

  it('notify the topic when they begin and when they end; those for scaling do not', () => {
    for (const stack of STACKS) {
      for (const alarm of properties(synthesis.templates[stack], ALARM)) {
        const types = [...alarm.AlarmActions, ...(alarm.OKActions ?? [])].map(
          (action) => follow(synthesis, stack, action)?.resource.Type,
        )
        expect(types, alarm.AlarmName).to.deep.equal(
          scaling.test(alarm.AlarmName)
            ? ['AWS::ApplicationAutoScaling::ScalingPolicy']
            : ['AWS::SNS::Topic', 'AWS::SNS::Topic'],
        )
      }
    }
  })

  it('name a runbook each, and every runbook that is named is there', () => {
    const named = Object.entries(alarms).flatMap(([name, { AlarmDescription }]) => {
      if (scaling.test(name)) return []
      const [, path] = AlarmDescription.match(/Runbook: (docs\/runbooks\/[\w-]+\.md)$/) ?? []
      expect(path, name).to.be.a('string')
      expect(existsSync(path), path).to.equal(true)
      return [path]
    })
    const [, byHand = ''] = readFileSync('docs/runbooks/README.md', 'utf8').split(
      'Without an alarm:',
    )
    const others = [...byHand.matchAll(/\]\(([\w-]+\.md)\)/g)].map(([, file = '']) => file)
    const there = readdirSync('docs/runbooks').filter(
      (file) => !['README.md', ...others].includes(file),
    )
    expect(there.map((file) => `docs/runbooks/${file}`)).to.have.members([...new Set(named)])
  })

  it('go out by e-mail to whom the environment names', () => {
    const { platform } = synthesise(variation({ alarmEmails: ['ops@example.com'] })).templates
    const { Protocol, Endpoint } = only(platform, 'AWS::SNS::Subscription')
    expect([Protocol, Endpoint]).to.deep.equal(['email', 'ops@example.com'])
  })
})
