import { parseEnvironment } from '../../../cdk/config/parse.ts'
import { prod } from '../../../cdk/config/prod.ts'
import type { Environment, EnvironmentInput } from '../../../cdk/config/schema.ts'
import { PROD_LOG } from './log-keys.ts'

/** The product's configuration, as it is after the first deployment, with something else in it. */
export const variation = (change: Partial<EnvironmentInput>): Environment =>
  parseEnvironment({ ...prod, deletionProtection: true, log: PROD_LOG, ...change })

const onNodes: Partial<EnvironmentInput> = {
  services: {
    'auth-service': { ...prod.services['auth-service'], launchType: 'ec2' },
    'task-service': { ...prod.services['task-service'], launchType: 'ec2' },
    worker: { ...prod.services.worker, launchType: 'ec2' },
  },
  nodes: { instanceTypes: ['t3.medium', 't3a.medium'], min: 2, max: 20 },
}

const AURORA = {
  engine: 'aurora',
  instanceType: prod.database.instanceType,
  maxConnections: prod.database.maxConnections,
  readers: 2,
} as const

export const VARIANTS = {
  fargate: variation({}),
  ec2: variation(onNodes),
  aurora: variation({ database: AURORA }),
}
