import { RemovalPolicy, Stack, type StackProps } from 'aws-cdk-lib'
import { Repository, RepositoryEncryption, TagMutability } from 'aws-cdk-lib/aws-ecr'
import type { Construct } from 'constructs'
import { IMAGE_NAMES, type ImageName } from '../catalogue.ts'

const IMAGES_KEPT = 10

/** Where images lie. Deployed first: a service cannot start before its image has been pushed. */
export class RegistryStack extends Stack {
  readonly repositories: Readonly<Record<ImageName, Repository>>

  constructor(scope: Construct, id: string, props: StackProps) {
    super(scope, id, props)
    const repositories = IMAGE_NAMES.map((name) => [name, this.#repository(name)])
    this.repositories = Object.fromEntries(repositories)
  }

  #repository(name: ImageName): Repository {
    return new Repository(this, name, {
      repositoryName: name,
      imageScanOnPush: true,
      imageTagMutability: TagMutability.IMMUTABLE,
      encryption: RepositoryEncryption.AES_256,
      lifecycleRules: [{ description: 'The last ten', maxImageCount: IMAGES_KEPT }],
      removalPolicy: RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
    })
  }
}
