import { Validations } from 'aws-cdk-lib'
import type { IConstruct } from 'constructs'
import { TASK_NAMES } from '../catalogue.ts'
import type { Environment } from '../config/schema.ts'

/** Findings that stay, where and why. A test fails when one of them matches no finding any more. */
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

const awsPolicy = (name: string) => `IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/${name}]`

const unprotected = ({ deletionProtection }: Environment): boolean => !deletionProtection
const inDev = ({ name }: Environment): boolean => name === 'dev'
const whereRestored = ({ database }: Environment): boolean => database.restoreFrom !== undefined

export const ACKNOWLEDGEMENTS: readonly Acknowledgement[] = [
  // ------------------------------------------------------------------------------- everywhere
  {
    at: '',
    rules: nist('IAMNoInlinePolicy'),
    because: 'Each policy belongs to one role and is written with it; none is to be shared.',
  },
  {
    at: '',
    rules: tower('cloudwatch_log_group_retention_period_check'),
    because: 'Requirement 9.2 says thirty days.',
  },
  {
    at: 'observability',
    rules: tower('cloudwatch_log_group_encrypted_check'),
    because: 'They lie under our key; the rule knows only keys of the same template.',
  },

  // ---------------------------------------------------------------------------------- network
  {
    at: 'network/alb',
    rules: solutions('EC23'),
    because: 'The load balancer is the one party that the internet may reach, on 80 and 443.',
  },

  // ------------------------------------------------------------------------------------- data
  {
    at: 'data/Secrets',
    rules: [...solutions('SMG4'), ...nist('SecretsManagerRotationEnabled')],
    because:
      'A new value counts once the services are deployed again, and signing keys need two steps: ' +
      'by runbook (rotate-secrets). RDS rotates the administrator by itself.',
  },
  {
    at: 'data/Database',
    rules: [...solutions('RDS11'), ...tower('rds_instance_no_default_ports_check')],
    because: 'Requirement 12.3 names port 5432; who reaches it is decided by security groups.',
  },
  {
    at: 'data/Database',
    rules: tower('rds_instance_iam_authentication_enabled_check'),
    because: 'Services log in with passwords of their own; a second way in would have no user.',
  },
  {
    at: 'data/Database',
    rules: nist('RDSInBackupPlan'),
    because: 'RDS backs up by itself and keeps seven days (requirement 5.3).',
  },
  {
    at: 'data/Database/MonitoringRole',
    rules: solutions(awsPolicy('service-role/AmazonRDSEnhancedMonitoringRole')),
    because: 'RDS asks for this very policy, and it allows no more than writing the metrics.',
  },
  {
    at: 'data/Database',
    when: inDev,
    rules: [
      ...solutions('RDS3'),
      ...nist('RDSMultiAZSupport'),
      ...tower('rds_instance_multi_az_support_check'),
    ],
    because: 'In dev a restart may be noticed; a standby would double the price.',
  },

  {
    at: 'data/Database',
    when: unprotected,
    rules: [
      ...solutions('RDS10'),
      ...nist('RDSInstanceDeletionProtectionEnabled'),
      ...tower('rds_instance_deletion_protection_enabled_check'),
    ],
    because: 'Until the first deployment has succeeded, which could not be taken back otherwise.',
  },
  {
    at: 'data/Database',
    when: whereRestored,
    rules: [
      ...solutions('RDS2'),
      ...nist('RDSStorageEncrypted'),
      ...tower('rds_instance_storage_encrypted_check', 'rds_storage_encrypted_kms_key_check'),
    ],
    because: 'It is encrypted as its snapshot is, and CloudFormation takes no other word on that.',
  },

  // --------------------------------------------------------------------------------- platform
  {
    at: 'platform/Cluster',
    rules: tower('ecs_container_insights_enabled_check'),
    because:
      'Container Insights is on, as `enhanced`; the rule is older than that and wants `enabled`.',
  },
  {
    at: 'platform/FrontDoor/LoadBalancer',
    rules: nist('ALBWAFEnabled'),
    because:
      'Services limit rates, sizes and failed logins themselves; a firewall would come on top.',
  },
  {
    at: 'platform/FrontDoor/LoadBalancer',
    when: unprotected,
    rules: [
      ...nist('ELBDeletionProtectionEnabled'),
      ...tower('elbv2_deletion_protection_enabled_check'),
    ],
    because: 'Until the first deployment has succeeded, which could not be taken back otherwise.',
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
    because: 'Only dev may do without a certificate: a learner has no domain at first.',
  },
  {
    at: 'platform/FrontDoor/AccessLogs',
    rules: [...nist('S3DefaultEncryptionKMS'), ...tower('s3_bucket_default_encryption_kms_check')],
    because: 'A load balancer can write only under the key of S3 itself.',
  },
  {
    at: 'platform/FrontDoor/AccessLogs',
    rules: [
      ...solutions('S1'),
      ...nist('S3BucketLoggingEnabled'),
      ...tower('s3_bucket_logging_enabled_check'),
    ],
    because: 'It holds access logs; logs of access to the logs would have no end.',
  },
  {
    at: 'platform/FrontDoor/AccessLogs',
    rules: [
      ...nist('S3BucketReplicationEnabled'),
      ...tower('s3_bucket_object_lock_enabled_check', 's3_event_notifications_enabled_check'),
    ],
    because:
      'Lines of requests, read after an incident and gone after 90 days; no record of business.',
  },
  {
    at: 'platform/Nodes/Role',
    rules: solutions('IAM5[Resource::*]', 'IAM5[Action::ecs:Submit*]'),
    because: 'What the agent of ECS needs; what can be limited is limited to this cluster.',
  },
  {
    at: 'platform/Nodes/Group',
    rules: [...solutions('EC26'), ...nist('EC2IMDSv2Enabled')],
    because: 'The launch template says both, encrypted disk and IMDSv2; the rules do not read it.',
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
      'Its subnets lie in two zones at least, which the configuration must; the rule reads zones.',
  },
  {
    at: 'platform/Nodes/Group',
    rules: tower('autoscaling_group_nitro_encryption_in_transit_override_check'),
    because: "Which types is the environment's choice; PostgreSQL is spoken under TLS anyway.",
  },

  // --------------------------------------------------------------------------------- services
  {
    at: 'services',
    rules: solutions('ECS2'),
    because: 'Addresses and sizes only; a test sees to it that what is secret comes as a secret.',
  },
  ...TASK_NAMES.map((name) => ({
    at: `services/${name}/ExecutionRole`,
    rules: solutions('IAM5[Resource::*]'),
    because: 'The action ecr:GetAuthorizationToken knows no resource.',
  })),
  ...TASK_NAMES.map((name) => ({
    at: `services/${name}/ExecutionRole`,
    rules: solutions(`IAM5[Resource::arn:aws:logs:{region}:{account}:log-group:/ecs/${name}:*]`),
    because: 'Every stream of the one log group of this container: a task makes its own.',
  })),
  ...['services/Migrate', 'services/DesiredCounts'].flatMap((at) => [
    {
      at,
      rules: solutions(awsPolicy('service-role/AWSLambdaBasicExecutionRole')),
      because: 'It allows no more than writing logs.',
    },
    {
      at,
      rules: [...nist('LambdaInsideVPC'), ...tower('lambda_inside_vpc_check')],
      because: 'They call ECS and nothing in the VPC; inside they would need a way out of it.',
    },
    {
      at,
      rules: nist('LambdaConcurrency', 'LambdaDLQ'),
      because:
        'CloudFormation calls them, once a deployment, and fails the deployment when they fail.',
    },
  ]),
  {
    at: 'services/Migrate/onEvent',
    rules: solutions(
      'IAM5[Resource::arn:aws:ecs:{region}:{account}:task-definition/migration-task:*]',
    ),
    because: 'Every revision of one task, in one cluster; a deployment makes a new one.',
  },
  {
    at: 'services/Migrate',
    rules: solutions(
      'IAM5[Resource::arn:aws:ecs:{region}:{account}:task/task-management-cluster/*]',
    ),
    because: 'A task has no name before it runs; it may only be looked at.',
  },
  {
    at: 'services/Migrate/Provider',
    rules: solutions(
      'IAM5[Resource::<MigrateonEvent793ABAB2.Arn>:*]',
      'IAM5[Resource::<MigrateisComplete78D16AC6.Arn>:*]',
      'IAM5[Resource::<MigrateProviderframeworkisCompleteE6CD88F5.Arn>:*]',
      'IAM5[Resource::<MigrateProviderframeworkonTimeout949A616A.Arn>:*]',
    ),
    because: 'Every version of functions that are named one by one.',
  },
  {
    at: 'services/DesiredCounts/Provider',
    rules: solutions('IAM5[Resource::<DesiredCountsonEvent47A6CEF2.Arn>:*]'),
    because: 'Every version of a function that is named.',
  },
  {
    at: 'services/Canary/Visitor',
    rules: solutions(awsPolicy('service-role/AWSLambdaBasicExecutionRole')),
    because: 'It allows no more than writing logs.',
  },
  {
    at: 'services/Canary/Visitor',
    rules: [...nist('LambdaInsideVPC'), ...tower('lambda_inside_vpc_check')],
    because: 'It comes from outside, as users do.',
  },
  {
    at: 'services/Canary/Visitor',
    rules: nist('LambdaConcurrency', 'LambdaDLQ'),
    because: 'Its schedule calls it every five minutes, and an alarm rings when a visit fails.',
  },
  {
    at: 'services/Canary/Password',
    rules: [...solutions('SMG4'), ...nist('SecretsManagerRotationEnabled')],
    because: 'It opens an account without any tasks, and may be replaced at any time by hand.',
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
      'It only waits, and its data holds the signed URL that answers CloudFormation. ' +
      'Functions and task write logs.',
  },
]

/** Puts each where it belongs in a stage; what the environment has not needs none. */
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
