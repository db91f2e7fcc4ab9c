import type { z } from 'zod'
import { SERVICE_NAMES, SERVICES } from '../catalogue.ts'
import { isOfAurora, memoryOf } from './database-class.ts'
import { LOG_RULES } from './log.ts'
import { OWN_VPC_RULES } from './own-vpc.ts'
import { REDIS_RULES } from './redis.ts'
import { type Environment, environmentSchema } from './schema.ts'
import { SUBNET_RULES } from './subnets.ts'

/** An invalid environment; the message names each wrong field and says what it must be. */
export class ConfigError extends Error {}

/** Throws a `ConfigError` that lists everything wrong, before anything is synthesised. */
export function parseEnvironment(input: unknown): Environment {
  const result = environmentSchema.safeParse(input)
  if (!result.success) throw fault(input, result.error.issues.map(describe(input)))
  const contradictions = RULES.map((rule) => rule(result.data)).filter((found) => found !== '')
  if (contradictions.length > 0) throw fault(input, contradictions)
  return result.data
}

/** Names are fixed, so two environments in one account and region would overwrite each other. */
export function parseEnvironments(inputs: readonly unknown[]): readonly Environment[] {
  const environments = inputs.map(parseEnvironment)
  const homes = new Map<string, string>()
  for (const { name, account, region } of environments) {
    const other = homes.get(`${account} ${region}`)
    if (other !== undefined) {
      throw new ConfigError(`${name}: account must differ from that of ${other} in ${region}.`)
    }
    homes.set(`${account} ${region}`, name)
  }
  return environments
}

const fault = (input: unknown, faults: readonly string[]): ConfigError => {
  const { name = 'environment' } = (input ?? {}) as { name?: unknown }
  return new ConfigError(`${String(name)}: ${faults.join('; ')}.`)
}

const describe =
  (input: unknown) =>
  (issue: z.core.$ZodIssue): string => {
    const field = issue.path.join('.') || 'the environment'
    if (issue.code === 'unrecognized_keys') {
      return `${[...issue.path, issue.keys[0]].join('.')} is not a known field`
    }
    const value = issue.path.reduce<unknown>(
      (at, key) => (at as Record<PropertyKey, unknown> | undefined)?.[key],
      input,
    )
    return value === undefined ? `${field} is missing` : `${field} ${issue.message}`
  }

// ------------------------------------------------------------- -------- rules across fields

/** Each returns a fault, or '' if there is none. */
const RULES: readonly ((environment: Environment) => string)[] = [
  ({ name, certificateArn }) =>
    name !== 'dev' && certificateArn === undefined
      ? 'certificateArn is missing: only dev may answer over plain HTTP'
      : '',

  ({ canary, certificateArn }) =>
    canary !== undefined && certificateArn === undefined
      ? 'certificateArn is missing: the canary sends its password only over TLS'
      : '',

  ({ edge, certificateArn }) =>
    edge !== undefined && (edge.domain === undefined) !== (certificateArn === undefined)
      ? 'edge.domain and certificateArn must both be given, or neither: each needs the other'
      : '',

  ({ edge, canary }) =>
    edge?.domain !== undefined && canary !== undefined && canary.url !== `https://${edge.domain}`
      ? 'canary.url must be https:// and edge.domain: nobody can call the load balancer itself'
      : '',

  ({ certificateArn, region }) =>
    certificateArn !== undefined && certificateArn.split(':')[3] !== region
      ? `certificateArn must be a certificate in ${region}`
      : '',

  ({ certificateArn, account }) =>
    certificateArn !== undefined && certificateArn.split(':')[4] !== account
      ? `certificateArn must be a certificate of the account ${account}`
      : '',

  ({ name, mail }) =>
    name !== 'dev' && mail?.publicUrl.startsWith('http:')
      ? 'mail.publicUrl must begin with https: only dev may be called over plain HTTP'
      : '',

  ({ name, corsOrigins }) =>
    name !== 'dev' && corsOrigins.some((origin) => origin.startsWith('http:'))
      ? 'corsOrigins must begin with https: only dev may be called from plain HTTP'
      : '',

  ...SUBNET_RULES.map((rule) => ({ vpc, region }: Environment) => {
    // Those of a lookup are known only when the account has answered.
    return vpc.by === 'attributes' ? rule(vpc, region) : ''
  }),

  ...OWN_VPC_RULES,

  // The pool's keys, and the pool itself, are at addresses of the internet.
  ({ identity, egress }) =>
    identity.by === 'cognito' && egress.via === 'endpoints'
      ? 'egress.via must be nat: auth-service asks Cognito, which has no endpoint here'
      : '',

  ...REDIS_RULES,

  ...LOG_RULES,

  ({ services, nodes }) =>
    Object.values(services).some(({ launchType }) => launchType === 'ec2') && nodes === undefined
      ? 'nodes is missing: a service has the launch type ec2'
      : '',

  ({ nodes }) =>
    nodes !== undefined && nodes.max <= nodes.min
      ? 'nodes.max must be more than nodes.min: an update starts a new machine before an old one stops'
      : '',

  // RDS asks for a larger maximum from 80 % on, and does not grow to one that is only a little larger.
  ({ database }) =>
    database.engine === 'rds' && 0.8 * database.maxStorageGiB <= database.storageGiB
      ? 'database.maxStorageGiB must be more than 1.25 times database.storageGiB'
      : '',

  ({ name, database }) =>
    name !== 'dev' && database.engine === 'rds' && !database.multiAz
      ? 'database.multiAz must be true: only dev may run without a standby'
      : '',

  ({ name, database }) =>
    name !== 'dev' && database.engine === 'aurora' && database.readers === 0
      ? 'database.readers must be at least 1: only dev may run without a standby'
      : '',

  ({ database }) =>
    database.engine === 'aurora' && !isOfAurora(database.instanceType)
      ? 'database.instanceType must be a class that Aurora has: r, or t from medium on'
      : '',

  ({ services, database }) => {
    const wanted = mostConnections(services)
    return wanted > database.maxConnections
      ? `database.maxConnections must be at least ${wanted}: all services with their maximum number of ` +
          'tasks, twice over during a deployment'
      : ''
  },

  ({ database }) => {
    const room = roomForConnections(database.instanceType)
    if (room === undefined) {
      return 'database.instanceType must be of a class t, m or r, whose memory is known, such as t3.micro'
    }
    return database.maxConnections > room
      ? `database.maxConnections must be at most ${room} on ${database.instanceType}: each connection ` +
          'takes memory'
      : ''
  },
]

const BYTES_A_CONNECTION = 9_531_392

/** What RDS itself would allow: LEAST({DBInstanceClassMemory/9531392}, 5000). */
function roomForConnections(instanceType: string): number | undefined {
  const bytes = memoryOf(instanceType)
  return bytes && Math.min(5_000, Math.floor(bytes / BYTES_A_CONNECTION))
}

// Migrations, monitoring and an operator.
const RESERVED_CONNECTIONS = 10

/** How many connections the services may open when fully scaled out and being deployed. */
const mostConnections = (services: Environment['services']): number =>
  SERVICE_NAMES.reduce((sum, name) => {
    const { sessions, maxTasks } = SERVICES[name]
    return sum + 2 * maxTasks * (services[name].poolMax + sessions)
  }, RESERVED_CONNECTIONS)
