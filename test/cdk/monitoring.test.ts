import { execFileSync } from 'node:child_process'
import { expect } from 'chai'
import pg from 'pg'
import { dev } from '../../cdk/config/dev.ts'
import { parseEnvironment } from '../../cdk/config/parse.ts'
import { freePorts } from '../../src/infra/local/free-ports.ts'
import { testDatabase } from '../support/postgres.ts'
import { startProcess } from '../support/processes.ts'
import { VARIANTS, variation } from './support/environments.ts'
import { matchesEvent } from './support/event-pattern.ts'
import { matches, valueAt } from './support/filter-pattern.ts'
import { follow, within } from './support/references.ts'
import {
  ofType,
  only,
  properties,
  STACKS,
  type Synthesis,
  synthesise,
} from './support/synthesis.ts'

type Properties = ReturnType<typeof only>
const ALARM = 'AWS::CloudWatch::Alarm'

const all = ({ templates }: Synthesis, type: string): Properties[] =>
  STACKS.flatMap((stack) => properties(templates[stack], type))

describe('Logs', () => {
  let synthesis: Synthesis
  let groups: Properties[]

  before(() => {
    synthesis = synthesise(VARIANTS.ec2)
    groups = all(synthesis, 'AWS::Logs::LogGroup')
  })

  it('of every container go to a group of its own', () => {
    const { services } = synthesis.templates
    const found = properties(services, 'AWS::ECS::TaskDefinition').map(
      ({ ContainerDefinitions: [{ Name, LogConfiguration }] }) => {
        return [Name, LogConfiguration.LogDriver, LogConfiguration.Options['awslogs-group']]
      },
    )
    expect(found).to.have.deep.members([
      ['auth-service', 'awslogs', '/ecs/auth-service'],
      ['task-service', 'awslogs', '/ecs/task-service'],
      ['worker', 'awslogs', '/ecs/worker'],
      ['witness', 'awslogs', '/ecs/witness'],
      ['migration', 'awslogs', '/ecs/migration'],
      ['rebuild', 'awslogs', '/ecs/rebuild'],
    ])
  })

  it('are kept for 30 days, every one of them', () => {
    const kept = all(synthesise(parseEnvironment(dev)), 'AWS::Logs::LogGroup')
    expect(kept).to.have.length.above(5)
    for (const { LogGroupName, RetentionInDays } of kept) {
      expect(RetentionInDays, LogGroupName).to.equal(30)
    }
  })

  it('are kept for 90 days in prod', () => {
    expect(groups).to.have.length.above(5)
    for (const { LogGroupName, RetentionInDays } of groups) {
      expect(RetentionInDays, LogGroupName).to.equal(90)
    }
  })

  it('lie under our key, whose policy knows each group by name', () => {
    const { Statement } = only(synthesis.templates.data, 'AWS::KMS::Key').KeyPolicy
    const { Condition } = Statement.find(({ Sid }: Properties) => Sid === 'LogGroupsOfTasktrail')
    const patterns: string[] = Condition.ArnLike['kms:EncryptionContext:aws:logs:arn']
    const prefixes = patterns.map((arn) => arn.split(':log-group:')[1]?.slice(0, -1) ?? '?')
    for (const stack of STACKS) {
      for (const [, group] of ofType(synthesis.templates[stack], 'AWS::Logs::LogGroup')) {
        const { KmsKeyId, LogGroupName } = group.Properties
        expect(follow(synthesis, stack, KmsKeyId)?.resource.Type).to.equal('AWS::KMS::Key')
        const known = prefixes.some((prefix) => LogGroupName.startsWith(prefix))
        expect(known, LogGroupName).to.equal(true)
      }
    }
  })
})

describe('Metrics from the access log', () => {
  let filters: Properties[]
  let lines: readonly Record<string, unknown>[]

  before(() => {
    const { services } = synthesise(variation({})).templates
    filters = properties(services, 'AWS::Logs::MetricFilter').filter(
      ({ LogGroupName }) => LogGroupName !== '/ecs/worker',
    )
    const script = new URL('support/access-log-lines.ts', import.meta.url).pathname
    const output = execFileSync(process.execPath, [script], { encoding: 'utf8' })
    lines = output
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
  })

  const counted = (metric: string) => {
    const filter = filters.find(({ MetricTransformations: [to] }) => to.MetricName === metric)
    return lines.filter((line) => matches(filter.FilterPattern, line)).map(({ path }) => path)
  }

  it('count the requests, but not the questions for health', () => {
    expect(counted('RequestCount')).to.deep.equal([
      '/auth/login',
      '/auth/me',
      '/auth/broken',
      '/auth/stream',
    ])
  })

  it('count as errors what was our fault', () => {
    expect(counted('ErrorCount')).to.deep.equal(['/auth/broken'])
  })

  const responseTime = () => {
    const [to] = filters
      .map(({ MetricTransformations }) => MetricTransformations[0])
      .filter(({ MetricName }) => MetricName === 'ResponseTime')
    return to
  }

  it('take the response time in milliseconds', () => {
    const { Unit, MetricValue } = responseTime()
    expect(Unit).to.equal('Milliseconds')
    const times = lines.filter(({ msg }) => msg === 'request')
    for (const line of times) expect(valueAt(line, MetricValue)).to.be.a('number')
  })

  it('measure how soon a stream began, not how long it lasted', () => {
    const stream = lines.find(({ path }) => path === '/auth/stream')
    expect(stream?.duration_ms).to.be.at.least(490)
    expect(valueAt(stream, responseTime().MetricValue)).to.be.below(490)
  })

  it('are there for each service, by its name in the line', () => {
    const found = filters.map(({ LogGroupName, MetricTransformations: [to] }) => {
      expect(to.MetricNamespace).to.equal('TaskManagement')
      expect(to.Dimensions).to.deep.equal([{ Key: 'Service', Value: '$.service' }])
      expect(lines.map((line) => valueAt(line, '$.service'))).to.include('auth-service')
      return `${LogGroupName} ${to.MetricName}`
    })
    expect(found).to.deep.equal(
      ['/ecs/auth-service', '/ecs/task-service'].flatMap((name) =>
        ['RequestCount', 'ErrorCount', 'ResponseTime'].map((metric) => `${name} ${metric}`),
      ),
    )
  })
})

describe("Metrics from the worker's log", function () {
  this.timeout(20_000)
  let filters: Readonly<Record<string, Properties>>
  let lines: readonly Record<string, unknown>[]

  before(async () => {
    const { services } = synthesise(variation({})).templates
    const found = properties(services, 'AWS::Logs::MetricFilter').filter(
      ({ LogGroupName }) => LogGroupName === '/ecs/worker',
    )
    filters = Object.fromEntries(
      found.map((filter) => [filter.MetricTransformations[0].MetricName, filter]),
    )
    lines = await linesOfWorker()
  })

  /** What the metric takes from the lines that the worker has printed. */
  const values = (metric: string) => {
    const { FilterPattern, MetricTransformations } = filters[metric]
    const [{ MetricValue }] = MetricTransformations
    const matching = lines.filter((line) => matches(FilterPattern, line))
    return matching.map((line) =>
      MetricValue.startsWith('$') ? valueAt(line, MetricValue) : Number(MetricValue),
    )
  }

  it('take the lag of the audit projection, by its name in the line', () => {
    expect(values('ProjectionLag')).to.deep.equal([0])
    const [{ Dimensions, Unit }] = filters.ProjectionLag.MetricTransformations
    expect(Unit).to.equal('Seconds')
    expect(Dimensions).to.deep.equal([{ Key: 'Projection', Value: '$.projection' }])
    const projections = lines.filter(({ msg }) => msg === 'projection lag')
    expect(projections.map((line) => valueAt(line, '$.projection'))).to.deep.equal(['audit'])
  })

  it('take the number of parked streams', () => {
    expect(values('ParkedStreams')).to.deep.equal([1])
  })

  it('take the age of the first event that no checkpoint covers', () => {
    const [age] = values('UnloggedAge')
    expect(age).to.be.a('number').and.equal(0)
    expect(filters.UnloggedAge.MetricTransformations[0].Unit).to.equal('Seconds')
  })

  it('count how often the worker has refused to sign', () => {
    expect(values('SigningRefusals')).to.deep.equal([1])
  })

  it('count the differences between a view and the log', () => {
    expect(values('Drift')).to.deep.equal([1])
  })

  it('are no more than that, and all in one namespace', () => {
    const names = ['ProjectionLag', 'ParkedStreams', 'UnloggedAge', 'SigningRefusals', 'Drift']
    expect(Object.keys(filters)).to.have.members(names)
    for (const { MetricTransformations } of Object.values(filters)) {
      expect(MetricTransformations[0].MetricNamespace).to.equal('TaskManagement')
    }
  })
})

/** The real worker's, over a parked stream, a task of which the log knows nothing, and a checkpoint that it has not signed. */
async function linesOfWorker(): Promise<readonly Record<string, unknown>[]> {
  const database = await testDatabase()
  const client = new pg.Client(database.url)
  await client.connect()
  await client.query(`
    insert into parked_streams (projection, stream_id, position, version, error)
      values ('audit', 'task-2', 1, 1, 'cannot be');
    update log_checkpoint set size = 1;
    insert into tasks (id, user_id, title, status, priority, created_at, updated_at, version)
      values (1, 1, '"Out of nowhere"', 'pending', 'low', now(), now(), 1)`)
  await client.end()
  const secret = 's'.repeat(32)
  const [port] = await freePorts(1)
  const env = {
    ...{ DATABASE_URL: database.url, PORT: String(port), HOST: '127.0.0.1', DRAIN_SECONDS: '0' },
    ...{ TEXT_KEY: secret, LOG_KEY: secret },
  }
  const { line, out, child, ended } = startProcess(process.execPath, ['src/worker.ts'], { env })
  try {
    const awaited = ['log lag', 'signing has stopped', 'drift found']
    await Promise.all(awaited.map((msg) => line(new RegExp(`"msg":"${msg}`))))
    child.kill('SIGTERM')
    expect(await ended).to.equal('code 0')
  } finally {
    child.kill('SIGKILL')
    await database.drop()
  }
  // It looks again and again; once is enough here.
  const first = new Map(out.map((text) => JSON.parse(text)).map((one) => [one.msg, one]))
  return [...first.values()]
}

describe('Events', () => {
  let synthesis: Synthesis
  let rules: Properties[]

  before(() => {
    synthesis = synthesise(variation({}))
    rules = properties(synthesis.templates.observability, 'AWS::Events::Rule')
  })

  const groupsOf = (detailType: string) =>
    rules
      .filter(({ EventPattern }) => EventPattern['detail-type'].includes(detailType))
      .flatMap(({ Targets }) => Targets)
      .map(({ Arn }) => within(synthesis, 'observability', Arn)?.resource.Properties.LogGroupName)

  it('of tasks that stop are logged whole, with the exit codes of their containers', () => {
    expect(groupsOf('ECS Task State Change')).to.deep.equal([
      '/aws/events/task-management/task-stops',
      '/aws/events/task-management/task-crashes',
    ])
    const [{ EventPattern, Targets }] = rules
    expect(EventPattern.detail.lastStatus).to.deep.equal(['STOPPED'])
    expect(EventPattern.detail.clusterArn[0]).to.match(/:cluster\/task-management-cluster$/)
    for (const part of ['Input', 'InputPath', 'InputTransformer']) {
      expect(Targets[0]).to.not.have.property(part)
    }
  })

  it('of scaling are logged: what alarms said, what ECS did, and the maximum', () => {
    for (const type of [
      'CloudWatch Alarm State Change',
      'ECS Service Action',
      'Application Auto Scaling Scaling Activity State Change',
    ]) {
      expect(groupsOf(type), type).to.deep.equal(['/aws/events/task-management/scaling'])
    }
    const [{ EventPattern }] = rules.filter(({ EventPattern: { source } }) =>
      source.includes('aws.cloudwatch'),
    )
    const names = properties(synthesis.templates.services, ALARM).map(({ AlarmName }) => AlarmName)
    expect(EventPattern.detail.alarmName).to.have.members(
      names.filter((name) => /-scale-(in|out)$/.test(name)),
    )
  })

  it('may be written by EventBridge to their groups, which it takes without the `:*`', () => {
    for (const { Targets } of rules) {
      if (Targets[0].InputTransformer) continue
      const [, parts] = Targets[0].Arn['Fn::Join']
      expect(parts[0]).to.equal('arn:aws:logs:us-east-1:333333333333:log-group:')
      expect(parts).to.have.length(2)
      expect(parts[1]).to.have.property('Ref')
    }
    const policies = properties(synthesis.templates.observability, 'AWS::Logs::ResourcePolicy')
    expect(policies).to.have.length(3)
    for (const { PolicyDocument } of policies) {
      expect(JSON.stringify(PolicyDocument)).to.include('events.amazonaws.com')
    }
  })

  const CLUSTER = 'arn:aws:ecs:us-east-1:333333333333:cluster/task-management-cluster'

  /** An event as ECS sends it, of a task with these containers. */
  const stopped = (stopCode: string, ...exitCodes: (number | undefined)[]) => ({
    source: 'aws.ecs',
    'detail-type': 'ECS Task State Change',
    detail: {
      clusterArn: CLUSTER,
      lastStatus: 'STOPPED',
      stopCode,
      containers: exitCodes.map((exitCode) => (exitCode === undefined ? {} : { exitCode })),
    },
  })

  it('of a crash ring an alarm, whichever container ended; those of an orderly end do not', () => {
    const [crashed, ...others] = rules.filter(({ EventPattern }) => EventPattern.detail?.$or)
    expect(others).to.deep.equal([])
    const rings = (...parts: Parameters<typeof stopped>) =>
      matchesEvent(crashed.EventPattern, stopped(...parts))
    expect(rings('EssentialContainerExited', 1)).to.equal(true)
    expect(rings('EssentialContainerExited', 137)).to.equal(true)
    // An agent that AWS puts beside ours may stand first.
    expect(rings('EssentialContainerExited', 0, 1)).to.equal(true)
    expect(rings('EssentialContainerExited', undefined, 139)).to.equal(true)
    expect(rings('TaskFailedToStart')).to.equal(true)
    expect(rings('TaskFailedToStart', undefined)).to.equal(true)
    expect(rings('EssentialContainerExited', 0)).to.equal(false)
    expect(rings('ServiceSchedulerInitiated', 143)).to.equal(false)
    expect(rings('UserInitiated', 137)).to.equal(false)

    const group = within(synthesis, 'observability', crashed.Targets[0].Arn)
    const filter = properties(synthesis.templates.observability, 'AWS::Logs::MetricFilter').find(
      ({ MetricTransformations: [{ MetricName }] }) => MetricName === 'TaskCrashes',
    )
    expect(filter.LogGroupName.Ref).to.equal(group?.id)
    expect(matches(filter.FilterPattern, stopped('TaskFailedToStart'))).to.equal(true)
  })

  it('of a deployment that failed reach the topic, with the reason and the runbook', () => {
    const [failed] = rules.filter(({ EventPattern }) => EventPattern.detail?.eventName)
    const service = 'arn:aws:ecs:us-east-1:333333333333:service/task-management-cluster/worker'
    const event = (eventName: string, resource = service) => ({
      source: 'aws.ecs',
      'detail-type': 'ECS Deployment State Change',
      resources: [resource],
      detail: { eventName },
    })
    const sent = (...parts: Parameters<typeof event>) =>
      matchesEvent(failed.EventPattern, event(...parts))
    expect(sent('SERVICE_DEPLOYMENT_FAILED')).to.equal(true)
    expect(sent('SERVICE_DEPLOYMENT_COMPLETED')).to.equal(false)
    expect(sent('SERVICE_DEPLOYMENT_FAILED', service.replace('task-m', 'm'))).to.equal(false)
    const [{ Arn, InputTransformer }] = failed.Targets
    expect(follow(synthesis, 'observability', Arn)?.resource.Type).to.equal('AWS::SNS::Topic')
    expect(Object.values(InputTransformer.InputPathsMap)).to.have.members([
      '$.resources[0]',
      '$.detail.reason',
    ])
    expect(InputTransformer.InputTemplate).to.include('docs/runbooks/deployment-failed.md')
  })

  it('of storage that is nearly as large as it may become reach the topic, with the runbook', () => {
    const [nearly] = rules.filter(({ EventPattern }) => EventPattern.detail?.EventID)
    const event = (EventID: string, SourceIdentifier = 'task-mgmt-db') => ({
      source: 'aws.rds',
      'detail-type': 'RDS DB Instance Event',
      detail: { EventCategories: ['notification'], EventID, SourceIdentifier },
    })
    const sent = (...parts: Parameters<typeof event>) =>
      matchesEvent(nearly.EventPattern, event(...parts))
    expect(sent('RDS-EVENT-0225')).to.equal(true)
    // It was started by hand.
    expect(sent('RDS-EVENT-0088')).to.equal(false)
    expect(sent('RDS-EVENT-0225', 'another')).to.equal(false)
    const [{ Arn, InputTransformer }] = nearly.Targets
    expect(follow(synthesis, 'observability', Arn)?.resource.Type).to.equal('AWS::SNS::Topic')
    expect(Object.values(InputTransformer.InputPathsMap)).to.deep.equal(['$.detail.Message'])
    expect(InputTransformer.InputTemplate).to.include('docs/runbooks/database-storage.md')
  })

  it('of the database reach the topic: what ends it, fills it or goes over to the standby', () => {
    const events = only(synthesis.templates.observability, 'AWS::RDS::EventSubscription')
    const topic = follow(synthesis, 'observability', events.SnsTopicArn)
    expect(topic?.resource.Type).to.equal('AWS::SNS::Topic')
    expect([events.SourceType, events.SourceIds]).to.deep.equal(['db-instance', ['task-mgmt-db']])
    expect(events.EventCategories).to.include.members([
      'availability',
      'failover',
      'failure',
      'low storage',
    ])
  })
})

describe('The dashboard', () => {
  const titles = (change: Parameters<typeof variation>[0] = {}): readonly string[] => {
    const { observability } = synthesise(variation(change)).templates
    const { DashboardName, DashboardBody } = only(observability, 'AWS::CloudWatch::Dashboard')
    expect(DashboardName).to.equal('task-management-dashboard')
    const parts: unknown[] = DashboardBody['Fn::Join'][1]
    const text = parts.map((part) => (typeof part === 'string' ? part : 'x')).join('')
    return JSON.parse(text).widgets.map(({ properties: { title } }: Properties) => title)
  }

  it("has the guide's six widgets, and more", () => {
    const found = titles()
    expect(found.slice(0, 6)).to.deep.equal([
      'ALB Request Count',
      'Target Response Time',
      'ECS CPU Utilization',
      'ECS Memory Utilization',
      'RDS Connections',
      'Running Tasks',
    ])
    expect(found).to.have.length.above(10)
  })

  it('shows the edge where there is one', () => {
    const ofEdge = (found: readonly string[]) => found.filter((title) => /^Edge: /.test(title))
    expect(ofEdge(titles())).to.deep.equal([])
    expect(ofEdge(titles({ edge: { domain: 'api.example.com' } }))).to.have.length(4)
  })
})
