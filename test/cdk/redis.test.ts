import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import { dev } from '../../cdk/config/dev.ts'
import { ConfigError, parseEnvironment } from '../../cdk/config/parse.ts'
import { ACCESS } from '../../cdk/constructs/redis.ts'
import { authServiceConfig, taskServiceConfig } from '../../src/config.ts'
import { redisConfig } from '../../src/redis-config.ts'
import { type CountersInRedis, openCounters } from '../support/counters-in-redis.ts'
import {
  hasRedis,
  NO_REDIS,
  type TestCluster,
  type TestRedis,
  testCluster,
  testRedis,
} from '../support/redis.ts'
import { skipped } from '../support/skipped.ts'
import { variation } from './support/environments.ts'
import { matches } from './support/filter-pattern.ts'
import { reachability } from './support/reachability.ts'
import { follow, nameOf, within } from './support/references.ts'
import { ofType, only, properties, type Synthesis, synthesise } from './support/synthesis.ts'

type Properties = ReturnType<typeof only>
const GROUP = 'AWS::ElastiCache::ReplicationGroup'

describe('Redis', () => {
  let prod: Synthesis
  let inDev: Synthesis
  let group: Properties

  before(() => {
    prod = synthesise(variation({}))
    inDev = synthesise(parseEnvironment(dev))
    group = only(prod.templates.platform, GROUP)
  })

  it('in prod is a cluster of three nodes in two zones, of which one takes over from another', () => {
    expect(group).to.include({
      CacheNodeType: 'cache.r6g.xlarge',
      ClusterMode: 'enabled',
      NumNodeGroups: 1,
      ReplicasPerNodeGroup: 2,
      AutomaticFailoverEnabled: true,
      MultiAZEnabled: true,
    })
  })

  it('in dev is one small node', () => {
    expect(only(inDev.templates.platform, GROUP)).to.include({
      CacheNodeType: 'cache.t3.micro',
      ClusterMode: 'disabled',
      NumNodeGroups: 1,
      ReplicasPerNodeGroup: 0,
      AutomaticFailoverEnabled: false,
      MultiAZEnabled: false,
    })
  })

  it('forgets what is used least, and keeps connections', () => {
    for (const [{ templates }, cluster] of [
      [prod, 'yes'],
      [inDev, 'no'],
    ] as const) {
      const parameters = only(templates.platform, 'AWS::ElastiCache::ParameterGroup')
      expect(parameters.CacheParameterGroupFamily).to.equal('valkey8')
      expect(parameters.Properties).to.deep.equal({
        'cluster-enabled': cluster,
        'maxmemory-policy': 'allkeys-lru',
        timeout: '0',
        'tcp-keepalive': '60',
      })
    }
  })

  it('is encrypted under our key and spoken to under TLS only', () => {
    expect(group).to.include({
      Engine: 'valkey',
      AtRestEncryptionEnabled: true,
      TransitEncryptionEnabled: true,
      TransitEncryptionMode: 'required',
    })
    expect(follow(prod, 'platform', group.KmsKeyId)?.resource.Type).to.equal('AWS::KMS::Key')
  })

  it('keeps nothing: no snapshots, and it goes with its stack', () => {
    expect(group.SnapshotRetentionLimit).to.equal(0)
    const [[, { DeletionPolicy } = {}] = []] = ofType(prod.templates.platform, GROUP)
    expect(DeletionPolicy).to.equal('Delete')
  })

  it('lets in one user with either of two passwords, and nobody without a name', () => {
    const { platform } = prod.templates
    const { UserIds } = only(platform, 'AWS::ElastiCache::UserGroup')
    const users = UserIds.map((id: unknown) => {
      const { UserName, AccessString, Passwords } =
        follow(prod, 'platform', id)?.resource.Properties ?? {}
      return [UserName, AccessString.split(' ')[0], Passwords.length]
    })
    expect(users).to.deep.equal([
      ['tasktrail', 'on', 2],
      ['default', 'off', 2],
    ])
    const [used] = group.UserGroupIds
    expect(follow(prod, 'platform', used)?.resource.Properties.UserGroupId).to.equal(
      'task-mgmt-redis',
    )
  })

  it('is reached by auth-service and task-service alone', () => {
    for (const { templates } of [prod, inDev]) {
      const { pairs } = reachability(templates.network)
      expect(pairs.filter((pair) => pair.includes('redis'))).to.have.members([
        'auth -> redis:6379',
        'task -> redis:6379',
      ])
    }
  })

  it('is where their settings say, in the mode that it has', () => {
    for (const [synthesis, mode, endpoint] of [
      [prod, 'cluster', 'ConfigurationEndPoint.Address'],
      [inDev, 'single', 'PrimaryEndPoint.Address'],
    ] as const) {
      const url = only(synthesis.templates.platform, 'AWS::SSM::Parameter').Value['Fn::Join'][1]
      expect(url[1]['Fn::GetAtt'][1]).to.equal(endpoint)
      const written = [url[0], 'redis.example', url[2]].join('')
      for (const [family, config] of [
        ['auth-service', authServiceConfig],
        ['task-service', taskServiceConfig],
      ] as const) {
        const settings = settingsOf(synthesis, family)
        expect(settings.REDIS_URL).to.equal('elsewhere')
        const read = redisConfig(config({ ...settings, REDIS_URL: written }))
        expect(read).to.include({ url: 'rediss://tasktrail@redis.example:6379', mode })
      }
    }
  })

  it('is unknown to all others, and to all where an environment has none', () => {
    for (const family of ['worker', 'witness', 'migration', 'rebuild']) {
      expect(JSON.stringify(settingsOf(prod, family)), family).to.not.include('REDIS')
    }
    const without = synthesise(variation({ redis: undefined }))
    for (const family of ['auth-service', 'task-service']) {
      const settings = settingsOf(without, family)
      expect(JSON.stringify(settings)).to.not.include('REDIS')
    }
    expect(redisConfig(authServiceConfig(settingsOf(without, 'auth-service')))).to.equal(null)
    const { templates } = without
    const found = Object.values(templates).flatMap(({ Resources }) => Object.values(Resources))
    expect(found.filter(({ Type }) => Type.startsWith('AWS::ElastiCache'))).to.deep.equal([])
    expect(reachability(templates.network).pairs.join()).to.not.include('redis')
  })

  const settingsOf = ({ templates }: Synthesis, family: string): Record<string, string> => {
    const task = only(templates.services, 'AWS::ECS::TaskDefinition', { Family: `${family}-task` })
    const [{ Environment, Secrets }] = task.ContainerDefinitions
    const plain = Environment.map(({ Name, Value }: Properties) => [
      Name,
      typeof Value === 'string' ? Value : 'elsewhere',
    ])
    const secret = Secrets.map(({ Name }: Properties) => [Name, 's'.repeat(64)])
    return Object.fromEntries([...plain, ...secret])
  }

  it('writes what was slow and what it says of itself into logs of ours', () => {
    const kinds = group.LogDeliveryConfigurations.map(
      ({ LogType, DestinationDetails }: Properties) => [
        LogType,
        nameOf(within(prod, 'platform', DestinationDetails)),
      ],
    )
    expect(kinds).to.deep.equal([
      ['slow-log', '/aws/elasticache/task-mgmt-redis/slow-log'],
      ['engine-log', '/aws/elasticache/task-mgmt-redis/engine-log'],
    ])
    const policies = properties(prod.templates.platform, 'AWS::Logs::ResourcePolicy')
    expect(policies).to.have.length(2)
    for (const { PolicyDocument } of policies) {
      expect(JSON.stringify(PolicyDocument)).to.include('delivery.logs.amazonaws.com')
    }
  })

  for (const [what, redis, sentence] of [
    [
      'of one node in prod',
      { mode: 'single', nodeType: 'cache.t3.micro' },
      'prod: redis.mode must be cluster: only dev may run without a standby.',
    ],
    [
      'of more nodes than an alarm looks at',
      { mode: 'cluster', nodeType: 'cache.r6g.large', shards: 2, replicas: 4 },
      'prod: redis must have at most 9 nodes: an alarm looks at no more.',
    ],
    [
      'without replicas',
      { mode: 'cluster', nodeType: 'cache.r6g.large', shards: 3, replicas: 0 },
      'prod: redis.replicas must be a whole number from 1 to 5.',
    ],
    [
      'on machines of another service',
      { mode: 'cluster', nodeType: 'r6g.large', shards: 1, replicas: 2 },
      'prod: redis.nodeType must be a node type such as cache.t3.micro.',
    ],
  ] as const) {
    it(`${what} is refused`, () => {
      expect(() => variation({ redis })).to.throw(ConfigError, sentence)
    })
  }
})

describe('Alarms of Redis ring', () => {
  let alarms: Readonly<Record<string, Properties>>

  before(() => {
    const { observability } = synthesise(variation({})).templates
    alarms = Object.fromEntries(
      properties(observability, 'AWS::CloudWatch::Alarm').map((one) => [one.AlarmName, one]),
    )
  })

  for (const [what, metric, stat, threshold, periods] of [
    ['memory', 'DatabaseMemoryUsagePercentage', 'Maximum', 80, 3],
    ['evictions', 'Evictions', 'Sum', 0, 3],
    ['connections', 'CurrConnections', 'Maximum', 80, 1],
    ['cpu', 'EngineCPUUtilization', 'Average', 80, 3],
  ] as const) {
    it(`when ${metric} of any node is above ${threshold}`, () => {
      const alarm = alarms[`task-mgmt-redis-${what}`]
      expect(alarm).to.include({
        ComparisonOperator: 'GreaterThanThreshold',
        Threshold: threshold,
        EvaluationPeriods: periods,
      })
      const [most, ...nodes] = alarm.Metrics
      const ids = nodes.map(({ Id }: Properties) => Id)
      expect(most.Expression).to.equal(`MAX([${ids.join(', ')}])`)
      const found = nodes.map(({ MetricStat: { Metric, Stat } }: Properties) => [
        Metric.MetricName,
        Metric.Dimensions[0].Value,
        Stat,
      ])
      expect(found).to.deep.equal(
        ['001', '002', '003'].map((node) => [metric, `task-mgmt-redis-0001-${node}`, stat]),
      )
    })
  }

  it('by the CPU of the machine where one or two cores do all', () => {
    const { observability } = synthesise(parseEnvironment(dev)).templates
    const alarm = only(observability, 'AWS::CloudWatch::Alarm', {
      AlarmName: 'task-mgmt-redis-cpu',
    })
    const [, { MetricStat }] = alarm.Metrics
    expect(MetricStat.Metric.MetricName).to.equal('CPUUtilization')
    expect(MetricStat.Metric.Dimensions[0].Value).to.equal('task-mgmt-redis-001')
  })

  it('when a task says that it has given Redis up, and not when it says that it is back', () => {
    const { observability } = synthesise(variation({})).templates
    const filters = properties(observability, 'AWS::Logs::MetricFilter').filter(
      ({ MetricTransformations: [{ MetricName }] }) => MetricName === 'RedisAway',
    )
    const groups = filters.map(({ LogGroupName }) => observability.Resources[LogGroupName.Ref])
    expect(groups.map((one) => one?.Properties.LogGroupName)).to.deep.equal([
      '/ecs/auth-service',
      '/ecs/task-service',
    ])
    for (const { FilterPattern } of filters) {
      const counts = (msg: string) => matches(FilterPattern, { msg })
      expect(counts('Redis is away: rate limits are counted in each process')).to.equal(true)
      expect(counts('Redis answers: rate limits are counted over all processes')).to.equal(false)
    }
    expect(alarms['task-mgmt-redis-away']).to.include({
      MetricName: 'RedisAway',
      Namespace: 'TaskManagement',
      Threshold: 0,
    })
  })
})

describe('The rights of our user in Redis', () => {
  const PASSWORD = randomUUID()
  let single: TestRedis
  let cluster: TestCluster
  const open: CountersInRedis[] = []

  before(async function () {
    if (!hasRedis) return skipped(this, NO_REDIS)
    ;[single, cluster] = await Promise.all([testRedis(), testCluster({})])
    for (const { cli } of [single, ...cluster.nodes]) {
      const [on = '', ...rules] = ACCESS.split(' ')
      await cli('acl', 'setuser', 'tasktrail', on, `>${PASSWORD}`, ...rules)
      await cli('acl', 'setuser', 'default', 'resetpass', `>${randomUUID()}`)
    }
  })
  after(async () => {
    await Promise.all(open.map(({ close }) => close()))
    await Promise.all([single?.stop(), cluster?.stop()])
  })

  for (const mode of ['single', 'cluster'] as const) {
    it(`are enough to count over all processes, ${mode}`, async () => {
      const { config } = mode === 'single' ? single : cluster
      const url = config.url.replace('redis://', 'redis://tasktrail@')
      const secret = randomUUID()
      const processes = [1, 2].map(() =>
        openCounters({ ...config, url, password: PASSWORD }, { secret }),
      )
      open.push(...processes)
      await Promise.all(processes.map(({ until }) => until('used')))
      const [one, two] = processes.map(({ counters }) => counters('user', 60))
      // As many keys as reach every node.
      for (const key of Array.from({ length: 20 }, () => randomUUID())) {
        await one?.add(key)
        const { count } = (await two?.add(key)) ?? {}
        expect(count).to.equal(2)
        expect((await one?.get(key))?.count).to.equal(2)
      }
      for (const { told } of processes) expect(told()).to.deep.equal(['used'])
    })
  }

  it('are for our keys and nothing else', async () => {
    const as = ['--user', 'tasktrail', '--pass', PASSWORD, '--no-auth-warning']
    for (const command of [
      ['set', 'other', '1'],
      ['get', 'other'],
      ['keys', '*'],
      ['flushall'],
      ['config', 'get', '*'],
      ['acl', 'list'],
      ['eval', "return redis.call('set', 'other', '1')", '0'],
    ]) {
      expect(await single.cli(...as, ...command), command.join(' ')).to.match(/NOPERM|can't access/)
    }
    expect(await single.cli(...as, 'set', 'tasktrail:limits:x', '1', 'px', '1000')).to.equal('OK')
  })
})
