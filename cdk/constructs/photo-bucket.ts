import { Duration, RemovalPolicy, Stack } from 'aws-cdk-lib'
import { AnyPrincipal, Effect, PolicyStatement } from 'aws-cdk-lib/aws-iam'
import type { IKey } from 'aws-cdk-lib/aws-kms'
import {
  BlockPublicAccess,
  Bucket,
  BucketEncryption,
  type CfnBucket,
  type CorsRule,
  HttpMethods,
  type IBucket,
  type LifecycleRule,
  ObjectOwnership,
  StorageClass,
  TransitionDefaultMinimumObjectSize,
} from 'aws-cdk-lib/aws-s3'
import { Construct } from 'constructs'
import type { Environment } from '../config/schema.ts'
import { PHOTO_REQUESTS, photosBucket, taskRole } from '../names.ts'
import { logBucket } from './log-bucket.ts'
import { PHOTO_TASKS, type PhotoRoles, photoRoles, USERS } from './photo-roles.ts'

export type PhotoBucketProps = {
  readonly environment: Pick<Environment, 'name' | 'corsOrigins'>
  readonly photos: NonNullable<Environment['photos']>
  readonly key: IKey
}

/**
 * The photos, each version of them. Clients upload and download by URLs that a service has signed; nobody
 * else has a way to them, except by changing the policy of the bucket.
 */
export class PhotoBucket extends Construct {
  readonly roles: PhotoRoles

  constructor(scope: Construct, id: string, props: PhotoBucketProps) {
    super(scope, id)
    const { environment, photos, key } = props
    const ours = photos.encryption === 'kms'
    const bucket = new Bucket(this, 'Bucket', {
      bucketName: photosBucket(photos.bucketPrefix, environment.name),
      versioned: true,
      ...(ours
        ? { encryption: BucketEncryption.KMS, encryptionKey: key, bucketKeyEnabled: true }
        : { encryption: BucketEncryption.S3_MANAGED }),
      blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
      objectOwnership: ObjectOwnership.BUCKET_OWNER_ENFORCED,
      enforceSSL: true,
      cors: corsFor(environment.corsOrigins),
      lifecycleRules: [...LIFECYCLE],
      transitionDefaultMinimumObjectSize:
        TransitionDefaultMinimumObjectSize.ALL_STORAGE_CLASSES_128_K,
      serverAccessLogsBucket: logBucket(this, 'AccessLogs') as IBucket,
      metrics: [{ id: PHOTO_REQUESTS }],
      removalPolicy: RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
    })
    reportToEventBridge(bucket)
    this.roles = photoRoles(this, { bucketArn: bucket.bucketArn, keyArn: ours ? key.keyArn : null })
    bucket.addToResourcePolicy(forNobodyElse(bucket))
  }
}

/**
 * Versions that are no longer the newest never expire here. Whoever repeats an upload with the same form
 * makes a newer version of its key, and what the trail names is the older one; what the trail names no
 * more, or never named, the worker removes, which alone knows.
 */
const LIFECYCLE: readonly LifecycleRule[] = [
  {
    id: 'rarely-opened-after-90-days',
    prefix: USERS,
    // Not Glacier Flexible Retrieval: a signed URL must answer at once, not after a restore of hours.
    // Thumbnails stay where they are: nothing below 128 KB is moved.
    transitions: [
      { storageClass: StorageClass.GLACIER_INSTANT_RETRIEVAL, transitionAfter: Duration.days(90) },
    ],
    noncurrentVersionTransitions: [
      { storageClass: StorageClass.GLACIER_INSTANT_RETRIEVAL, transitionAfter: Duration.days(90) },
    ],
  },
  {
    id: 'temporary-for-30-days',
    prefix: 'tmp/',
    expiration: Duration.days(30),
    noncurrentVersionExpiration: Duration.days(1),
  },
  {
    id: 'nothing-half-done',
    abortIncompleteMultipartUploadAfter: Duration.days(7),
    // Of a key of which no version is left.
    expiredObjectDeleteMarker: true,
  },
]

/** What scripts of our web applications may do; a signed URL or form must allow it too. */
const corsFor = (origins: readonly string[]): CorsRule[] =>
  origins.length === 0
    ? []
    : [
        {
          allowedOrigins: [...origins],
          allowedMethods: [HttpMethods.POST, HttpMethods.GET, HttpMethods.HEAD],
          allowedHeaders: ['*'],
          exposedHeaders: ['ETag', 'x-amz-version-id'],
          maxAge: Duration.hours(1).toSeconds(),
        },
      ]

/** The library's own property would deploy a function only to switch this on. */
function reportToEventBridge(bucket: Bucket): void {
  const resource = bucket.node.defaultChild as CfnBucket
  resource.notificationConfiguration = { eventBridgeConfiguration: { eventBridgeEnabled: true } }
}

/** Administrators too may do much with the bucket, but not see or change a photo. */
function forNobodyElse(bucket: Bucket): PolicyStatement {
  const { account, region } = Stack.of(bucket)
  return new PolicyStatement({
    sid: 'PhotosForTheirServicesAlone',
    effect: Effect.DENY,
    principals: [new AnyPrincipal()],
    actions: ['s3:GetObject*', 's3:PutObject*', 's3:DeleteObject*', 's3:RestoreObject'],
    resources: [bucket.arnForObjects('*')],
    conditions: {
      ArnNotEquals: {
        'aws:PrincipalArn': PHOTO_TASKS.map(
          (task) => `arn:aws:iam::${account}:role/${taskRole(task, region)}`,
        ),
      },
    },
  })
}
