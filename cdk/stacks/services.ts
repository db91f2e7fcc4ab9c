import { CfnOutput, Stack, type StackProps } from 'aws-cdk-lib'
import {
  ApplicationListener,
  type IApplicationListener,
} from 'aws-cdk-lib/aws-elasticloadbalancingv2'
import { type IRole, Role } from 'aws-cdk-lib/aws-iam'
import { type IKey, Key } from 'aws-cdk-lib/aws-kms'
import { StringParameter } from 'aws-cdk-lib/aws-ssm'
import type { Construct } from 'constructs'
import {
  HTTP_SERVICE_NAMES,
  type HttpServiceName,
  SERVICE_NAMES,
  SERVICES,
  type ServiceName,
  TEXT_KEYS,
  WITNESS_HEALTH_PATH,
  WITNESS_KEYS,
} from '../catalogue.ts'
import { originOf, witnessing, witnessNameOf } from '../config/log.ts'
import { type Environment, hasReplica } from '../config/schema.ts'
import { SECRET_FIELD } from '../constructs/app-secrets.ts'
import { Canary } from '../constructs/canary.ts'
import { ContainerTask } from '../constructs/container-task.ts'
import { DesiredCounts } from '../constructs/desired-counts.ts'
import type { EcsServiceProps } from '../constructs/ecs-service.ts'
import { fixedGroup } from '../constructs/fixed-group.ts'
import { HttpService } from '../constructs/http-service.ts'
import { MailAlarm } from '../constructs/mail-alarm.ts'
import { sender } from '../constructs/mail-identity.ts'
import { Migration } from '../constructs/migration.ts'
import { PhotoEvents } from '../constructs/photo-events.ts'
import { ReplicaAlarm } from '../constructs/replica-alarm.ts'
import type { SecretField } from '../constructs/secret-access.ts'
import { ServiceAlarms } from '../constructs/service-alarms.ts'
import { AccessLogMetrics } from '../constructs/service-metrics.ts'
import { ServiceRoutes } from '../constructs/service-routes.ts'
import { WitnessService } from '../constructs/witness-service.ts'
import { WorkerService } from '../constructs/worker-service.ts'
import {
  DATABASE,
  DATABASE_ADDRESS,
  DATABASE_ADMIN_SECRET,
  DATABASE_PORT,
  DATABASE_READ_ADDRESS,
  NAMESPACE,
  photosBucket,
  REDIS_URL,
  SERVICE_PORT,
  type SecretName,
  USER_POOL_CLIENT_ID,
  USER_POOL_ID,
  WITNESS,
} from '../names.ts'
import type { DataStack } from './data.ts'
import type { NetworkStack } from './network.ts'
import type { PlatformStack } from './platform.ts'

export type ServicesProps = StackProps & {
  readonly environment: Environment
  readonly network: NetworkStack
  readonly data: DataStack
  readonly platform: PlatformStack
}

/** What is deployed with every version: first the migration, then the services. */
export class ServicesStack extends Stack {
  readonly #props: ServicesProps
  readonly #key: IKey
  readonly #listener: IApplicationListener
  readonly #counts: DesiredCounts

  constructor(scope: Construct, id: string, props: ServicesProps) {
    super(scope, id, props)
    this.#props = props
    const { network, data, platform } = props
    this.#key = Key.fromKeyArn(this, 'Key', data.key.keyArn)
    this.#listener = ApplicationListener.fromApplicationListenerAttributes(this, 'Listener', {
      listenerArn: platform.frontDoor.listener.listenerArn,
      securityGroup: fixedGroup(this, network.loadBalancer),
    })
    this.#counts = new DesiredCounts(this, 'DesiredCounts')
    const migration = this.#migration()
    this.#rebuild()
    const services = [
      ...HTTP_SERVICE_NAMES.map((name) => this.#service(name)),
      this.#witness(),
      this.#worker(),
    ]
    for (const service of services) service.node.addDependency(migration.run)
    this.#photoEvents()
    this.#canary()?.node.addDependency(...services)
  }

  #migration(): Migration {
    const { environment, network } = this.#props
    const version = environment.images.migration
    const logins = SERVICE_NAMES.flatMap((name) => {
      const secret = this.#props.data.secrets.logins[name]
      const prefix = SERVICES[name].databasePrefix
      return [
        [`${prefix}_DB_USER`, { secret, field: 'username' }],
        [`${prefix}_DB_PASSWORD`, { secret, field: 'password' }],
      ] as const
    })
    const task = new ContainerTask(this, 'migration', {
      name: 'migration',
      image: 'migration',
      tag: version,
      size: { cpu: 256, memoryMiB: 512 },
      key: this.#key,
      environment: this.#database(),
      secrets: { ...this.#administrator(), ...Object.fromEntries(logins) },
    })
    return new Migration(this, 'Migrate', {
      task,
      version,
      vpc: network.vpc,
      securityGroup: fixedGroup(this, network.migration),
    })
  }

  /**
   * Only a person runs it, by hand (docs/runbooks/rebuild.md): a rebuild needs the owner of the tables and
   * the key of the texts, and no automatic task should have both.
   */
  #rebuild(): void {
    const { environment } = this.#props
    new ContainerTask(this, 'rebuild', {
      name: 'rebuild',
      image: 'worker',
      tag: environment.images.worker,
      size: { cpu: 512, memoryMiB: 1_024 },
      key: this.#key,
      script: '/app/projections.js',
      environment: this.#database(),
      secrets: { ...this.#administrator(), ...this.#values(TEXT_KEYS) },
    })
  }

  #service(name: HttpServiceName): HttpService {
    const { network, platform } = this.#props
    const place = this.#place(name)
    new AccessLogMetrics(this, `${name}-metrics`, place.task.logs)
    if (name === 'task-service' && hasReplica(this.#props.environment.database)) {
      new ReplicaAlarm(this, 'Replica', { topic: platform.alarms, logGroup: place.task.logs })
    }
    const routes = new ServiceRoutes(this, `${name}-routes`, {
      name,
      vpc: network.vpc,
      listener: this.#listener,
    })
    const alarms = new ServiceAlarms(this, `${name}-alarms`, {
      name,
      topic: platform.alarms,
      targets: routes.targets,
    })
    return new HttpService(this, `${name}-service`, {
      ...place,
      name,
      routes,
      namespace: platform.namespace,
      alarms,
      counts: this.#counts,
    })
  }

  #worker(): WorkerService {
    const { environment, platform } = this.#props
    const place = this.#place('worker')
    const topic = platform.alarms
    if (environment.mail) new MailAlarm(this, 'Mails', { topic, logGroup: place.task.logs })
    return new WorkerService(this, 'worker-service', { ...place, topic })
  }

  /** On Fargate wherever the others run: a machine of ours would mount the files for everybody on it. */
  #witness(): WitnessService {
    const { environment, network, platform } = this.#props
    const runs = witnessing(environment) !== null
    if (!runs) {
      new CfnOutput(this, 'WitnessWaitsForItsKeys', {
        value: 'Set log.verifierKey and log.witnessVerifierKey: docs/deploy.md, The witness',
      })
    }
    return new WitnessService(this, 'witness-service', {
      name: WITNESS,
      cluster: platform.cluster,
      task: this.#witnessTask(),
      securityGroup: fixedGroup(this, network.witness),
      launchType: 'fargate',
      namespace: platform.namespace,
      topic: platform.alarms,
      runs,
    })
  }

  #witnessTask(): ContainerTask {
    const { environment, data } = this.#props
    const { fileSystem, accessPoint, role } = data.witnessStore
    return new ContainerTask(this, WITNESS, {
      name: WITNESS,
      image: WITNESS,
      tag: environment.images[WITNESS],
      size: { cpu: 256, memoryMiB: 512 },
      key: this.#key,
      healthPath: WITNESS_HEALTH_PATH,
      open: true,
      script: '/app/witness.js',
      environment: {
        PORT: String(SERVICE_PORT),
        WITNESS_NAME: witnessNameOf(environment),
        WITNESS_DIR,
        WITNESS_LOGS: witnessing(environment)?.logs ?? '',
        // No load balancer has to drain it first.
        DRAIN_SECONDS: '0',
      },
      secrets: this.#values(WITNESS_KEYS),
      taskRole: this.#fixedRole('WitnessRole', role),
      files: {
        fileSystemId: fileSystem.fileSystemId,
        accessPointId: accessPoint.accessPointId,
        path: WITNESS_DIR,
      },
    })
  }

  /** Who signs the log, and who has to cosign it. */
  #log(): Record<string, string> {
    const { environment } = this.#props
    const known = witnessing(environment)
    return {
      LOG_ORIGIN: originOf(environment),
      ...(known !== null && { WITNESSES: known.policy }),
    }
  }

  #photoEvents(): void {
    const { environment, network, data, platform } = this.#props
    const { photos } = environment
    if (photos === undefined || network.photoEvents === undefined) return
    new PhotoEvents(this, 'PhotoEvents', {
      bucketName: photosBucket(photos.bucketPrefix, environment.name),
      vpc: network.vpc,
      securityGroup: fixedGroup(this, network.photoEvents),
      key: this.#key,
      apiKeyArn: data.secrets.values['internal-api-key'].secretArn,
      topic: platform.alarms,
    })
  }

  /** It uses the services, so it must not run before they do. */
  #canary(): Canary | undefined {
    const { environment, platform } = this.#props
    return (
      environment.canary &&
      new Canary(this, 'Canary', { ...environment.canary, topic: platform.alarms, key: this.#key })
    )
  }

  #place(name: ServiceName): EcsServiceProps {
    const { environment, network, platform } = this.#props
    return {
      name,
      cluster: platform.cluster,
      task: this.#task(name),
      securityGroup: fixedGroup(this, network.services[name]),
      launchType: environment.services[name].launchType,
    }
  }

  #task(name: ServiceName): ContainerTask {
    const { environment, data } = this.#props
    const { size, poolMax } = environment.services[name]
    const role = data.taskRole(name)
    const { healthPath, script } = SERVICES[name]
    return new ContainerTask(this, name, {
      name,
      image: name,
      tag: environment.images[name],
      size,
      key: this.#key,
      healthPath,
      open: name !== 'worker',
      ...(script !== undefined && { script }),
      environment: {
        PORT: String(SERVICE_PORT),
        DB_POOL_MAX: String(poolMax),
        ...this.#database(),
        ...(name === 'task-service' && this.#replica(poolMax)),
        ...this.#photos(name),
        ...(name === 'auth-service' && { ...this.#publicUrl(), ...this.#userPool() }),
        ...(isHttpService(name) && this.#redis()),
        ...addresses(name),
        ...(name !== 'worker' && this.#origins()),
        ...(name === 'worker' && { ...this.#log(), ...this.#mail() }),
        ...SERVICES[name].environment,
      },
      secrets: this.#secrets(name),
      ...(role !== undefined && { taskRole: this.#fixedRole(`${name}-role`, role) }),
    })
  }

  /** Where the photos are, for those who have a right to them. */
  #photos(name: ServiceName): Record<string, string> | undefined {
    const { environment, data } = this.#props
    const { photos, region } = environment
    if (photos === undefined || data.photoRole(name) === undefined) return undefined
    return {
      PHOTOS_BUCKET: photosBucket(photos.bucketPrefix, environment.name),
      AWS_REGION: region,
    }
  }

  /** Whose mails the worker sends, by SES. */
  #mail(): Record<string, string> | undefined {
    const { mail, region } = this.#props.environment
    if (mail === undefined) return undefined
    return {
      SES_REGION: region,
      MAIL_FROM: `Tasktrail <${sender(mail)}>`,
      PUBLIC_URL: mail.publicUrl,
    }
  }

  /** Where users reach the API: passkeys are for its domain. */
  #publicUrl(): Record<string, string> | undefined {
    const { mail, canary } = this.#props.environment
    const url = mail?.publicUrl ?? canary?.url
    return url === undefined ? undefined : { PUBLIC_URL: url }
  }

  /** Who is asked who somebody is. */
  #userPool(): Record<string, string> | undefined {
    const { environment, data } = this.#props
    if (data.accounts === undefined) return undefined
    return {
      IDENTITY: 'cognito',
      COGNITO_USER_POOL_ID: this.#parameter(USER_POOL_ID),
      COGNITO_CLIENT_ID: this.#parameter(USER_POOL_CLIENT_ID),
      AWS_REGION: environment.region,
    }
  }

  /** Of an earlier stack, where all its rights are. */
  #fixedRole(id: string, { roleArn }: IRole): IRole {
    return Role.fromRoleArn(this, id, roleArn, { mutable: false })
  }

  /** Whose pages may call; the services answer them, and not what stands in front. */
  #origins(): Record<string, string> | undefined {
    const { corsOrigins } = this.#props.environment
    return corsOrigins.length > 0 ? { CORS_ORIGINS: corsOrigins.join(',') } : undefined
  }

  #secrets(name: ServiceName): Record<string, SecretField> {
    const { secrets, accounts } = this.#props.data
    const login = secrets.logins[name]
    const redis = this.#props.environment.redis !== undefined && isHttpService(name)
    return {
      ...loginWith(login),
      ...this.#values(SERVICES[name].secrets),
      ...(redis && this.#values({ REDIS_PASSWORD: 'redis-password' })),
      ...(name === 'auth-service' && accounts !== undefined
        ? { COGNITO_CLIENT_SECRET: { secret: accounts.clientSecret, field: SECRET_FIELD } }
        : {}),
    }
  }

  #administrator(): Record<string, SecretField> {
    return loginWith({ secretArn: this.#parameter(DATABASE_ADMIN_SECRET) })
  }

  #values(variables: Readonly<Record<string, SecretName>>): Record<string, SecretField> {
    const { values } = this.#props.data.secrets
    return Object.fromEntries(
      Object.entries(variables).map(([variable, which]) => {
        return [variable, { secret: values[which], field: SECRET_FIELD }]
      }),
    )
  }

  /** Its value when this stack is deployed. */
  #parameter(name: string): string {
    return StringParameter.valueForStringParameter(this, name)
  }

  /** All but its address is as the database's. */
  #replica(poolMax: number): Record<string, string> | undefined {
    if (!hasReplica(this.#props.environment.database)) return undefined
    return {
      READ_DB_HOST: this.#parameter(DATABASE_READ_ADDRESS),
      READ_DB_POOL_MAX: String(poolMax),
    }
  }

  /** Where requests are counted for all tasks. The roots in Node include that of its certificate. */
  #redis(): Record<string, string> | undefined {
    const { redis } = this.#props.environment
    return redis && { REDIS_URL: this.#parameter(REDIS_URL), REDIS_MODE: redis.mode }
  }

  /** PostgreSQL accepts only TLS; the bundle in the image has the root of its certificate. */
  #database(): Record<string, string> {
    return {
      DB_HOST: this.#parameter(DATABASE_ADDRESS),
      DB_PORT: String(DATABASE_PORT),
      DB_NAME: DATABASE,
      DB_SSLMODE: 'verify-full',
      NODE_EXTRA_CA_CERTS: '/app/rds-ca.pem',
    }
  }
}

const WITNESS_DIR = '/var/lib/witness'

const loginWith = (secret: SecretField['secret']): Record<string, SecretField> => ({
  DB_USER: { secret, field: 'username' },
  DB_PASSWORD: { secret, field: 'password' },
})

const isHttpService = (name: ServiceName): name is HttpServiceName =>
  HTTP_SERVICE_NAMES.some((one) => one === name)

/** The addresses of the services that this one calls. */
const addresses = (name: ServiceName): Record<string, string> =>
  Object.fromEntries(
    Object.entries(SERVICES[name].calls).map(([variable, callee]) => {
      return [variable, `http://${callee}.${NAMESPACE}:${SERVICE_PORT}`]
    }),
  )
