import { Stack } from 'aws-cdk-lib'
import { PolicyStatement, Role } from 'aws-cdk-lib/aws-iam'
import type { Construct } from 'constructs'
import { taskRole } from '../names.ts'
import { ecsTasks } from './ecs-tasks.ts'

/** All keys of photos begin with it: `users/<user>/photos/<photo>/original`, `large` and `small`. */
export const USERS = 'users/'

/** The tasks that come to the photos; no other has a right to them. */
export const PHOTO_TASKS = ['task-service', 'worker'] as const
export type PhotoTask = (typeof PHOTO_TASKS)[number]
export type PhotoRoles = Readonly<Record<PhotoTask, Role>>

export type PhotoRolesProps = {
  readonly bucketArn: string
  /** Of our key, if the photos are under it. */
  readonly keyArn: string | null
}

/**
 * Signs forms and URLs, which can do what it may itself; looks at what was uploaded, and whether the
 * bucket is there. It removes nothing.
 */
const READS_AND_WRITES = ['s3:PutObject', 's3:GetObject', 's3:GetObjectVersion'] as const
/** Also removes: versions that no event names, and all of a user who is erased. Never by a marker. */
const REMOVES = ['s3:DeleteObjectVersion'] as const

export function photoRoles(scope: Construct, props: PhotoRolesProps): PhotoRoles {
  return {
    'task-service': role(scope, 'task-service', props, []),
    worker: role(scope, 'worker', props, REMOVES),
  }
}

function role(
  scope: Construct,
  task: PhotoTask,
  { bucketArn, keyArn }: PhotoRolesProps,
  more: readonly string[],
): Role {
  const made = new Role(scope, task, {
    roleName: taskRole(task, Stack.of(scope).region),
    assumedBy: ecsTasks(scope),
  })
  made.addToPolicy(
    new PolicyStatement({
      sid: 'Photos',
      actions: [...READS_AND_WRITES, ...more],
      resources: [`${bucketArn}/${USERS}*`],
    }),
  )
  made.addToPolicy(
    new PolicyStatement({
      sid: 'WhetherTheyAreThere',
      // Without it, S3 answers 403 in the place of 404, and to the question whether it is there.
      actions: ['s3:ListBucket'],
      resources: [bucketArn],
    }),
  )
  if (more.length > 0) made.addToPolicy(listing(bucketArn))
  if (keyArn !== null) made.addToPolicy(byOurKey(scope, bucketArn, keyArn))
  return made
}

const listing = (bucketArn: string): PolicyStatement =>
  new PolicyStatement({
    sid: 'WhichVersionsThereAre',
    actions: ['s3:ListBucketVersions'],
    resources: [bucketArn],
    conditions: { StringLike: { 's3:prefix': `${USERS}*` } },
  })

/** Who uploads or downloads by a signed URL does so with the rights of the role that has signed it. */
const byOurKey = (scope: Construct, bucketArn: string, keyArn: string): PolicyStatement =>
  new PolicyStatement({
    sid: 'UnderOurKey',
    actions: ['kms:Decrypt', 'kms:GenerateDataKey'],
    resources: [keyArn],
    conditions: {
      StringEquals: {
        'kms:ViaService': `s3.${Stack.of(scope).region}.amazonaws.com`,
        // With a key of the bucket, which is one call for many photos.
        'kms:EncryptionContext:aws:s3:arn': bucketArn,
      },
    },
  })
