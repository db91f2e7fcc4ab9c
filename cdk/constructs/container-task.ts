import { Duration, Stack } from 'aws-cdk-lib'
import { Repository } from 'aws-cdk-lib/aws-ecr'
import {
  AppProtocol,
  Capability,
  Compatibility,
  ContainerImage,
  CpuArchitecture,
  LinuxParameters,
  LogDrivers,
  NetworkMode,
  OperatingSystemFamily,
  TaskDefinition,
  type Volume,
} from 'aws-cdk-lib/aws-ecs'
import { type IRole, Role } from 'aws-cdk-lib/aws-iam'
import type { IKey } from 'aws-cdk-lib/aws-kms'
import { type ILogGroup, LogGroup } from 'aws-cdk-lib/aws-logs'
import { Construct } from 'constructs'
import type { ImageName, TaskName } from '../catalogue.ts'
import type { ServiceConfig } from '../config/schema.ts'
import { containerLogs, executionRole, SERVICE_PORT } from '../names.ts'
import { ecsTasks } from './ecs-tasks.ts'
import { injectSecrets, type SecretField } from './secret-access.ts'

export type ContainerTaskProps = {
  /** Names the container, its logs and its execution role. */
  readonly name: TaskName
  /** Its repository, by name. */
  readonly image: ImageName
  /** A semantic version. */
  readonly tag: string
  readonly size: ServiceConfig['size']
  readonly key: IKey
  readonly environment: Readonly<Record<string, string>>
  readonly secrets: Readonly<Record<string, SecretField>>
  /** @default - none: it ends by itself */
  readonly healthPath?: string
  /** Whether others connect to it. @default - no */
  readonly open?: boolean
  /**
   * The script that it runs; a run by hand can then name another one of its image. @default - what the
   * image starts
   */
  readonly script?: string
  /** @default - a role of its own, without rights */
  readonly taskRole?: IRole
  /** The one place that it can write to. @default - none */
  readonly files?: Files
}

/** A directory of EFS, mounted with the rights of the task's role. */
export type Files = {
  readonly fileSystemId: string
  readonly accessPointId: string
  /** Where the container sees it. */
  readonly path: string
}

/**
 * One container, on Fargate and on our own machines alike: with a read-only file system, without rights in
 * AWS of its own, and with an execution role that reads its own secrets and image and writes its own logs.
 */
export class ContainerTask extends Construct {
  readonly definition: TaskDefinition
  /** From an earlier stack: they survive a failed first deployment. */
  readonly logs: ILogGroup

  constructor(scope: Construct, id: string, props: ContainerTaskProps) {
    super(scope, id)
    const { name, size } = props
    this.logs = LogGroup.fromLogGroupName(this, 'Logs', containerLogs(name))
    this.definition = new TaskDefinition(this, 'Definition', {
      family: `${name}-task`,
      compatibility: Compatibility.EC2_AND_FARGATE,
      networkMode: NetworkMode.AWS_VPC,
      cpu: String(size.cpu),
      memoryMiB: String(size.memoryMiB),
      runtimePlatform: {
        cpuArchitecture: CpuArchitecture.X86_64,
        operatingSystemFamily: OperatingSystemFamily.LINUX,
      },
      executionRole: new Role(this, 'ExecutionRole', {
        roleName: executionRole(name, Stack.of(this).region),
        assumedBy: ecsTasks(this),
      }),
      taskRole: props.taskRole ?? new Role(this, 'TaskRole', { assumedBy: ecsTasks(this) }),
      ...(props.files !== undefined && { volumes: [volumeOf(props.files)] }),
    })
    this.#container(props)
  }

  #container(props: ContainerTaskProps): void {
    const { name, image, tag, size, key, environment, secrets, ...rest } = props
    const { healthPath, open, script } = rest
    // By its fixed name: the repository is deployed long before, and no update of it affects this task.
    const repository = Repository.fromRepositoryName(this, 'Repository', image)
    const linuxParameters = new LinuxParameters(this, 'Linux')
    linuxParameters.dropCapabilities(Capability.ALL)
    const container = this.definition.addContainer(name, {
      containerName: name,
      image: ContainerImage.fromEcrRepository(repository, tag),
      ...(script !== undefined && { entryPoint: ['/usr/local/bin/node'], command: [script] }),
      essential: true,
      memoryLimitMiB: size.memoryMiB,
      user: '1000',
      privileged: false,
      readonlyRootFilesystem: true,
      linuxParameters,
      environment: { NODE_ENV: 'production', ...environment },
      secrets: injectSecrets(this, this.definition, key.keyArn, secrets),
      logging: LogDrivers.awsLogs({ logGroup: this.logs, streamPrefix: name }),
      // A service stops within 25 s of SIGTERM; after this ECS kills it.
      stopTimeout: Duration.seconds(60),
      ...(healthPath !== undefined && { healthCheck: healthCheck(healthPath) }),
    })
    const { files } = props
    if (files !== undefined) {
      container.addMountPoints({
        sourceVolume: VOLUME,
        containerPath: files.path,
        readOnly: false,
      })
    }
    if (open !== true) return
    container.addPortMappings({
      name: 'http',
      containerPort: SERVICE_PORT,
      appProtocol: AppProtocol.http,
    })
  }
}

const VOLUME = 'files'

const volumeOf = ({ fileSystemId, accessPointId }: Files): Volume => ({
  name: VOLUME,
  efsVolumeConfiguration: {
    fileSystemId,
    transitEncryption: 'ENABLED',
    authorizationConfig: { accessPointId, iam: 'ENABLED' },
  },
})

/** In the task definition, because ECS ignores the image's own HEALTHCHECK. */
const healthCheck = (path: string) => ({
  command: ['CMD', '/usr/local/bin/node', '/app/health.js', path],
  interval: Duration.seconds(30),
  timeout: Duration.seconds(5),
  retries: 3,
  startPeriod: Duration.seconds(15),
})
