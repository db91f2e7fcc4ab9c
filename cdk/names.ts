// The names that docs/implementation-guide.md uses in the console too. They are fixed, so an account has
// one environment per region; config/parse.ts refuses a second one.

export const CLUSTER = 'task-management-cluster'
export const NAMESPACE = 'task-management.local'
export const LOAD_BALANCER = 'task-mgmt-alb'
/** Behind API Gateway. Another name: CloudFormation replaces one by the other, and the first has its own. */
export const INTERNAL_LOAD_BALANCER = 'task-mgmt-alb-internal'
export const EDGE_API = 'task-mgmt-api'
/** Also the base path of the API: what API Gateway calls by it stands under it. */
export const EDGE_STAGE = 'v1'
export const DATABASE = 'taskmanagement'
/** Of the first database; the name of a restored one begins like this. */
export const DATABASE_INSTANCE = 'task-mgmt-db'
export const DATABASE_ADMIN = 'dbadmin'
export const METRICS = 'TaskManagement'
export const KEY_ALIAS = 'alias/task-mgmt'
export const ALARM_TOPIC = 'task-mgmt-alarms'

// SSM parameters, which each deployment of the services reads again: values that a restore replaces. An
// export cannot change while it is in use.
export const DATABASE_ADDRESS = '/task-mgmt/database/address'
/** Of the replica, or of all readers; only if there is one. */
export const DATABASE_READ_ADDRESS = '/task-mgmt/database/read-address'
/** What the services connect to; only if there is a Redis. */
export const REDIS_URL = '/task-mgmt/redis/url'
export const DATABASE_ADMIN_SECRET = '/task-mgmt/database/administrator-secret'

/** What auth-service asks, if accounts are in a user pool. */
export const USER_POOL_ID = '/task-mgmt/user-pool/id'
export const USER_POOL_CLIENT_ID = '/task-mgmt/user-pool/client-id'
export const USER_POOL = 'task-mgmt-users'
export const USER_POOL_CLIENT_SECRET = 'task-mgmt/user-pool-client'

/** What ElastiCache has of ours, and the user of our services there. */
export const REDIS = 'task-mgmt-redis'
export const REDIS_USER = 'tasktrail'
export const REDIS_PORT = 6379

/** Our own machines; Fargate's capacity provider has its own name. */
export const NODES = 'task-mgmt-nodes'

export const SERVICE_PORT = 3000
/** The service that cosigns the log, and its name for the worker. */
export const WITNESS = 'witness'
export const NFS_PORT = 2049
export const DATABASE_PORT = 5432

export const securityGroup = (party: string): string => `task-mgmt-${party}-sg`
export const containerLogs = (family: string): string => `/ecs/${family}`
export const redisLogs = (kind: string): string => `/aws/elasticache/${REDIS}/${kind}`
/** Who talked to whom, in a VPC of ours. */
export const FLOW_LOGS = '/aws/vpc/task-management'
export const handlerName = (handler: string): string => `task-mgmt-${handler}`
export const handlerLogs = (handler: string): string => `/aws/lambda/${handlerName(handler)}`
export const EDGE_LOGS = `/aws/apigateway/${EDGE_API}`
/** Of what goes wrong in API Gateway itself; the name is its own. */
export const edgeErrors = (apiId: string): string =>
  `API-Gateway-Execution-Logs_${apiId}/${EDGE_STAGE}`
export const EDGE_LOG_GROUPS = [EDGE_LOGS, edgeErrors('*')]
export const eventLogs = (subject: string): string => `/aws/events/task-management/${subject}`

/** The guide's region. In others, names that must be unique in an account include the region. */
const HOME = 'us-east-1'
const onceAnAccount = (name: string, region: string): string =>
  region === HOME ? name : `${name}-${region}`

export const dashboardName = (region: string): string =>
  onceAnAccount('task-management-dashboard', region)
export const executionRole = (family: string, region: string): string =>
  onceAnAccount(`task-mgmt-${family}-execution`, region)

/** As the requirements name it, behind a prefix: names of buckets are the world's. */
export const photosBucket = (prefix: string, environment: string): string =>
  `${prefix}-photos-${environment}`

/** Where task-service is told of uploads, by who knows the internal API key. */
export const PHOTO_REPORTS = '/internal/photo-uploads'

/** Of the metrics of requests to it. */
export const PHOTO_REQUESTS = 'all'

/** Only those have names that the policies of files and photos are about. */
export const taskRole = (family: string, region: string): string =>
  onceAnAccount(`task-mgmt-${family}-task`, region)

/** What a task needs of AWS without a NAT gateway: images, secrets, logs and ECS itself. */
export const ENDPOINT_NAMES = [
  'ecr.api',
  'ecr.dkr',
  'ecs',
  'ecs-agent',
  'ecs-telemetry',
  'logs',
  'secretsmanager',
  // Only where mails are sent.
  'email',
] as const
export type EndpointName = (typeof ENDPOINT_NAMES)[number]

/** Every secret that is injected into containers, by its purpose. */
export const SECRETS = {
  'signing-key': 'task-mgmt-jwt-secret',
  'previous-signing-key': 'task-mgmt-jwt-secret-previous',
  'internal-api-key': 'task-mgmt-internal-api-key',
  'previous-internal-api-key': 'task-mgmt-internal-api-key-previous',
  'password-pepper': 'task-mgmt-password-pepper',
  'text-key': 'task-mgmt-text-key',
  'previous-text-key': 'task-mgmt-text-key-previous',
  'log-key': 'task-mgmt-log-key',
  'previous-log-key': 'task-mgmt-log-key-previous',
  'redis-password': 'task-mgmt-redis-password',
  'previous-redis-password': 'task-mgmt-redis-password-previous',
  'witness-key': 'task-mgmt-witness-key',
  'previous-witness-key': 'task-mgmt-witness-key-previous',
} as const

export type SecretName = keyof typeof SECRETS

/** RDS names the administrator's secret itself; these hold the services' logins. */
export const databaseLogin = (service: string): string => `task-mgmt-rds-credentials/${service}`
