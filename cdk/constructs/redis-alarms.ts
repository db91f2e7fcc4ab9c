import { Duration } from 'aws-cdk-lib'
import { ComparisonOperator, MathExpression, Metric } from 'aws-cdk-lib/aws-cloudwatch'
import { FilterPattern, type ILogGroup, MetricFilter } from 'aws-cdk-lib/aws-logs'
import type { ITopic } from 'aws-cdk-lib/aws-sns'
import { Construct } from 'constructs'
import { MAX_TASKS } from '../catalogue.ts'
import { redisNodes } from '../config/redis.ts'
import type { RedisConfig } from '../config/schema.ts'
import { METRICS } from '../names.ts'
import { type AlarmToTopic, alarm } from './alarm.ts'

export type RedisAlarmsProps = {
  readonly topic: ITopic
  readonly redis: RedisConfig
  /** Of the services that count there. */
  readonly logs: readonly ILogGroup[]
}

const FIVE_MINUTES = Duration.minutes(5)
const QUARTER_OF_AN_HOUR = 3
const OURS = 'RedisAway'
/** Both services, scaled out and being deployed; each task has one, and for a moment a second one. */
const MOST_CONNECTIONS = 2 * 2 * 2 * MAX_TASKS

/** Of the node where it is highest: each has its own metrics. */
export function redisMetric(redis: RedisConfig, metricName: string, statistic = 'Maximum') {
  const nodes = redisNodes(redis).map((CacheClusterId, index) => [
    `${metricName[0]?.toLowerCase()}${metricName.slice(1)}${index + 1}`,
    new Metric({
      namespace: 'AWS/ElastiCache',
      metricName,
      dimensionsMap: { CacheClusterId, CacheNodeId: '0001' },
      statistic,
      period: FIVE_MINUTES,
    }),
  ])
  return new MathExpression({
    expression: `MAX([${nodes.map(([id]) => id).join(', ')}])`,
    usingMetrics: Object.fromEntries(nodes),
    label: metricName,
    period: FIVE_MINUTES,
  })
}

/**
 * What is busy first. With one or two cores, what the machine itself does takes those of the engine; with more,
 * the one thread that answers is full long before the machine is.
 */
export const redisCpu = ({ nodeType }: RedisConfig): string =>
  /\.(micro|small|medium|large)$/.test(nodeType) ? 'CPUUtilization' : 'EngineCPUUtilization'

/** When someone must look at Redis. Meanwhile each task counts for itself, and nobody waits. */
export class RedisAlarms extends Construct {
  constructor(scope: Construct, id: string, props: RedisAlarmsProps) {
    super(scope, id)
    const { topic, redis, logs } = props
    const rings = (what: string, more: Omit<AlarmToTopic, keyof typeof common | 'alarmName'>) =>
      alarm(this, what, { ...common, alarmName: `task-mgmt-redis-${what}`, ...more })
    const common = {
      topic,
      runbook: 'redis-busy',
      comparisonOperator: ComparisonOperator.GREATER_THAN_THRESHOLD,
    }
    rings('memory', {
      says: 'More than 80 % of the memory of a Redis node was in use for 15 minutes.',
      metric: redisMetric(redis, 'DatabaseMemoryUsagePercentage'),
      threshold: 80,
      evaluationPeriods: QUARTER_OF_AN_HOUR,
    })
    rings('evictions', {
      says: 'Redis forgot counters for 15 minutes, because its memory was full.',
      metric: redisMetric(redis, 'Evictions', 'Sum'),
      threshold: 0,
      evaluationPeriods: QUARTER_OF_AN_HOUR,
    })
    rings('connections', {
      says: `A Redis node had more than ${MOST_CONNECTIONS} connections, which all our tasks cannot need.`,
      metric: redisMetric(redis, 'CurrConnections'),
      threshold: MOST_CONNECTIONS,
      evaluationPeriods: 1,
    })
    rings('cpu', {
      says: 'The CPU of a Redis node was above 80 % for 15 minutes.',
      metric: redisMetric(redis, redisCpu(redis), 'Average'),
      threshold: 80,
      evaluationPeriods: QUARTER_OF_AN_HOUR,
    })
    alarm(this, 'away', {
      ...common,
      runbook: 'redis-away',
      alarmName: 'task-mgmt-redis-away',
      says: 'A task gave Redis up, and counted requests for itself.',
      metric: this.#away(logs),
      threshold: 0,
      evaluationPeriods: 1,
    })
  }

  /** A line of src/infra/counters/redis-link.ts, once an outage from each process. */
  #away(logs: readonly ILogGroup[]): Metric {
    const filters = logs.map(
      (logGroup, index) =>
        new MetricFilter(this, `${OURS}${index + 1}`, {
          logGroup,
          metricNamespace: METRICS,
          metricName: OURS,
          filterPattern: FilterPattern.stringValue('$.msg', '=', 'Redis is away: *'),
          metricValue: '1',
          defaultValue: 0,
        }),
    )
    const [first] = filters as [MetricFilter, ...MetricFilter[]]
    return first.metric({ statistic: 'Sum', period: FIVE_MINUTES })
  }
}
