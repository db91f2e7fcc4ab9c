import { Validations } from 'aws-cdk-lib'
import type { IConstruct } from 'constructs'
import { TASK_NAMES } from '../catalogue.ts'
import type { Environment } from '../config/schema.ts'
import { PHOTO_TASKS } from '../constructs/photo-roles.ts'

/** Accepted findings, where and why. A test fails if one of them no longer matches any finding. */
export type Acknowledgement = {
  /** A path below the stage: everything there, and nothing elsewhere. */
  readonly at: string
  /** `plugin::rule`; `{account}` and `{region}` are the environment's. */
  readonly rules: readonly string[]
  readonly because: string
  /** @default - in every environment */
  readonly when?: (environment: Environment) => boolean
}

const solutions = (...rules: string[]) => rules.map((rule) => `AwsSolutions::AwsSolutions-${rule}`)
const nist = (...rules: string[]) => rules.map((rule) => `NIST.800.53.R5::NIST.800.53.R5-${rule}`)
const tower = (...rules: string[]) => rules.map((rule) => `cdk-validator-cfnguard::${rule}`)

const library = (...rules: string[]) => rules.map((rule) => `CloudFormation-Validate::${rule}`)

const awsPolicy = (name: string) => `IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/${name}]`

const unprotected = ({ deletionProtection }: Environment): boolean => !deletionProtection
const inOwnVpc = ({ vpc }: Environment): boolean => vpc.by === 'own'
const underKeysOfS3 = ({ photos }: Environment): boolean => photos?.encryption === 's3'
const inUserPool = ({ identity }: Environment): boolean => identity.by === 'cognito'
const inDev = ({ name }: Environment): boolean => name === 'dev'
const whereRestored = ({ database }: Environment): boolean => database.restoreFrom !== undefined

export const ACKNOWLEDGEMENTS: readonly Acknowledgement[] = [
  // ------------------------------------------------------------------------------- everywhere
  {
    at: '',
    rules: nist('IAMNoInlinePolicy'),
    because: 'Each policy belongs to one role and is written with it; none should be shared.',
  },
  {
    at: '',
    rules: tower('cloudwatch_log_group_retention_period_check'),
    because: 'The requirements say thirty days, and ninety in prod; the rule wants a year.',
  },
  {
    at: 'observability',
    rules: tower('cloudwatch_log_group_encrypted_check'),
    because: 'They are encrypted with our key; the rule knows only keys of the same template.',
  },

  // ---------------------------------------------------------------------------------- network
  {
    at: 'network/alb',
    rules: solutions('EC23'),
    because: 'The load balancer is the one party that the internet may reach, on 80 and 443.',
  },

  {
    at: 'network/Own',
    when: inOwnVpc,
    rules: library('W3010'),
    because: 'Asking the account for its zones would take credentials; the environment names them.',
  },
  {
    at: 'network/Own/FlowLogs',
    when: inOwnVpc,
    rules: [
      ...nist('CloudWatchLogGroupEncrypted'),
      ...tower('cloudwatch_log_group_encrypted_check'),
    ],
    because: 'Addresses and ports, under a key of CloudWatch: ours is in a later stack.',
  },
  {
    at: 'network/Own/Vpc',
    when: inOwnVpc,
    rules: nist('VPCNoUnrestrictedRouteToIGW'),
    because: 'Of the public subnets, where only load balancer and NAT gateways are.',
  },
  {
    at: 'network/Custom::VpcRestrictDefaultSGCustomResourceProvider',
    when: inOwnVpc,
    rules: tower('lambda_inside_vpc_check'),
    because: 'It calls only EC2, once, to close the default group of the VPC.',
  },

  // ------------------------------------------------------------------------------------- data
  {
    at: 'data/Secrets',
    rules: [...solutions('SMG4'), ...nist('SecretsManagerRotationEnabled')],
    because:
      'A new value takes effect only when the services are redeployed, and signing keys need two ' +
      'steps: by runbook (rotate-secrets). RDS rotates the administrator by itself.',
  },
  {
    at: 'data/Accounts/ClientSecret',
    when: inUserPool,
    rules: [...solutions('SMG4'), ...nist('SecretsManagerRotationEnabled')],
    because: 'Cognito makes it, with the client: another one is that of another client.',
  },
  {
    at: 'data/Database',
    rules: [...solutions('RDS11'), ...tower('rds_instance_no_default_ports_check')],
    because: 'Requirement 12.3 names port 5432; security groups decide who can reach it.',
  },
  {
    at: 'data/Database',
    rules: tower('rds_instance_iam_authentication_enabled_check'),
    because: 'Services log in with their own passwords; nobody would use a second way in.',
  },
  {
    at: 'data/Database',
    rules: nist('RDSInBackupPlan'),
    because: 'RDS backs up by itself and keeps seven days (requirement 5.3).',
  },
  {
    at: 'data/Witness/Files',
    rules: nist('EFSInBackupPlan'),
    because:
      'EFS backs it up by itself, every day; the rule looks for a plan of the same template.',
  },
  {
    at: 'data/Database/MonitoringRole',
    rules: solutions(awsPolicy('service-role/AmazonRDSEnhancedMonitoringRole')),
    because: 'RDS requires this policy, and it allows only writing the metrics.',
  },
  {
    at: 'data/Database',
    when: inDev,
    rules: [
      ...solutions('RDS3'),
      ...nist('RDSMultiAZSupport'),
      ...tower('rds_instance_multi_az_support_check'),
    ],
    because: 'In dev a restart may be noticeable; a standby would double the price.',
  },

  {
    at: 'data/Database',
    when: unprotected,
    rules: [
      ...solutions('RDS10'),
      ...nist('RDSInstanceDeletionProtectionEnabled'),
      ...tower('rds_instance_deletion_protection_enabled_check'),
    ],
    because: 'Until the first deployment has succeeded, which could not be rolled back otherwise.',
  },
  {
    at: 'data/Database',
    when: whereRestored,
    rules: [
      ...solutions('RDS2'),
      ...nist('RDSStorageEncrypted'),
      ...tower('rds_instance_storage_encrypted_check', 'rds_storage_encrypted_kms_key_check'),
    ],
    because: 'It is encrypted like its snapshot, and CloudFormation allows no other setting.',
  },

  {
    at: 'data/Replica',
    rules: [...solutions('RDS3'), ...nist('RDSMultiAZSupport')],
    because: 'While it is away the primary answers, with its standby; no answer depends on it.',
  },
  {
    at: 'data/Replica',
    rules: nist('RDSInBackupPlan'),
    because: 'It holds nothing of its own: its source is backed up.',
  },
  {
    at: 'data/Replica',
    rules: [...solutions('RDS2'), ...nist('RDSStorageEncrypted')],
    because: 'It is encrypted as its source is, and CloudFormation allows no other setting.',
  },
  {
    at: 'data/Replica',
    rules: solutions('RDS11'),
    because: 'Requirement 12.3 names port 5432; security groups decide who can reach it.',
  },
  {
    at: 'data/Replica',
    when: unprotected,
    rules: [...solutions('RDS10'), ...nist('RDSInstanceDeletionProtectionEnabled')],
    because: 'Until the first deployment has succeeded, which could not be rolled back otherwise.',
  },
  ...['data/Replica', 'data/Cluster'].map((at) => ({
    at: `${at}/MonitoringRole`,
    rules: solutions(awsPolicy('service-role/AmazonRDSEnhancedMonitoringRole')),
    because: 'RDS requires this policy, and it allows only writing the metrics.',
  })),
  {
    at: 'data/Cluster',
    rules: [...solutions('RDS6'), ...tower('rds_cluster_iam_authentication_enabled_check')],
    because: 'Services log in with their own passwords; nobody would use a second way in.',
  },
  {
    at: 'data/Cluster',
    rules: nist('RDSInBackupPlan'),
    because: 'Aurora backs up by itself and keeps seven days (requirement 5.3).',
  },
  {
    at: 'data/Cluster',
    when: unprotected,
    rules: [
      ...solutions('RDS10'),
      ...nist('RDSInstanceDeletionProtectionEnabled'),
      ...tower('rds_cluster_deletion_protection_enabled_check'),
    ],
    because: 'Until the first deployment has succeeded, which could not be rolled back otherwise.',
  },
  {
    at: 'data/Cluster',
    when: whereRestored,
    rules: [
      ...solutions('RDS2'),
      ...nist('RDSStorageEncrypted'),
      ...tower('rds_cluster_storage_encrypted_check'),
    ],
    because: 'It is encrypted like its snapshot, and CloudFormation allows no other setting.',
  },

  {
    at: 'data/Photos/Bucket',
    rules: [...nist('S3BucketReplicationEnabled'), ...tower('s3_bucket_object_lock_enabled_check')],
    because:
      'Versions are kept, and an erased user must be gone: no copy elsewhere, and no lock that ' +
      'would keep a photo.',
  },
  {
    at: 'data/Photos/Bucket',
    when: underKeysOfS3,
    rules: [...nist('S3DefaultEncryptionKMS'), ...tower('s3_bucket_default_encryption_kms_check')],
    because: 'The environment chooses between the keys of S3 (AES-256), as required, and ours.',
  },
  ...PHOTO_TASKS.map((task) => ({
    at: `data/Photos/${task}`,
    rules: solutions('IAM5[Resource::<PhotosBucket4131342A.Arn>/users/*]'),
    because: 'Photos of all users; whose a photo is, task-service decides.',
  })),
  {
    at: 'data/Photos/AccessLogs',
    rules: [...nist('S3DefaultEncryptionKMS'), ...tower('s3_bucket_default_encryption_kms_check')],
    because: 'S3 can write its access logs only under its own key.',
  },
  {
    at: 'data/Photos/AccessLogs',
    rules: tower('s3_bucket_logging_enabled_check'),
    because: 'It holds access logs; logging access to the logs would never end.',
  },
  {
    at: 'data/Photos/AccessLogs',
    rules: [
      ...nist('S3BucketReplicationEnabled'),
      ...tower('s3_bucket_object_lock_enabled_check', 's3_event_notifications_enabled_check'),
    ],
    because:
      'Lines of requests, read after an incident and deleted after 90 days; no business records.',
  },

  // --------------------------------------------------------------------------------- platform
  {
    at: 'platform/Redis/Group',
    rules: solutions('AEC6'),
    because: 'A user with a password and few rights gets in; the rule knows only AUTH tokens.',
  },
  {
    at: 'platform/Redis/Group',
    rules: nist('ElastiCacheRedisClusterAutomaticBackup'),
    because: 'Counters that expire within a minute: there is nothing to restore.',
  },
  {
    at: 'platform/Redis/Group',
    when: inDev,
    rules: solutions('AEC4'),
    because: 'In dev one node is enough: each task counts for itself while it is away.',
  },
  {
    at: 'platform/Redis',
    rules: tower('cloudwatch_log_group_encrypted_check'),
    because: 'They are encrypted with our key; the rule knows only keys of the same template.',
  },
  {
    at: 'platform/Cluster',
    rules: tower('ecs_container_insights_enabled_check'),
    because: 'Container Insights is on, as `enhanced`; the rule is older and expects `enabled`.',
  },
  {
    at: 'platform/FrontDoor/LoadBalancer',
    rules: nist('ALBWAFEnabled'),
    because:
      'Services limit rates, sizes and failed logins themselves; a firewall would be an addition.',
  },
  {
    at: 'platform/FrontDoor/LoadBalancer',
    when: unprotected,
    rules: [
      ...nist('ELBDeletionProtectionEnabled'),
      ...tower('elbv2_deletion_protection_enabled_check'),
    ],
    because: 'Until the first deployment has succeeded, which could not be rolled back otherwise.',
  },
  {
    at: 'platform/FrontDoor/Http',
    rules: nist('ELBv2ACMCertificateRequired'),
    because: 'Port 80 has no certificate; with one on 443 it only redirects there.',
  },
  {
    at: 'platform/FrontDoor/Http',
    when: inDev,
    rules: [...nist('ALBHttpToHttpsRedirection'), ...tower('alb_http_to_https_redirection_check')],
    because: 'Only dev may omit a certificate: a learner has no domain at first.',
  },
  {
    at: 'platform/FrontDoor/AccessLogs',
    rules: [...nist('S3DefaultEncryptionKMS'), ...tower('s3_bucket_default_encryption_kms_check')],
    because: 'A load balancer supports only the key of S3 itself.',
  },
  {
    at: 'platform/FrontDoor/AccessLogs',
    rules: [
      ...solutions('S1'),
      ...nist('S3BucketLoggingEnabled'),
      ...tower('s3_bucket_logging_enabled_check'),
    ],
    because: 'It holds access logs; logging access to the logs would never end.',
  },
  {
    at: 'platform/FrontDoor/AccessLogs',
    rules: [
      ...nist('S3BucketReplicationEnabled'),
      ...tower('s3_bucket_object_lock_enabled_check', 's3_event_notifications_enabled_check'),
    ],
    because:
      'Lines of requests, read after an incident and deleted after 90 days; no business records.',
  },
  {
    at: 'platform/Nodes/Role',
    rules: solutions('IAM5[Resource::*]', 'IAM5[Action::ecs:Submit*]'),
    because: 'What the ECS agent needs, limited to this cluster where possible.',
  },
  {
    at: 'platform/Nodes/Group',
    rules: [...solutions('EC26'), ...nist('EC2IMDSv2Enabled')],
    because: 'The launch template sets both, encrypted disk and IMDSv2; the rules do not read it.',
  },
  {
    at: 'platform/Nodes/Group',
    rules: solutions('AS3'),
    because: 'Every scaling event is in the log group for scaling, by an EventBridge rule.',
  },
  {
    at: 'platform/Nodes/Group',
    rules: tower('autoscaling_multiple_az_check'),
    because:
      'Its subnets are in at least two zones, as the configuration requires; the rule reads zones.',
  },
  {
    at: 'platform/Nodes/Group',
    rules: tower('autoscaling_group_nitro_encryption_in_transit_override_check'),
    because: 'The environment chooses the types; PostgreSQL connections use TLS anyway.',
  },

  // ------------------------------------------------------------------------------------- edge
  {
    at: 'edge/Edge/Api',
    rules: solutions('APIG2'),
    because: 'The services validate every request, by the schemas that the OpenAPI document shows.',
  },
  {
    at: 'edge/Edge/Api',
    rules: solutions('APIG4', 'COG4'),
    because:
      'Health, documents, registration, login and preflights take no token; everything else asks ' +
      'our own authorizer.',
  },
  {
    at: 'edge/Edge/Api',
    rules: [...solutions('APIG3'), ...nist('APIGWAssociatedWithWAF')],
    because:
      'Services limit rates, sizes and failed logins themselves; a firewall would be an addition.',
  },
  {
    at: 'edge/Edge/Api',
    rules: nist('APIGWCacheEnabledAndEncrypted'),
    because: 'Nothing is cached: answers are of one user, and of the present.',
  },
  {
    at: 'edge/Edge/Api',
    rules: nist('APIGWSSLEnabled'),
    because: 'The load balancer knows API Gateway by its VPC link, which alone can reach it.',
  },
  {
    at: 'edge/Errors',
    rules: tower('cloudwatch_log_group_encrypted_check'),
    because: 'It is encrypted with our key; the rule knows only keys of the same template.',
  },
  {
    at: 'edge/Edge/Api/CloudWatchRole',
    rules: solutions(awsPolicy('service-role/AmazonAPIGatewayPushToCloudWatchLogs')),
    because: 'API Gateway requires this policy, once an account, and it allows only writing logs.',
  },
  {
    at: 'edge/Authorizer',
    rules: solutions(awsPolicy('service-role/AWSLambdaBasicExecutionRole')),
    because: 'It allows only writing logs.',
  },
  {
    at: 'edge/Authorizer',
    rules: [...nist('LambdaInsideVPC'), ...tower('lambda_inside_vpc_check')],
    because: 'It calls only Secrets Manager, nothing in the VPC; inside it would need a way out.',
  },
  {
    at: 'edge/Authorizer',
    rules: nist('LambdaConcurrency', 'LambdaDLQ'),
    because:
      'It runs once a request, and API Gateway limits those; it answers at once, so nothing is left over.',
  },
  {
    at: 'edge/Authorizer',
    rules: tower('lambda_function_public_access_prohibited_check'),
    because: 'Only this authorizer of this API may call it; the rule cannot read its joined ARN.',
  },

  // --------------------------------------------------------------------------------- services
  {
    at: 'services',
    rules: solutions('ECS2'),
    because: 'Addresses and sizes only; a test ensures that secrets are passed as secrets.',
  },
  ...TASK_NAMES.map((name) => ({
    at: `services/${name}/ExecutionRole`,
    rules: solutions('IAM5[Resource::*]'),
    because: 'The action ecr:GetAuthorizationToken has no resource.',
  })),
  ...TASK_NAMES.map((name) => ({
    at: `services/${name}/ExecutionRole`,
    rules: solutions(`IAM5[Resource::arn:aws:logs:{region}:{account}:log-group:/ecs/${name}:*]`),
    because: 'Every stream of the only log group of this container: a task creates its own.',
  })),
  ...['services/Migrate', 'services/DesiredCounts'].flatMap((at) => [
    {
      at,
      rules: solutions(awsPolicy('service-role/AWSLambdaBasicExecutionRole')),
      because: 'It allows only writing logs.',
    },
    {
      at,
      rules: [...nist('LambdaInsideVPC'), ...tower('lambda_inside_vpc_check')],
      because: 'They call only ECS, nothing in the VPC; inside they would need a way out.',
    },
    {
      at,
      rules: nist('LambdaConcurrency', 'LambdaDLQ'),
      because:
        'CloudFormation calls them once per deployment, and fails the deployment if they fail.',
    },
  ]),
  {
    at: 'services/Migrate/onEvent',
    rules: solutions(
      'IAM5[Resource::arn:aws:ecs:{region}:{account}:task-definition/migration-task:*]',
    ),
    because: 'Every revision of one task, in one cluster; a deployment creates a new one.',
  },
  {
    at: 'services/Migrate',
    rules: solutions(
      'IAM5[Resource::arn:aws:ecs:{region}:{account}:task/task-management-cluster/*]',
    ),
    because: 'A task has no name before it runs; the right is only to read it.',
  },
  {
    at: 'services/Migrate/Provider',
    rules: solutions(
      'IAM5[Resource::<MigrateonEvent793ABAB2.Arn>:*]',
      'IAM5[Resource::<MigrateisComplete78D16AC6.Arn>:*]',
      'IAM5[Resource::<MigrateProviderframeworkisCompleteE6CD88F5.Arn>:*]',
      'IAM5[Resource::<MigrateProviderframeworkonTimeout949A616A.Arn>:*]',
    ),
    because: 'Every version of functions named individually.',
  },
  {
    at: 'services/DesiredCounts/Provider',
    rules: solutions('IAM5[Resource::<DesiredCountsonEvent47A6CEF2.Arn>:*]'),
    because: 'Every version of a named function.',
  },
  {
    at: 'services/PhotoEvents/Reporter',
    rules: solutions(
      awsPolicy('service-role/AWSLambdaBasicExecutionRole'),
      awsPolicy('service-role/AWSLambdaVPCAccessExecutionRole'),
    ),
    because: 'They allow only writing logs, and network interfaces in the VPC.',
  },
  {
    at: 'services/PhotoEvents/Reporter',
    rules: tower('lambda_inside_vpc_check'),
    because: 'It is inside; the rule does not read subnets that another stack has, or lists.',
  },
  {
    at: 'services/PhotoEvents/Reporter',
    rules: nist('LambdaConcurrency'),
    because: 'Uploads come as fast as users are let; new accounts have nothing to reserve.',
  },
  {
    at: 'services/PhotoEvents/Failed',
    rules: tower('sqs_dlq_check'),
    because: 'It is the queue for what failed; nothing takes from it but a person.',
  },
  {
    at: 'services/Canary/Visitor',
    rules: solutions(awsPolicy('service-role/AWSLambdaBasicExecutionRole')),
    because: 'It allows only writing logs.',
  },
  {
    at: 'services/Canary/Visitor',
    rules: [...nist('LambdaInsideVPC'), ...tower('lambda_inside_vpc_check')],
    because: 'It comes from outside, like users.',
  },
  {
    at: 'services/Canary/Visitor',
    rules: nist('LambdaConcurrency', 'LambdaDLQ'),
    because: 'Its schedule calls it every five minutes, and an alarm goes off when visits fail.',
  },
  {
    at: 'services/Canary/Password',
    rules: [...solutions('SMG4'), ...nist('SecretsManagerRotationEnabled')],
    because: 'It belongs to an account without tasks, and can be replaced by hand at any time.',
  },
  {
    at: 'services/Migrate/Provider',
    rules: [
      ...solutions('SF1', 'SF2'),
      ...tower(
        'step_functions_state_machine_logging_enabled_check',
        'step_functions_state_machine_tracing_enabled_check',
      ),
    ],
    because:
      'It only waits, and its data includes the signed URL for answering CloudFormation. ' +
      'Functions and task write logs.',
  },
]

/** Attaches each where it belongs in a stage; skips those for what the environment does not have. */
export function acknowledge(stage: IConstruct, environment: Environment): void {
  for (const { at, rules, because, when } of ACKNOWLEDGEMENTS) {
    const construct = find(stage, at)
    if (construct === undefined || when?.(environment) === false) continue
    const ids = rules.map((rule) => resolveId(rule, environment))
    Validations.of(construct).acknowledge(...ids.map((id) => ({ id, reason: because })))
  }
}

export const resolveId = (rule: string, { account, region }: Environment): string =>
  rule.replace('{account}', account).replace('{region}', region)

const find = (root: IConstruct, path: string): IConstruct | undefined =>
  path
    .split('/')
    .filter((id) => id !== '')
    .reduce<IConstruct | undefined>((at, id) => at?.node.tryFindChild(id), root)
