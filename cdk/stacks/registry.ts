import { RemovalPolicy, Stack, type StackProps } from 'aws-cdk-lib'
import { Repository, RepositoryEncryption, TagMutability } from 'aws-cdk-lib/aws-ecr'
import type { Construct } from 'constructs'
import { IMAGE_NAMES } from '../catalogue.ts'

const IMAGES_KEPT = 10

/** The image repositories. Deployed first: a service cannot start before its image is pushed. */
export class RegistryStack extends Stack {
  constructor(scope: Construct, id: string, props: StackProps) {
    super(scope, id, props)
    for (const name of IMAGE_NAMES) {
      new Repository(this, name, {
        repositoryName: name,
        imageScanOnPush: true,
        imageTagMutability: TagMutability.IMMUTABLE,
        encryption: RepositoryEncryption.AES_256,
        lifecycleRules: [{ description: 'The last ten', maxImageCount: IMAGES_KEPT }],
        removalPolicy: RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
      })
    }
  }
}
