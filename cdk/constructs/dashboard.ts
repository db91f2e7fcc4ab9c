import { Duration, Stack } from 'aws-cdk-lib'
import {
  Dashboard,
  GraphWidget,
  type IMetric,
  type IWidget,
  SingleValueWidget,
} from 'aws-cdk-lib/aws-cloudwatch'
import {
  HttpCodeElb,
  HttpCodeTarget,
  type IApplicationLoadBalancer,
} from 'aws-cdk-lib/aws-elasticloadbalancingv2'
import type { Construct } from 'constructs'
import { HTTP_SERVICE_NAMES, SERVICE_NAMES, type ServiceName } from '../catalogue.ts'
import type { Environment, RedisConfig } from '../config/schema.ts'
import { dashboardName } from '../names.ts'
import { canaryMetrics } from './canary.ts'
import { databaseMetric } from './database-alarms.ts'
import { edgeMetrics } from './edge-alarms.ts'
import { photoMetric } from './photo-alarms.ts'
import { redisCpu, redisMetric } from './redis-alarms.ts'
import { ecsMetric, insight, serviceMetrics } from './service-metrics.ts'
import { workerMetrics } from './worker-metrics.ts'

export type DashboardProps = {
  readonly loadBalancer: IApplicationLoadBalancer
  readonly database: Environment['database']
  /** Of the photos. @default - none */
  readonly bucketName: string | undefined
  /** @default - none */
  readonly redis: RedisConfig | undefined
  /** Whether there is a canary. */
  readonly canary: boolean
  /** Whether there is an API Gateway. */
  readonly edge: boolean
}

/** First the six widgets of the guide, in its order; then what one looks for next. */
export function dashboard(scope: Construct, props: DashboardProps): Dashboard {
  const { loadBalancer, database, canary, edge, bucketName, redis } = props
  const { metrics } = loadBalancer
  return new Dashboard(scope, 'Dashboard', {
    dashboardName: dashboardName(Stack.of(scope).region),
    defaultInterval: Duration.hours(3),
    widgets: [
      [
        graph('ALB Request Count', [metrics.requestCount()]),
        graph(
          'Target Response Time',
          percentiles((p) => metrics.targetResponseTime({ statistic: p })),
        ),
      ],
      [
        graph(
          'ECS CPU Utilization',
          each(SERVICE_NAMES, (name) => ecsMetric(name, 'CPUUtilization')),
        ),
        graph(
          'ECS Memory Utilization',
          each(SERVICE_NAMES, (name) => ecsMetric(name, 'MemoryUtilization')),
        ),
      ],
      [
        number('RDS Connections', [databaseMetric(database, 'DatabaseConnections', 'Maximum')]),
        // AWS/ECS has no RunningTasksCount, though the original guide uses it.
        number(
          'Running Tasks',
          each(SERVICE_NAMES, (name) => insight(name, 'RunningTaskCount')),
        ),
      ],
      [
        graph(
          'Requests of each service',
          each(HTTP_SERVICE_NAMES, (name) => serviceMetrics(name).requests),
        ),
        graph(
          'Errors of each service, %',
          each(HTTP_SERVICE_NAMES, (name) => serviceMetrics(name).errorRate),
        ),
      ],
      ...HTTP_SERVICE_NAMES.map((name) => [
        graph(
          `Response time of ${name}, ms`,
          percentiles((p) => serviceMetrics(name).responseTime(p)),
        ),
        tasksOf(name),
      ]),
      [
        graph('Audit trail: lag, s, parked streams, drift', [
          workerMetrics.auditLag,
          workerMetrics.parkedStreams,
          workerMetrics.drift,
        ]),
        tasksOf('worker'),
      ],
      [
        graph('5XX of load balancer and targets', [
          metrics.httpCodeElb(HttpCodeElb.ELB_5XX_COUNT),
          metrics.httpCodeTarget(HttpCodeTarget.TARGET_5XX_COUNT),
        ]),
        graph('Database: CPU, %, and latency, s', [
          databaseMetric(database, 'CPUUtilization'),
          databaseMetric(database, 'ReadLatency'),
          databaseMetric(database, 'WriteLatency'),
        ]),
      ],
      ...(edge ? edgeWidgets() : []),
      ...photoWidgets(bucketName),
      ...redisWidgets(redis),
      ...(canary
        ? [
            [
              graph('Canary: visits, failures', [canaryMetrics.visits, canaryMetrics.failures]),
              graph('Canary: duration, ms', [canaryMetrics.duration]),
            ],
          ]
        : []),
    ],
  })
}

const edgeWidgets = (): IWidget[][] => [
  [
    graph('Edge: requests, 4XX, 5XX', [
      edgeMetrics.requests,
      edgeMetrics.clientErrors,
      edgeMetrics.serverErrors,
    ]),
    graph(
      'Edge: until the load balancer answers, ms',
      percentiles((p) => edgeMetrics.latency(p)),
    ),
  ],
  [
    graph('Edge: throttled', [edgeMetrics.throttled]),
    graph('Edge: authorizer, calls, errors, throttles', [
      edgeMetrics.authorizer('Invocations'),
      edgeMetrics.authorizer('Errors'),
      edgeMetrics.authorizer('Throttles'),
    ]),
  ],
]

const photoWidgets = (bucketName: string | undefined): IWidget[][] =>
  bucketName === undefined
    ? []
    : [
        [
          graph(
            'Photos: requests, refused, failed',
            ['AllRequests', '4xxErrors', '5xxErrors'].map((name) => photoMetric(bucketName, name)),
          ),
          graph(
            'Photos: bytes up and down',
            ['BytesUploaded', 'BytesDownloaded'].map((name) => photoMetric(bucketName, name)),
          ),
        ],
      ]

const redisWidgets = (redis: RedisConfig | undefined): IWidget[][] =>
  redis === undefined
    ? []
    : [
        [
          graph('Redis: memory, CPU, %, of the fullest node', [
            redisMetric(redis, 'DatabaseMemoryUsagePercentage'),
            redisMetric(redis, redisCpu(redis), 'Average'),
          ]),
          graph('Redis: connections, evictions', [
            redisMetric(redis, 'CurrConnections'),
            redisMetric(redis, 'Evictions', 'Sum'),
          ]),
        ],
      ]

const tasksOf = (name: ServiceName): IWidget =>
  graph(`Tasks of ${name}: running, desired`, [
    insight(name, 'RunningTaskCount').with({ label: 'running' }),
    insight(name, 'DesiredTaskCount').with({ label: 'desired' }),
  ])

const each = <Name extends ServiceName>(
  names: readonly Name[],
  metric: (name: Name) => Labelled,
): IMetric[] => names.map((label) => metric(label).with({ label }))

type Labelled = { with(props: object): IMetric }

const percentiles = (metric: (statistic: string) => Labelled): IMetric[] =>
  ['p50', 'p95', 'p99'].map((label) => metric(label).with({ label }))

const graph = (title: string, left: IMetric[]): IWidget =>
  new GraphWidget({ title, left, width: 12, height: 6 })

const number = (title: string, metrics: IMetric[]): IWidget =>
  new SingleValueWidget({ title, metrics, width: 12, height: 4 })
