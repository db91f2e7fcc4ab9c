// The names that docs/implementation-guide.md uses in the console too. They are fixed, so an
// account holds one environment a region; config/parse.ts refuses a second one.

export const CLUSTER = 'task-management-cluster'
export const NAMESPACE = 'task-management.local'
export const LOAD_BALANCER = 'task-mgmt-alb'
export const DATABASE = 'taskmanagement'
/** Of the first database; one that was restored has a name of its own beginning like this. */
export const DATABASE_INSTANCE = 'task-mgmt-db'
export const DATABASE_ADMIN = 'dbadmin'
export const METRICS = 'TaskManagement'
export const KEY_ALIAS = 'alias/task-mgmt'
export const ALARM_TOPIC = 'task-mgmt-alarms'

// Parameters in SSM, which a deployment of the services reads anew: what a restore replaces. An export
// could not change while it is in use.
export const DATABASE_ADDRESS = '/task-mgmt/database/address'
export const DATABASE_ADMIN_SECRET = '/task-mgmt/database/administrator-secret'

/** Where tasks run on machines of our own; Fargate's capacity provider has a name of its own. */
export const NODES = 'task-mgmt-nodes'

export const SERVICE_PORT = 3000
export const DATABASE_PORT = 5432

export const securityGroup = (party: string): string => `task-mgmt-${party}-sg`
export const containerLogs = (family: string): string => `/ecs/${family}`
export const handlerName = (handler: string): string => `task-mgmt-${handler}`
export const handlerLogs = (handler: string): string => `/aws/lambda/${handlerName(handler)}`
export const eventLogs = (subject: string): string => `/aws/events/task-management/${subject}`

/** Of the guide's region. Elsewhere a name that an account has only once carries its region. */
const HOME = 'us-east-1'
const onceAnAccount = (name: string, region: string): string =>
  region === HOME ? name : `${name}-${region}`

export const dashboardName = (region: string): string =>
  onceAnAccount('task-management-dashboard', region)
export const executionRole = (family: string, region: string): string =>
  onceAnAccount(`task-mgmt-${family}-execution`, region)

/** What a task needs of AWS where no NAT gateway leads out: images, secrets, logs and ECS itself. */
export const ENDPOINT_NAMES = [
  'ecr.api',
  'ecr.dkr',
  'ecs',
  'ecs-agent',
  'ecs-telemetry',
  'logs',
  'secretsmanager',
] as const
export type EndpointName = (typeof ENDPOINT_NAMES)[number]

/** The whole of what is injected into containers from Secrets Manager, by what it is. */
export const SECRETS = {
  'signing-key': 'task-mgmt-jwt-secret',
  'previous-signing-key': 'task-mgmt-jwt-secret-previous',
  'internal-api-key': 'task-mgmt-internal-api-key',
  'previous-internal-api-key': 'task-mgmt-internal-api-key-previous',
  'password-pepper': 'task-mgmt-password-pepper',
  'text-key': 'task-mgmt-text-key',
  'previous-text-key': 'task-mgmt-text-key-previous',
  'seal-key': 'task-mgmt-seal-key',
} as const

export type SecretName = keyof typeof SECRETS

/** RDS names the administrator's secret itself; these hold what the services log in with. */
export const databaseLogin = (service: string): string => `task-mgmt-rds-credentials/${service}`
