import valid from 'semver/functions/valid.js'
import { z } from 'zod'
import { isKeyName } from '../../src/transparency-log/signature-line.ts'
import { IMAGE_NAMES, SERVICE_NAMES } from '../catalogue.ts'
import { DATABASE_INSTANCE, ENDPOINT_NAMES } from '../names.ts'
import { isLargeEnough, isOneAZone } from './subnets.ts'

const whole = (min: number, max: number) => {
  const message = `must be a whole number from ${min} to ${max}`
  return z.number(message).int(message).min(min, message).max(max, message)
}
const matching = (pattern: RegExp, message: string) => z.string(message).regex(pattern, message)

const id = (kind: string) =>
  matching(
    new RegExp(`^${kind}-([0-9a-f]{8}|[0-9a-f]{17})$`),
    `must be an id such as ${kind}-0a1b2c3d4e5f60718`,
  )
const instanceType = matching(/^[a-z]\w*\.\w+$/, 'must be an instance type such as t3.micro')

const zone = matching(/^[a-z]{2}(-[a-z]+)+-\d[a-z]$/, 'must be a zone such as us-east-1a')
const subnet = z.strictObject({
  id: id('subnet'),
  zone,
  routeTableId: id('rtb'),
})

const ONE_A_ZONE = 'must name one subnet per zone, in at least two zones'
const subnets = z.array(subnet).refine(isOneAZone, ONE_A_ZONE)

const subnetIds = z
  .array(id('subnet'))
  .refine((ids) => ids.length >= 2 && new Set(ids).size === ids.length, ONE_A_ZONE)
  .optional()

const vpc = z.discriminatedUnion(
  'by',
  [
    z.strictObject({
      by: z.literal('attributes'),
      id: id('vpc'),
      cidr: z.cidrv4('must be a block such as 10.0.0.0/16'),
      publicSubnets: subnets,
      privateSubnets: subnets,
    }),
    // One of ours, in two zones: two public subnets, and four private ones for tasks and for data.
    z.strictObject({
      by: z.literal('own'),
      cidr: z
        .cidrv4('must be a block such as 10.0.0.0/16')
        .refine(isLargeEnough, 'must be a block from /16 to /19, for its smallest subnets are /27'),
      /** @default - the first two of the region */
      zones: z.array(zone).length(2, 'must name two zones').optional(),
      /** @default - one in each zone, and none with `egress` by endpoints */
      natGateways: whole(1, 2).optional(),
    }),
    // Queries the account: synth then needs credentials once, and writes cdk.context.json.
    z.strictObject({
      by: z.literal('lookup'),
      id: id('vpc'),
      publicSubnetIds: subnetIds,
      privateSubnetIds: subnetIds,
    }),
  ],
  'must be given by attributes or by lookup, or be our own',
)

/** How tasks reach AWS: through the NAT gateway of the VPC, or through endpoints in the VPC. */
const egress = z.discriminatedUnion(
  'via',
  [
    z.strictObject({
      via: z.literal('nat'),
      // Then photos and image layers pass no NAT gateway. A VPC of ours always has it.
      s3Gateway: z.boolean('must be true or false').default(false),
    }),
    z.strictObject({
      via: z.literal('endpoints'),
      // S3 holds the image layers; security groups refer to it by a list of addresses per region.
      s3PrefixListId: id('pl'),
      // A VPC can have only one endpoint per service: the existing ones, each with its group.
      existing: z.partialRecord(z.enum(ENDPOINT_NAMES), id('sg')).default({}),
      s3GatewayExists: z.boolean('must be true or false').default(false),
    }),
  ],
  'must go via nat or via endpoints',
)

/** The MiB that Fargate offers for a CPU; our own machines use the same sizes. */
const FARGATE_MEMORY: Readonly<Record<number, readonly number[]>> = {
  256: [512, 1_024, 2_048],
  512: [1_024, 2_048, 3_072, 4_096],
  1024: [2_048, 3_072, 4_096, 5_120, 6_144, 7_168, 8_192],
  2048: [4_096, 8_192, 12_288, 16_384],
}

const size = z
  .strictObject({ cpu: z.number(), memoryMiB: z.number() })
  .refine(
    ({ cpu, memoryMiB }) => FARGATE_MEMORY[cpu]?.includes(memoryMiB),
    'must be a size that Fargate offers, such as cpu 256 with memoryMiB 512',
  )

const service = z.strictObject({
  launchType: z.enum(['fargate', 'ec2'], 'must be fargate or ec2'),
  size,
  poolMax: whole(1, 100),
})

// `latest` would say neither what runs nor what to go back to.
const version = z
  .string('must be a semantic version such as 1.4.2')
  // Exactly in this form: neither v1.4.2, nor with build metadata, which no tag can hold.
  .refine((text) => valid(text) === text, 'must be a semantic version such as 1.4.2')

/** Keep it as long as the database exists: without it the next deployment would create an empty one. */
const restoreFrom = z.strictObject({
  snapshot: matching(
    /^(arn:aws:rds:[a-z0-9-]+:\d{12}:(cluster-)?snapshot:)?(rds:)?[a-zA-Z][a-zA-Z0-9-]*$/,
    'must be the name or the ARN of a snapshot',
  ),
  // A name of its own: CloudFormation creates the new database while the old one still has its name.
  instance: matching(
    new RegExp(`^${DATABASE_INSTANCE}-[a-z0-9]{1,20}$`),
    `must be a new name such as ${DATABASE_INSTANCE}-2`,
  ),
})

const server = {
  instanceType,
  /** Of each server. */
  maxConnections: whole(20, 5_000),
  restoreFrom: restoreFrom.optional(),
}

const database = z.discriminatedUnion(
  'engine',
  [
    z.strictObject({
      engine: z.literal('rds'),
      ...server,
      multiAz: z.boolean('must be true or false'),
      storageGiB: whole(20, 65_536),
      maxStorageGiB: whole(20, 65_536),
      /** The past, the audit trail and exports are read from it; a standby of `multiAz` answers nobody. */
      readReplica: z.boolean('must be true or false').default(false),
    }),
    // A writer and its readers share one storage, which grows by itself. A reader takes over from the writer.
    z.strictObject({ engine: z.literal('aurora'), ...server, readers: whole(0, 15) }),
  ],
  'must have the engine rds or aurora',
)

/** The name of the instance, or of the cluster, in RDS. */
export const databaseIdentifier = ({ restoreFrom }: Environment['database']): string =>
  restoreFrom?.instance ?? DATABASE_INSTANCE

/** Of a server of a cluster; which one is the writer changes. */
export const serverName = (database: Environment['database'], number: number): string =>
  `${databaseIdentifier(database)}-server-${number}`

/** Whether there is anything to read from beside the primary. */
export const hasReplica = (database: Environment['database']): boolean =>
  database.engine === 'rds' ? database.readReplica : database.readers > 0

/** Machines for the services with launch type ec2; several types, because one may be sold out. */
const nodes = z.strictObject({
  instanceTypes: z.array(instanceType).min(2, 'must name at least two instance types'),
  min: whole(2, 100),
  max: whole(2, 100),
})

/** A synthetic user that checks every few minutes whether the API works from outside. */
const canary = z.strictObject({
  // No default: the load balancer's own name is not in the certificate.
  url: matching(
    /^https:\/\/[a-z0-9-]+(\.[a-z0-9-]+)+$/,
    'must be the address that users call, such as https://tasks.example.com',
  ),
})

const photos = z.strictObject({
  // Names of buckets are the world's, not the account's.
  bucketPrefix: matching(
    /^[a-z0-9]([a-z0-9-]{1,38}[a-z0-9])$/,
    'must be three to forty lower-case letters, digits and hyphens, such as tasktrail-333333333333',
  ),
  encryption: z.enum(['s3', 'kms'], "must be s3, S3's own keys, or kms, our key").default('s3'),
})

const mail = z.strictObject({
  domain: matching(
    /^[a-z0-9-]+(\.[a-z0-9-]+)+$/,
    'must be the domain that mails come from, such as example.com',
  ),
  /** What stands before the @. */
  sender: matching(/^[a-z0-9]+([._-][a-z0-9]+)*$/, 'must be the name of a mailbox').default(
    'no-reply',
  ),
  // Links in mails lead there.
  publicUrl: matching(
    /^https?:\/\/[a-z0-9-]+(\.[a-z0-9-]+)+$/,
    'must be the address that users call, such as https://tasks.example.com',
  ),
})

const nodeType = matching(/^cache\.[a-z]\w*\.\w+$/, 'must be a node type such as cache.t3.micro')

const redis = z.discriminatedUnion(
  'mode',
  [
    z.strictObject({ mode: z.literal('single'), nodeType }),
    // Each shard has a part of the keys, on a primary and on replicas that can take its place.
    z.strictObject({
      mode: z.literal('cluster'),
      nodeType,
      shards: whole(1, 4),
      replicas: whole(1, 5),
    }),
  ],
  'must have the mode single or cluster',
)

const log = z.strictObject({
  // It is in every checkpoint and in the verifier key: with another one it is another log.
  origin: z
    .string()
    .refine(isKeyName, 'must be a name without spaces and +, such as tasks.example.com/log')
    .optional(),
  // Both come from secrets that the first deployment creates: docs/deploy.md.
  verifierKey: z.string('must be a verifier key').optional(),
  witnessVerifierKey: z.string('must be a verifier key').optional(),
})

/** Where the passwords of accounts are: ADR 34. */
const identity = z.discriminatedUnion(
  'by',
  [
    z.strictObject({ by: z.literal('local') }),
    z.strictObject({
      by: z.literal('cognito'),
      /** Sends the codes, by SES, which has to know its domain. @default - Cognito, fifty a day */
      sender: z.email('must be an e-mail address').optional(),
      /** Pages of Cognito to sign in at, for the same pool as a provider of OpenID Connect. @default - none */
      hostedUi: z
        .strictObject({
          domainPrefix: matching(
            /^(?!.*(aws|amazon|cognito))[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
            'must be lower-case letters, digits and hyphens, such as tasktrail-333333333333',
          ),
          callbackUrls: z
            .array(matching(/^https:\/\/[^\s?#]+$/, 'must be an https URL without a query'))
            .min(1, 'must name at least one page'),
        })
        .optional(),
    }),
  ],
  'must be by local or by cognito',
)

/** As a browser writes it in `Origin`: exactly this one, with neither a path nor a wildcard. */
const origin = matching(
  /^https?:\/\/[a-z0-9-]+(\.[a-z0-9-]+)*(:\d{1,5})?$/,
  'must be an origin such as https://app.example.com',
)

/** An API Gateway in front of the load balancer, which then is internal: ADR 25. */
const edge = z.strictObject({
  // The certificate must have it: API Gateway calls the load balancer by this name too.
  domain: matching(
    /^[a-z0-9-]+(\.[a-z0-9-]+)+$/,
    'must be the host that users call, such as api.example.com',
  ).optional(),
  /** Requests a second of all users together, and how many at once on top: for the account's sake. */
  throttle: z
    .strictObject({ rate: whole(1, 10_000), burst: whole(1, 5_000) })
    .default({ rate: 1_000, burst: 2_000 }),
})

export const environmentSchema = z.strictObject({
  name: z.enum(['dev', 'staging', 'prod'], 'must be dev, staging or prod'),
  account: matching(/^\d{12}$/, 'must be an account of twelve digits'),
  region: matching(/^[a-z]{2}(-[a-z]+)+-\d$/, 'must be a region such as us-east-1').default(
    'us-east-1',
  ),
  vpc,
  egress,
  certificateArn: matching(
    /^arn:aws:acm:[a-z0-9-]+:\d{12}:certificate\/[0-9a-f-]{36}$/,
    'must be the ARN of a certificate in ACM',
  ).optional(),
  images: z.record(z.enum(IMAGE_NAMES), version),
  services: z.record(z.enum(SERVICE_NAMES), service),
  database,
  log: log.default({}),
  /** A bucket for photos. @default - none */
  photos: photos.optional(),
  /** Whose mails SES sends. @default - nobody sends mails: addresses stay unconfirmed */
  mail: mail.optional(),
  /** Where requests are counted for all tasks. @default - each task counts for itself */
  redis: redis.optional(),
  /** @default - in our own database */
  identity: identity.default({ by: 'local' }),
  nodes: nodes.optional(),
  // For the load balancer, the database and the stacks. What is protected cannot be rolled back if a first
  // deployment fails, so it starts as false: docs/deploy.md.
  deletionProtection: z.boolean('must be true or false'),
  canary: canary.optional(),
  /** @default - clients reach the load balancer itself */
  edge: edge.optional(),
  /** Of the web applications whose scripts may call: what answers them allows these, and no others. */
  corsOrigins: z.array(origin).default([]),
  alarmEmails: z.array(z.email('must be an e-mail address')).default([]),
})

/** An environment as its file writes it; `region` and `alarmEmails` may be left out. */
export type EnvironmentInput = z.input<typeof environmentSchema>

/** An environment that has been checked. */
export type Environment = z.output<typeof environmentSchema>
export type OwnVpcConfig = Extract<Environment['vpc'], { readonly by: 'own' }>
export type ExistingVpcConfig = Exclude<Environment['vpc'], OwnVpcConfig>

export type CognitoConfig = Extract<Environment['identity'], { readonly by: 'cognito' }>
export type EdgeConfig = NonNullable<Environment['edge']>
export type MailConfig = NonNullable<Environment['mail']>
export type RedisConfig = NonNullable<Environment['redis']>
export type ServiceConfig = Environment['services'][keyof Environment['services']]
