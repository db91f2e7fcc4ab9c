import { expect } from 'chai'
import { dev } from '../../cdk/config/dev.ts'
import { parseEnvironment } from '../../cdk/config/parse.ts'
import { fences, literals, marked, markedJson, prose, read, rows, section } from './markdown.ts'
import { type Resource, type Templates, templatesOf } from './templates.ts'

const guide = read('docs/implementation-guide.md')
const ACCOUNT = '123456789012'
const IMAGES = ['auth-service', 'task-service', 'worker', 'migration'] as const
const FAMILIES = [...IMAGES, 'rebuild'] as const

/** Where each service is made. */
const STEPS = {
  'auth-service': '### 5.3 auth-service',
  'task-service': '### 5.4 task-service',
  worker: '### 5.5 worker',
}

const json = (mark: string) => markedJson(guide, mark)
const table = (mark: string) => rows(marked(guide, mark))

/** The guide says that it leaves out the witness, photos and Redis. */
const isOfGuide = (text: unknown): boolean => !/witness|redis/.test(JSON.stringify(text))

describe('The console guide and cdk/ agree on', () => {
  let templates: Templates
  const all = (type: string) => templates.ofType(type).map((resource) => templates.plain(resource))
  const byName = (type: string, key: string) =>
    Object.fromEntries(all(type).map((props) => [props[key], props]))

  before(async () => {
    templates = await templatesOf({
      ...parseEnvironment({ ...dev, photos: undefined, redis: undefined }),
      account: ACCOUNT,
      deletionProtection: true,
    })
  })

  // ----------------------------------------------------------------------------------- foundation

  it('every security group rule, in both directions', () => {
    const ours = table('security group rules').map(([group = '', direction, port, peer = '']) =>
      [literals(group)[0], direction, port, literals(peer)[0]].join(' '),
    )
    expect(ours).to.have.members(securityGroupRules(templates).filter(isOfGuide))
  })

  it("the key's policy", () => {
    const [key] = all('AWS::KMS::Key')
    const theirs: Policy['Statement'] = key.KeyPolicy.Statement
    // What the library adds without a name says again what the account's own statement allows.
    const named = theirs.filter(({ Sid }) => Sid !== undefined)
    const ours: Policy['Statement'] = json('policy of the key').Statement
    const [account, ...rest] = ours
    expect(account?.Principal).to.deep.equal({ AWS: `arn:aws:iam::${ACCOUNT}:root` })
    expect(rest.map(comparable)).to.have.deep.members(named.map(comparable))
  })

  it('the execution roles: who trusts them, and which secrets they read and decrypt', () => {
    const roles = byName('AWS::IAM::Role', 'RoleName')
    for (const family of FAMILIES) {
      const name = `task-mgmt-${family}-execution`
      expect(guide).to.include(`| \`${name}\` |`)
      const [trust] = roles[name].AssumeRolePolicyDocument.Statement
      expect(json('trust policy').Statement[0]).to.deep.equal(trust)
      const theirs = all('AWS::IAM::Policy').find(({ Roles }) => Roles.includes(name))
      const ours = json(`policy of ${family}`)
      expect(secretsIn(ours)).to.deep.equal(secretsIn(theirs.PolicyDocument))
      const others = (policy: Policy) =>
        actions(policy).filter((action) => !/^secrets/.test(action))
      expect(others(ours)).to.have.members(others(theirs.PolicyDocument))
    }
  })

  // ---------------------------------------------------------------------------------------- data

  it('the secrets and their keys', () => {
    const ours = table('secrets').map(([name = '', keys = '']) => [
      literals(name)[0],
      literals(keys).filter((text) => /^(secret|username|password)$/.test(text)),
    ])
    const theirs = all('AWS::SecretsManager::Secret')
      .map(({ Name, GenerateSecretString }) => {
        const template = Object.keys(JSON.parse(GenerateSecretString.SecretStringTemplate))
        return [Name, [...template, GenerateSecretString.GenerateStringKey]]
      })
      .filter(isOfGuide)
    expect(ours).to.have.deep.members(theirs)
  })

  it('the database', () => {
    const [database] = all('AWS::RDS::DBInstance')
    const ours = Object.fromEntries(
      table('database').map(([field = '', value = '']) => [field, value]),
    )
    const said: Readonly<Record<string, string>> = {
      identifier: `\`${database.DBInstanceIdentifier}\``,
      'master username': `\`${database.MasterUsername}\``,
      'instance class': `\`${database.DBInstanceClass}\``,
      storage: `${database.StorageType}, ${database.AllocatedStorage} GiB, autoscaling up to ${database.MaxAllocatedStorage} GiB`,
      'certificate authority': `\`${database.CACertificateIdentifier}\``,
      port: database.Port,
      'enhanced monitoring': `${database.MonitoringInterval} seconds`,
      'initial database name': `\`${database.DBName}\``,
      'deletion protection': database.DeletionProtection ? 'enabled' : 'disabled',
      'public access': database.PubliclyAccessible ? 'Yes' : 'No',
    }
    for (const [field, value] of Object.entries(said)) expect(ours[field], field).to.equal(value)
    expect(ours.engine).to.include(`\`${database.EngineVersion}.x\``)
    expect(ours.backups).to.include(`${database.BackupRetentionPeriod} days, window 04:00`)
    expect(database.PreferredBackupWindow).to.match(/^04:00/)
    expect(ours.maintenance).to.include('Sunday 05:00')
    expect(database.PreferredMaintenanceWindow).to.match(/^Sun:05:00/)
    const [parameters] = all('AWS::RDS::DBParameterGroup')
    expect(guide).to.include(`family \`${parameters.Family}\``)
    for (const [name, value] of Object.entries(parameters.Parameters)) {
      expect(guide).to.include(`| \`${name}\` | \`${value}\` |`)
    }
  })

  it('every log group, for 30 days', () => {
    const theirs = all('AWS::Logs::LogGroup').filter(
      ({ LogGroupName }) => !LogGroupName.includes('lambda') && isOfGuide(LogGroupName),
    )
    const rowsOfTasks = table('log groups').map(([name = '', days]) => [literals(name)[0], days])
    expect(rowsOfTasks).to.have.deep.members(
      theirs
        .map((group) => [group.LogGroupName, `${group.RetentionInDays} days`])
        .filter(([name]) => name.startsWith('/ecs/')),
    )
    const paragraphs = prose(guide).split('\n\n')
    for (const { LogGroupName, RetentionInDays } of theirs) {
      expect(RetentionInDays).to.equal(30)
      const said = paragraphs.some(
        (text) => text.includes(`\`${LogGroupName}\``) && text.includes(`${RetentionInDays} days`),
      )
      expect(said, LogGroupName).to.equal(true)
    }
  })

  it('the repositories and what they keep', () => {
    for (const props of all('AWS::ECR::Repository').filter(({ RepositoryName }) =>
      isOfGuide(RepositoryName),
    )) {
      expect(IMAGES).to.include(props.RepositoryName)
      expect(props.ImageTagMutability).to.equal('IMMUTABLE')
      const kept = JSON.parse(props.LifecyclePolicy.LifecyclePolicyText)
      expect(json('lifecycle policy')).to.deep.equal(kept)
    }
  })

  // ------------------------------------------------------------------------------------ services

  for (const family of FAMILIES) {
    it(`the task definition of ${family}`, () => {
      const theirs = byName('AWS::ECS::TaskDefinition', 'Family')[`${family}-task`]
      const ours = json(`task definition of ${family}`)
      const [container] = ours.containerDefinitions
      const [their] = theirs.ContainerDefinitions
      expect(ours.family).to.equal(theirs.Family)
      expect([ours.cpu, ours.memory, ours.networkMode]).to.deep.equal([
        theirs.Cpu,
        theirs.Memory,
        theirs.NetworkMode,
      ])
      expect(ours.requiresCompatibilities).to.have.members(theirs.RequiresCompatibilities)
      expect(upper(ours.runtimePlatform)).to.deep.equal(theirs.RuntimePlatform)
      expect(pairs(container.environment, 'value')).to.deep.equal(pairs(their.Environment, 'Value'))
      expect(pairs(container.secrets, 'valueFrom')).to.deep.equal(pairs(their.Secrets, 'ValueFrom'))
      for (const key of ['name', 'user', 'privileged', 'readonlyRootFilesystem', 'stopTimeout']) {
        expect(container[key], key).to.equal(their[key.charAt(0).toUpperCase() + key.slice(1)])
      }
      expect(container.entryPoint).to.deep.equal(their.EntryPoint)
      expect(container.command).to.deep.equal(their.Command)
      expect(upper(container.linuxParameters)).to.deep.equal(their.LinuxParameters)
      expect(upper(container.healthCheck)).to.deep.equal(their.HealthCheck)
      expect(upper(container.portMappings)).to.deep.equal(their.PortMappings)
      expect(container.logConfiguration.options).to.deep.equal(their.LogConfiguration.Options)
    })
  }

  it('the services', () => {
    const first = Object.fromEntries(
      table('service').map(([field = '', value = '']) => [field, value]),
    )
    const attached = Object.fromEntries(
      table('attached services').map(([field = '', ...cells]) => [field, cells]),
    )
    const alarms = literals(section(guide, '### 7.6 Rollback by alarm'))
    for (const props of all('AWS::ECS::Service').filter(({ ServiceName }) =>
      isOfGuide(ServiceName),
    )) {
      const { ServiceName: name, DeploymentConfiguration: rollout } = props
      const { MinimumHealthyPercent: least, MaximumPercent: most } = rollout
      expect(first.deployment).to.equal(`rolling, minimum ${least} %, maximum ${most} %`)
      const { Enable, Rollback } = rollout.DeploymentCircuitBreaker
      expect([Enable, Rollback]).to.deep.equal([true, true])
      expect(first['deployment failure detection']).to.equal('circuit breaker, with rollback')
      const [{ CapacityProvider: provider, Weight: weight }] = props.CapacityProviderStrategy
      expect(first.compute).to.include(`\`${provider}\` weight ${weight}`)
      const { AssignPublicIp, SecurityGroups } = props.NetworkConfiguration.AwsvpcConfiguration
      expect([AssignPublicIp, first['public IP']]).to.deep.equal(['DISABLED', 'off'])
      expect(SecurityGroups).to.have.lengthOf(1)
      const step = section(guide, STEPS[name as keyof typeof STEPS]).replaceAll('\n', ' ')
      expect(step).to.include(`\`${SecurityGroups[0]}\` only`)
      expect(step).to.include(`\`${name}-task\``)
      if (name === 'worker') {
        expect(step).to.include(`\`worker-task\`, ${props.DesiredCount} desired tasks`)
        continue
      }
      const column = ['auth-service', 'task-service'].indexOf(name)
      const [{ ContainerName, ContainerPort, TargetGroupArn }] = props.LoadBalancers
      expect(attached.container?.[column]).to.include(`\`${ContainerName}\` ${ContainerPort}:`)
      expect(attached['target group']?.[column]).to.equal(`\`${TargetGroupArn}\``)
      expect(attached['health check grace period']?.[column]).to.equal(
        `${props.HealthCheckGracePeriodSeconds} seconds`,
      )
      expect(alarms).to.include.members(
        rollout.Alarms.AlarmNames.map((alarm: string) => alarm.replace(name, '…')),
      )
    }
    const [{ Name, DnsConfig }] = all('AWS::ServiceDiscovery::Service').filter(isOfGuide)
    const [{ TTL, Type }] = DnsConfig.DnsRecords
    expect(first['service discovery']).to.include(
      `service \`${Name}\`, record type ${Type}, TTL ${TTL}`,
    )
  })

  // ------------------------------------------------------------------------------- load balancer

  it('the rules of the listener', () => {
    const theirs = all('AWS::ElasticLoadBalancingV2::ListenerRule').map(
      ({ Priority, Conditions: [condition], Actions: [action] }) => {
        const to = action.FixedResponseConfig
          ? `fixed response ${action.FixedResponseConfig.StatusCode}`
          : `forward to \`${action.TargetGroupArn}\``
        return [String(Priority), condition.PathPatternConfig.Values, to]
      },
    )
    const ours = table('listener rules').map(([priority, paths = '', to]) => [
      priority,
      literals(paths),
      to,
    ])
    expect(ours).to.have.deep.members(theirs)
  })

  it('the bodies of its own answers', () => {
    const bodies = fences(guide)
      .filter(({ language }) => language === 'json')
      .map(({ code }) => JSON.stringify(JSON.parse(code)))
    const answers = [
      ...all('AWS::ElasticLoadBalancingV2::ListenerRule').flatMap(({ Actions }) => Actions),
      ...all('AWS::ElasticLoadBalancingV2::Listener').flatMap(
        ({ DefaultActions }) => DefaultActions,
      ),
    ].flatMap(({ FixedResponseConfig }) => FixedResponseConfig?.MessageBody ?? [])
    expect(answers).to.have.lengthOf(2)
    expect(bodies).to.include.members(answers)
  })

  it('the target groups', () => {
    const ours = table('target groups')
    const row = (field: string) => ours.find(([name]) => name === field) ?? []
    for (const [column, service] of ['auth-service', 'task-service'].entries()) {
      const props = byName('AWS::ElasticLoadBalancingV2::TargetGroup', 'Name')[`${service}-tg`]
      const cell = (field: string) => row(field)[column + 1]
      expect(cell('protocol, port')).to.equal(`${props.Protocol}, ${props.Port}`)
      expect(cell('protocol version')).to.equal(props.ProtocolVersion)
      expect(cell('health check path')).to.equal(`\`${props.HealthCheckPath}\``)
      expect(cell('interval, timeout')).to.equal(
        `${props.HealthCheckIntervalSeconds} seconds, ${props.HealthCheckTimeoutSeconds} seconds`,
      )
      expect(cell('healthy, unhealthy threshold')).to.equal(
        `${props.HealthyThresholdCount}, ${props.UnhealthyThresholdCount}`,
      )
      expect(cell('success codes')).to.equal(props.Matcher.HttpCode)
      const delay = props.TargetGroupAttributes.find(
        ({ Key }: { Key: string }) => Key === 'deregistration_delay.timeout_seconds',
      )
      expect(cell('deregistration delay')).to.equal(`${delay.Value} seconds`)
    }
  })

  // ---------------------------------------------------------------------- scaling and monitoring

  it('the scaling', () => {
    const ours = Object.fromEntries(
      table('step scaling').map(([field = '', ...cells]) => [field, cells]),
    )
    const policies = byName('AWS::ApplicationAutoScaling::ScalingPolicy', 'PolicyName')
    const alarms = byName('AWS::CloudWatch::Alarm', 'AlarmName')
    for (const [column, way] of ['out', 'in'].entries()) {
      const cell = (field: string) => ours[field]?.[column]
      for (const name of literals(cell('policy and alarm name') ?? '')) {
        expect(name).to.match(RegExp(`-scale-${way}$`))
        const { Cooldown, StepAdjustments } = policies[name].StepScalingPolicyConfiguration
        const [{ ScalingAdjustment: change }] = StepAdjustments
        const alarm = alarms[name]
        const word = alarm.ComparisonOperator === 'GreaterThanThreshold' ? 'greater' : 'lower'
        expect(cell('condition')).to.equal(`${word} than ${alarm.Threshold}`)
        const { Period, DatapointsToAlarm: some, EvaluationPeriods: every } = alarm
        expect(cell('period, datapoints')).to.equal(`${Period} seconds, ${some} of ${every}`)
        expect(cell('adjustment')).to.equal(
          `${change > 0 ? 'add' : 'remove'} ${Math.abs(change)} task`,
        )
        expect(cell('cooldown')).to.equal(`${Cooldown} seconds`)
        expect(cell('missing data')).to.match(RegExp(`^${alarm.TreatMissingData}`))
      }
    }
    for (const target of all('AWS::ApplicationAutoScaling::ScalableTarget')) {
      expect(ours.bounds).to.deep.equal([
        `at most ${target.MaxCapacity} tasks`,
        `at least ${target.MinCapacity} tasks`,
      ])
    }
  })

  it('the metric filters', () => {
    const bare = (pattern: string) => pattern.replace(/[()\s]/g, '')
    const ours = [...table('metric filters'), ...table('metric filters of the worker')].map(
      ([metric = '', pattern = '', value = '', unit]) => [
        literals(metric)[0],
        bare(literals(pattern)[0] ?? ''),
        literals(value)[0],
        unit,
      ],
    )
    for (const { FilterPattern, LogGroupName, MetricTransformations } of all(
      'AWS::Logs::MetricFilter',
    )) {
      const [{ MetricName, MetricValue, Unit, MetricNamespace }] = MetricTransformations
      expect(MetricNamespace).to.equal('TaskManagement')
      if (LogGroupName.startsWith('/ecs/')) {
        expect(ours).to.deep.include([MetricName, bare(FilterPattern), MetricValue, Unit])
      } else {
        expect(guide.split('\n').map(bare)).to.include(bare(FilterPattern))
      }
    }
  })

  it('the alarms', () => {
    const theirs = all('AWS::CloudWatch::Alarm').filter(
      ({ AlarmName }) => !/-scale-/.test(AlarmName),
    )
    const ours = table('alarms').flatMap(([names = '', ...cells]) =>
      literals(names).map((name) => [name, ...cells] as const),
    )
    expect(ours.map(([name]) => name)).to.have.members(theirs.map(({ AlarmName }) => AlarmName))
    for (const alarm of theirs) {
      const [, metric, condition, periods, runbook] =
        ours.find(([name]) => name === alarm.AlarmName) ?? []
      const sign = alarm.ComparisonOperator === 'LessThanThreshold' ? '<' : '>'
      expect(condition, alarm.AlarmName).to.equal(`${sign} ${alarm.Threshold}`)
      const seconds = Math.max(alarm.Period ?? 0, ...(alarm.Metrics ?? []).map(periodOf))
      const unit = seconds === 60 ? '1 minute' : `${seconds / 60} minutes`
      expect(periods, alarm.AlarmName).to.equal(`${alarm.EvaluationPeriods} of ${unit}`)
      expect(alarm.AlarmDescription).to.include(`docs/runbooks/${literals(runbook ?? '')[0]}.md`)
      const silence = /missing data: \*breaching\*/.test(metric ?? '')
        ? 'breaching'
        : 'notBreaching'
      expect(alarm.TreatMissingData, alarm.AlarmName).to.equal(silence)
    }
  })

  it('the events that are kept', () => {
    const patterns = fences(guide)
      .filter(({ language, code }) => language === 'json' && code.includes('"detail-type"'))
      .map(({ code }) => JSON.parse(code))
    const theirs = all('AWS::Events::Rule')
      .map(({ EventPattern }) => EventPattern)
      // Machines of our own, which the guide has as an option only.
      .filter(({ source }) => source[0] !== 'aws.autoscaling')
      .map((pattern) => JSON.parse(JSON.stringify(pattern)))
    expect(patterns).to.have.deep.members(theirs)
  })

  it('who may send to the topic', () => {
    const [policy] = all('AWS::SNS::TopicPolicy')
    const effects = ({ Statement }: Policy) =>
      Statement.map(({ Effect, Action, Principal, Condition }) => ({
        Effect,
        Action,
        Principal,
        Condition,
      }))
    expect(effects(json('policy of the topic'))).to.have.deep.members(
      effects(policy.PolicyDocument),
    )
  })

  it('the dashboard', () => {
    const [dashboard] = templates.ofType('AWS::CloudWatch::Dashboard')
    const body = JSON.stringify(dashboard?.props.DashboardBody)
    const ours = table('dashboard').map(([title = '']) => title)
    const titles = [...body.matchAll(/\\"title\\":\\"(.*?)\\"/g)].map(([, title = '']) => title)
    expect(ours).to.deep.equal(titles)
    for (const name of literals(marked(guide, 'dashboard')))
      expect(body).to.include(name.split(' ')[0])
  })
})

// ------------------------------------------------------------------------- reading the templates

type Policy = {
  readonly Statement: readonly {
    readonly Sid?: string
    readonly Effect: string
    readonly Action: string | readonly string[]
    readonly Principal?: unknown
    readonly Resource: string | readonly string[]
    readonly Condition?: { readonly StringEquals: Record<string, readonly string[]> }
  }[]
}

/** With actions in order, and without the log groups of what the guide does without. */
const comparable = ({ Action, ...statement }: Policy['Statement'][number]) => {
  const text = JSON.stringify({ ...statement, Action: [Action].flat().sort() })
  const left = /:log-group:(\/aws\/(lambda|elasticache|apigateway)\/|API-Gateway-)/
  return JSON.parse(text, (_key, value) =>
    Array.isArray(value) ? value.filter((arn) => !left.test(arn)) : value,
  )
}
const actions = ({ Statement }: Policy) => Statement.flatMap(({ Action }) => Action)

/** The names of the secrets that a policy lets read, and of those that it lets decrypt. */
function secretsIn({ Statement }: Policy) {
  const about = (action: string) => Statement.find(({ Action }) => [Action].flat().includes(action))
  const decrypt = about('kms:Decrypt')?.Condition?.StringEquals
  return {
    read: names(about('secretsmanager:GetSecretValue')?.Resource),
    decrypt: names(decrypt?.['kms:EncryptionContext:SecretARN']),
    via: decrypt?.['kms:ViaService'],
  }
}
const names = (arns: string | readonly string[] = []) => [arns].flat().map(secretName).sort()

/** Of an ARN with its six random characters, or of what a template says in its place. */
const secretName = (text: string): string =>
  text
    .replace(/^arn:.*:secret:(.*)-AbCdEf/, '$1')
    .replace(/^rds!db-[0-9a-f-]{36}/, 'administrator')
    .replace('task-mgmt-db.MasterUserSecret.SecretArn', 'administrator')

const pairs = (list: readonly Record<string, string>[], key: string) =>
  Object.fromEntries(
    list.map((item) => {
      const value = item[key] ?? ''
      const shown = /Endpoint\.Address$|\.rds\.amazonaws\.com$/.test(value) ? 'the endpoint' : value
      return [item.name ?? item.Name, secretName(shown)]
    }),
  )

/** With the keys as CloudFormation writes them. */
function upper(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(upper)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      key.charAt(0).toUpperCase() + key.slice(1),
      upper(item),
    ]),
  )
}

const periodOf = (metric: { MetricStat?: { Period: number } }): number =>
  metric.MetricStat?.Period ?? 0

/** `task-mgmt-alb-sg in 443 0.0.0.0/0`. */
function securityGroupRules({ ofType, plain }: Templates): readonly string[] {
  const rule = (group: string, way: string, { FromPort, ...peer }: Record<string, string>) =>
    [
      group,
      way,
      FromPort,
      peer.CidrIp ?? peer.SourceSecurityGroupId ?? peer.DestinationSecurityGroupId,
    ].join(' ')
  const inline = ofType('AWS::EC2::SecurityGroup').flatMap((resource: Resource) => {
    const { GroupName, SecurityGroupIngress = [], SecurityGroupEgress = [] } = plain(resource)
    return [
      ...SecurityGroupIngress.map((one: Record<string, string>) => rule(GroupName, 'in', one)),
      // A group without a rule gets one that leads nowhere.
      ...SecurityGroupEgress.filter(({ CidrIp }: { CidrIp: string }) => !/^255/.test(CidrIp)).map(
        (one: Record<string, string>) => rule(GroupName, 'out', one),
      ),
    ]
  })
  const apart = (way: string) => (resource: Resource) => {
    const { GroupId, ...one } = plain(resource)
    return rule(GroupId, way, one)
  }
  return [
    ...inline,
    ...ofType('AWS::EC2::SecurityGroupIngress').map(apart('in')),
    ...ofType('AWS::EC2::SecurityGroupEgress').map(apart('out')),
  ]
}
