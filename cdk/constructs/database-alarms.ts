import { Duration } from 'aws-cdk-lib'
import { ComparisonOperator, Metric } from 'aws-cdk-lib/aws-cloudwatch'
import type { ITopic } from 'aws-cdk-lib/aws-sns'
import { Construct } from 'constructs'
import { creditsAnHour, memoryOf } from '../config/database-class.ts'
import { databaseIdentifier, type Environment } from '../config/schema.ts'
import { alarm } from './alarm.ts'

export type DatabaseAlarmsProps = {
  readonly topic: ITopic
  readonly database: Environment['database']
}

type Rds = Extract<Environment['database'], { readonly engine: 'rds' }>

const ABOVE = ComparisonOperator.GREATER_THAN_THRESHOLD
const BELOW = ComparisonOperator.LESS_THAN_THRESHOLD
const GIB = 2 ** 30
const QUARTER_OF_AN_HOUR = 3
/** Longer than a new instance, which starts without credits, takes to earn those of an hour. */
const AN_HOUR_AND_MORE = 13

/** Of the primary, whichever server that is. */
export const databaseMetric = (
  database: Environment['database'],
  metricName: string,
  statistic = 'Average',
) =>
  new Metric({
    namespace: 'AWS/RDS',
    metricName,
    dimensionsMap:
      database.engine === 'rds'
        ? { DBInstanceIdentifier: databaseIdentifier(database) }
        : { DBClusterIdentifier: databaseIdentifier(database), Role: 'WRITER' },
    statistic,
    period: Duration.minutes(5),
  })

/** When someone must look at the database. */
export class DatabaseAlarms extends Construct {
  constructor(scope: Construct, id: string, props: DatabaseAlarmsProps) {
    super(scope, id)
    this.#connections(props)
    const { topic, database } = props
    if (database.engine === 'rds') this.#storage(topic, database)
    else this.#localStorage(props)
    this.#memory(props)
    this.#cpu(props)
  }

  #connections({ topic, database }: DatabaseAlarmsProps): void {
    alarm(this, 'Connections', {
      topic,
      alarmName: 'task-mgmt-db-connections',
      says: `More than 80 % of the ${database.maxConnections} database connections are in use.`,
      runbook: 'database-connections',
      metric: databaseMetric(database, 'DatabaseConnections', 'Maximum'),
      comparisonOperator: ABOVE,
      threshold: 0.8 * database.maxConnections,
      evaluationPeriods: 1,
    })
  }

  /**
   * RDS enlarges the storage once less than a tenth is free for five minutes, which helps at once. If it is
   * short for half an hour, it may not grow any further, or has just grown and must wait.
   * Long before its maximum, RDS itself sends a notice (failure-notices.ts).
   */
  #storage(topic: ITopic, database: Rds): void {
    alarm(this, 'Storage', {
      topic,
      alarmName: 'task-mgmt-db-storage',
      says: 'Database storage has been short for 30 minutes: it no longer grows by itself.',
      runbook: 'database-storage',
      metric: databaseMetric(database, 'FreeStorageSpace', 'Minimum'),
      comparisonOperator: BELOW,
      threshold: 0.1 * database.storageGiB * GIB,
      evaluationPeriods: 6,
    })
  }

  /** The data of Aurora lie elsewhere; what a query sorts and what an instance logs do not. */
  #localStorage({ topic, database }: DatabaseAlarmsProps): void {
    alarm(this, 'Storage', {
      topic,
      alarmName: 'task-mgmt-db-storage',
      says: 'Less than 1 GiB of the local storage of the database was free for 30 minutes.',
      runbook: 'database-storage',
      metric: databaseMetric(database, 'FreeLocalStorage', 'Minimum'),
      comparisonOperator: BELOW,
      threshold: GIB,
      evaluationPeriods: 6,
    })
  }

  #memory({ topic, database }: DatabaseAlarmsProps): void {
    const memory = memoryOf(database.instanceType)
    if (memory === undefined) throw new Error(`The memory of ${database.instanceType} is unknown`)
    alarm(this, 'Memory', {
      topic,
      alarmName: 'task-mgmt-db-memory',
      says: 'Less than 5 % of the database memory was free for 15 minutes.',
      runbook: 'database-memory',
      metric: databaseMetric(database, 'FreeableMemory', 'Minimum'),
      comparisonOperator: BELOW,
      threshold: 0.05 * memory,
      evaluationPeriods: QUARTER_OF_AN_HOUR,
    })
    alarm(this, 'Swap', {
      topic,
      alarmName: 'task-mgmt-db-swap',
      says: 'The database had swapped out a quarter of its memory for 15 minutes.',
      runbook: 'database-memory',
      metric: databaseMetric(database, 'SwapUsage', 'Maximum'),
      comparisonOperator: ABOVE,
      threshold: 0.25 * memory,
      evaluationPeriods: QUARTER_OF_AN_HOUR,
    })
  }

  #cpu({ topic, database }: DatabaseAlarmsProps): void {
    alarm(this, 'Cpu', {
      topic,
      alarmName: 'task-mgmt-db-cpu',
      says: 'The CPU of the database was above 80 % for 15 minutes.',
      runbook: 'database-cpu',
      metric: databaseMetric(database, 'CPUUtilization'),
      comparisonOperator: ABOVE,
      threshold: 80,
      evaluationPeriods: QUARTER_OF_AN_HOUR,
    })
    const credits = creditsAnHour(database.instanceType)
    if (credits === undefined) return
    alarm(this, 'Credits', {
      topic,
      alarmName: 'task-mgmt-db-cpu-credits',
      says: 'For more than an hour the database had CPU credits for less than one hour left.',
      runbook: 'database-cpu',
      metric: databaseMetric(database, 'CPUCreditBalance', 'Minimum'),
      comparisonOperator: BELOW,
      threshold: credits,
      evaluationPeriods: AN_HOUR_AND_MORE,
    })
  }
}
