import { expect } from 'chai'
import { dev } from '../../cdk/config/dev.ts'
import { parseEnvironment } from '../../cdk/config/parse.ts'
import { prod } from '../../cdk/config/prod.ts'
import { taskServiceConfig, workerConfig } from '../../src/config.ts'
import { variation } from './support/environments.ts'
import { matchesEvent } from './support/event-pattern.ts'
import { follow, nameOf, within } from './support/references.ts'
import { ACCOUNT, type Attempt, identities, KEY, may } from './support/simulation.ts'
import { ofType, only, properties, type Synthesis, synthesise } from './support/synthesis.ts'

type Properties = ReturnType<typeof only>
const BUCKET = 'tasktrail-333333333333-photos-prod'
const APP = 'https://app.example.com'

describe('The bucket of the photos', () => {
  let synthesis: Synthesis
  let bucket: Properties

  before(() => {
    synthesis = synthesise(variation({ corsOrigins: [APP] }))
    bucket = only(synthesis.templates.data, 'AWS::S3::Bucket', { BucketName: BUCKET })
  })

  it('is named by its environment, behind a prefix that makes the name unique in the world', () => {
    const { data } = synthesise(parseEnvironment(dev)).templates
    const names = properties(data, 'AWS::S3::Bucket').map(({ BucketName }) => BucketName)
    expect(names).to.include('tasktrail-111111111111-photos-dev')
    for (const prefix of ['Tasktrail', 'a.b', '-a', 'a-', 'a'.repeat(41)]) {
      const wrong = { ...prod, photos: { bucketPrefix: prefix } }
      expect(() => parseEnvironment(wrong), prefix).to.throw('photos.bucketPrefix must be')
    }
  })

  it('keeps versions, encrypted by S3, and nobody from outside gets in', () => {
    expect(bucket.VersioningConfiguration).to.deep.equal({ Status: 'Enabled' })
    const [{ ServerSideEncryptionByDefault: encryption }] =
      bucket.BucketEncryption.ServerSideEncryptionConfiguration
    expect(encryption).to.deep.equal({ SSEAlgorithm: 'AES256' })
    expect(bucket.PublicAccessBlockConfiguration).to.deep.equal({
      BlockPublicAcls: true,
      BlockPublicPolicy: true,
      IgnorePublicAcls: true,
      RestrictPublicBuckets: true,
    })
    expect(bucket.OwnershipControls.Rules).to.deep.equal([
      { ObjectOwnership: 'BucketOwnerEnforced' },
    ])
  })

  it('lets scripts of our web applications upload, download and look, and no others', () => {
    expect(bucket.CorsConfiguration.CorsRules).to.deep.equal([
      {
        AllowedOrigins: [APP],
        AllowedMethods: ['POST', 'GET', 'HEAD'],
        AllowedHeaders: ['*'],
        ExposedHeaders: ['ETag', 'x-amz-version-id'],
        MaxAge: 3600,
      },
    ])
    const { data } = synthesise(variation({})).templates
    const without = only(data, 'AWS::S3::Bucket', { BucketName: BUCKET })
    expect(without).to.not.have.property('CorsConfiguration')
  })

  it('moves photos to where they cost less after 90 days and still answer at once', () => {
    const [rule, ...others] = bucket.LifecycleConfiguration.Rules.filter(
      ({ Prefix }: Properties) => Prefix === 'users/',
    )
    expect(others).to.deep.equal([])
    const instant = { StorageClass: 'GLACIER_IR', TransitionInDays: 90 }
    expect(rule.Transitions).to.deep.equal([instant])
    expect(rule.NoncurrentVersionTransitions).to.deep.equal([instant])
    // Thumbnails are smaller.
    const { TransitionDefaultMinimumObjectSize: least } = bucket.LifecycleConfiguration
    expect(least).to.equal('all_storage_classes_128K')
  })

  it('lets no version of a photo expire: the trail may name one that is not the newest', () => {
    const rules: Properties[] = bucket.LifecycleConfiguration.Rules
    const expiring = rules.filter((rule) =>
      Object.keys(rule).some((key) =>
        /^(Noncurrent(Version|Days)?Expiration|Expiration)/.test(key),
      ),
    )
    expect(expiring.map(({ Prefix }) => Prefix)).to.deep.equal(['tmp/'])
  })

  it('keeps what is temporary for 30 days, and nothing that is half done', () => {
    const rules: Properties[] = bucket.LifecycleConfiguration.Rules
    const temporary = rules.find(({ Prefix }) => Prefix === 'tmp/')
    expect(temporary.ExpirationInDays).to.equal(30)
    expect(temporary.NoncurrentVersionExpiration).to.deep.equal({ NoncurrentDays: 1 })
    const everywhere = rules.find(({ Prefix }) => Prefix === undefined)
    expect(everywhere.AbortIncompleteMultipartUpload).to.deep.equal({ DaysAfterInitiation: 7 })
    expect(everywhere.ExpiredObjectDeleteMarker).to.equal(true)
    for (const { Status } of rules) expect(Status).to.equal('Enabled')
  })

  it('logs each access to a bucket that forgets after 90 days, and counts requests each minute', () => {
    const target = follow(synthesis, 'data', bucket.LoggingConfiguration.DestinationBucketName)
    const [{ ExpirationInDays }] = target?.resource.Properties.LifecycleConfiguration.Rules ?? []
    expect(ExpirationInDays).to.equal(90)
    expect(bucket.MetricsConfigurations).to.deep.equal([{ Id: 'all' }])
  })

  it('stays when its stack goes', () => {
    const [[, { DeletionPolicy, UpdateReplacePolicy } = {}] = []] = ofType(
      synthesis.templates.data,
      'AWS::S3::Bucket',
    ).filter(([, { Properties }]) => Properties.BucketName === BUCKET)
    expect([DeletionPolicy, UpdateReplacePolicy]).to.deep.equal(['RetainExceptOnCreate', 'Retain'])
  })

  it('is not there, nor anything that belongs to it, where an environment has no photos', () => {
    const { templates } = synthesise(variation({ photos: undefined }))
    expect(JSON.stringify(Object.values(templates).map(({ Resources }) => Resources))).to.not.match(
      /Photos|PHOTOS_BUCKET|PhotoEvents|PhotoAlarms|photo-events-sg/,
    )
  })

  it('is known to task-service and worker, as their settings read it, and to no other', () => {
    const settingsOf = (family: string): Record<string, string> => {
      const { templates } = synthesis
      const task = only(templates.services, 'AWS::ECS::TaskDefinition', {
        Family: `${family}-task`,
      })
      const [{ Environment, Secrets }] = task.ContainerDefinitions
      const plain = Environment.map(({ Name, Value }: Properties) => [
        Name,
        typeof Value === 'string' ? Value : 'rediss://elsewhere',
      ])
      const secret = Secrets.map(({ Name }: Properties) => [Name, 's'.repeat(64)])
      return Object.fromEntries([...plain, ...secret])
    }
    for (const { photos } of [
      taskServiceConfig(settingsOf('task-service')),
      workerConfig(settingsOf('worker')),
    ]) {
      expect(photos).to.deep.equal({
        s3: { bucket: BUCKET, region: 'us-east-1', endpoint: undefined, forcePathStyle: false },
      })
    }
    for (const other of ['auth-service', 'witness', 'migration', 'rebuild']) {
      expect(settingsOf(other), other).to.not.have.property('PHOTOS_BUCKET')
    }
  })
})

describe('Rights to photos, simulated,', function () {
  // The first simulation reads all actions of AWS.
  this.timeout(120_000)
  const PHOTO = `arn:aws:s3:::${BUCKET}/users/17/photos/0193/original`
  const on = (action: string, resource = PHOTO, context = {}): Attempt => ({
    action: `s3:${action}`,
    resource,
    context,
  })
  const asWhom = (role: string) => ({
    'aws:PrincipalArn': `arn:aws:iam::${ACCOUNT}:role/${role}`,
    'aws:SecureTransport': 'true',
  })
  const all = `arn:aws:s3:::${BUCKET}`
  const listing = (prefix: string) => on('ListBucketVersions', all, { 's3:prefix': prefix })

  const READ = ['GetObject', 'GetObjectVersion'].map((action) => on(action))
  const WRITE = [on('PutObject')]
  const LOOK = [on('ListBucket', all)]
  const SWEEP = [on('DeleteObjectVersion'), listing('users/'), listing('users/17/')]
  const NEVER = [
    on('DeleteObject'),
    listing(''),
    listing('tmp/'),
    on('PutObject', `arn:aws:s3:::${BUCKET}/tmp/0193`),
    on('GetObject', `arn:aws:s3:::${BUCKET}/logs/0193`),
    on('GetObject', 'arn:aws:s3:::another-bucket/users/17/photos/0193/original'),
    ...['PutBucketPolicy', 'DeleteBucketPolicy', 'PutBucketVersioning', 'DeleteBucket'].map(
      (action) => on(action, all),
    ),
    ...['PutLifecycleConfiguration', 'PutBucketCORS', 'PutBucketLogging'].map((action) =>
      on(action, all),
    ),
  ]
  const EVERYTHING = [...READ, ...WRITE, ...LOOK, ...SWEEP, ...NEVER]

  /** Those that succeed. */
  async function succeed(
    synthesis: Synthesis,
    name: string,
    attempts: readonly Attempt[],
    policies?: readonly object[],
  ) {
    const identity = identities(synthesis).find((one) => one.name === name)
    const results = await Promise.all(
      attempts.map(({ context, ...one }) =>
        may(
          synthesis,
          { name, policies: policies ?? identity?.policies ?? [] },
          { ...one, context: { ...asWhom(name), ...context } },
        ),
      ),
    )
    return attempts.filter((_, index) => results[index])
  }

  it('let task-service read and write, and remove nothing', async () => {
    const synthesis = synthesise(variation({}))
    const may = await succeed(synthesis, 'task-mgmt-task-service-task', EVERYTHING)
    expect(may).to.deep.equal([...READ, ...WRITE, ...LOOK])
  })

  it('let the worker list and remove versions too', async () => {
    const synthesis = synthesise(variation({}))
    const may = await succeed(synthesis, 'task-mgmt-worker-task', EVERYTHING)
    expect(may).to.deep.equal([...READ, ...WRITE, ...LOOK, ...SWEEP])
  })

  it('let no other role of the environment do anything there', async () => {
    const synthesis = synthesise(variation({}))
    const others = identities(synthesis)
      .map(({ name }) => name)
      .filter((name) => !/^task-mgmt-(task-service|worker)-task$/.test(name))
    expect(others).to.include('task-mgmt-auth-service-execution')
    for (const name of others) {
      expect(await succeed(synthesis, name, EVERYTHING), name).to.deep.equal([])
    }
  })

  it('let an administrator of the account do what concerns the bucket, but see no photo', async () => {
    const synthesis = synthesise(variation({}))
    const administrator = { Statement: [{ Effect: 'Allow', Action: '*', Resource: '*' }] }
    const may = await succeed(
      synthesis,
      'Administrator',
      [...READ, ...WRITE, on('DeleteObjectVersion'), on('DeleteObject'), ...LOOK],
      [{ Version: '2012-10-17', ...administrator }],
    )
    expect(may).to.deep.equal(LOOK)
  })

  it('let nobody in without TLS', async () => {
    const synthesis = synthesise(variation({}))
    const name = 'task-mgmt-worker-task'
    const plain = { ...asWhom(name), 'aws:SecureTransport': 'false' }
    const attempts = [...READ, ...WRITE, ...LOOK].map((one) => ({ ...one, context: plain }))
    expect(await succeed(synthesis, name, attempts)).to.deep.equal([])
  })

  it('under our key let those who sign uploads and downloads use it, for this bucket alone', async () => {
    const photos = { ...prod.photos, bucketPrefix: 'tasktrail-333333333333', encryption: 'kms' }
    const synthesis = synthesise(variation({ photos } as Parameters<typeof variation>[0]))
    const bucket = only(synthesis.templates.data, 'AWS::S3::Bucket', { BucketName: BUCKET })
    const [rule] = bucket.BucketEncryption.ServerSideEncryptionConfiguration
    expect(rule.BucketKeyEnabled).to.equal(true)
    const { KMSMasterKeyID, SSEAlgorithm } = rule.ServerSideEncryptionByDefault
    expect(SSEAlgorithm).to.equal('aws:kms')
    expect(follow(synthesis, 'data', KMSMasterKeyID)?.resource.Type).to.equal('AWS::KMS::Key')
    const using = (action: string, bucketArn: string, via = 's3'): Attempt => ({
      action: `kms:${action}`,
      resource: KEY,
      context: {
        'kms:ViaService': `${via}.us-east-1.amazonaws.com`,
        'kms:EncryptionContext:aws:s3:arn': bucketArn,
      },
    })
    const needed = ['Decrypt', 'GenerateDataKey'].map((action) => using(action, all))
    const refused = [
      using('Decrypt', 'arn:aws:s3:::another-bucket'),
      using('Decrypt', all, 'secretsmanager'),
    ]
    for (const name of ['task-mgmt-task-service-task', 'task-mgmt-worker-task']) {
      const identity = identities(synthesis).find((one) => one.name === name)
      if (identity === undefined) throw new Error(name)
      for (const one of needed) expect(await may(synthesis, identity, one)).to.equal(true)
      for (const one of refused) expect(await may(synthesis, identity, one)).to.equal(false)
    }
  })
})

describe('Uploads are reported', () => {
  let synthesis: Synthesis
  let reporter: Properties
  let pattern: Properties

  before(() => {
    synthesis = synthesise(variation({}))
    const { services } = synthesis.templates
    reporter = only(services, 'AWS::Lambda::Function', { FunctionName: 'task-mgmt-photo-uploaded' })
    const rule = properties(services, 'AWS::Events::Rule').find(
      ({ EventPattern }) => EventPattern?.source?.[0] === 'aws.s3',
    )
    expect(within(synthesis, 'services', rule.Targets[0].Arn)?.resource.Properties).to.equal(
      reporter,
    )
    pattern = rule.EventPattern
  })

  it('by S3 to EventBridge, without a function that would only switch that on', () => {
    const bucket = only(synthesis.templates.data, 'AWS::S3::Bucket', { BucketName: BUCKET })
    expect(bucket.NotificationConfiguration).to.deep.equal({
      EventBridgeConfiguration: { EventBridgeEnabled: true },
    })
    expect(properties(synthesis.templates.data, 'AWS::Lambda::Function')).to.deep.equal([])
  })

  it('if they are originals in this bucket', () => {
    const created = (key: string, name = BUCKET) => ({
      source: 'aws.s3',
      'detail-type': 'Object Created',
      detail: { bucket: { name }, object: { key, size: 5, 'version-id': 'v1' } },
    })
    const reported = (...parts: Parameters<typeof created>) =>
      matchesEvent(pattern, created(...parts))
    expect(reported('users/17/photos/0193/original')).to.equal(true)
    for (const key of [
      'users/17/photos/0193/small',
      'users/17/photos/0193/original/1',
      'tmp/17/original',
    ]) {
      expect(reported(key), key).to.equal(false)
    }
    expect(reported('users/17/photos/0193/original', 'another')).to.equal(false)
  })

  it('to task-service, by its name in the VPC and with the internal API key', () => {
    const { REPORT_URL, API_KEY_ARN } = reporter.Environment.Variables
    expect(REPORT_URL).to.equal(
      'http://task-service.task-management.local:3000/internal/photo-uploads',
    )
    expect(nameOf(within(synthesis, 'services', API_KEY_ARN))).to.equal(
      'task-mgmt-internal-api-key',
    )
  })

  it('or kept for two weeks, with an alarm', () => {
    const target = follow(synthesis, 'services', reporter.DeadLetterConfig.TargetArn)
    const queue = target?.resource.Properties
    expect(queue).to.include({ SqsManagedSseEnabled: true, MessageRetentionPeriod: 14 * 86_400 })
    const alarm = only(synthesis.templates.services, 'AWS::CloudWatch::Alarm', {
      AlarmName: 'task-mgmt-photo-events-failed',
    })
    expect(alarm).to.include({
      MetricName: 'ApproximateNumberOfMessagesVisible',
      Threshold: 0,
      ComparisonOperator: 'GreaterThanThreshold',
    })
    const named = follow(synthesis, 'services', alarm.Dimensions[0].Value)
    expect(named?.id).to.equal(target?.id)
  })
})

describe('Alarms of the photos ring', () => {
  for (const [name, metric, threshold, periods] of [
    ['task-mgmt-photo-bucket-4xx', '4xxErrors', 20, 3],
    ['task-mgmt-photo-bucket-5xx', '5xxErrors', 5, 1],
  ] as const) {
    it(`when too many requests end as ${metric}, of twenty at least`, () => {
      const { observability } = synthesise(variation({})).templates
      const alarm = only(observability, 'AWS::CloudWatch::Alarm', { AlarmName: name })
      expect(alarm).to.include({ Threshold: threshold, EvaluationPeriods: periods })
      const [rate, ...metrics] = alarm.Metrics
      expect(rate.Expression).to.equal(
        'IF(FILL(requests, 0) >= 20, 100 * FILL(errors, 0) / requests, 0)',
      )
      const parts = metrics.map(({ Id, MetricStat: { Metric, Stat } }: Properties) => [
        Id,
        Metric.MetricName,
        Stat,
      ])
      expect(parts).to.have.deep.members([
        ['requests', 'AllRequests', 'Sum'],
        ['errors', metric, 'Sum'],
      ])
      for (const { MetricStat } of metrics) {
        expect(MetricStat.Metric.Dimensions).to.have.deep.members([
          { Name: 'BucketName', Value: BUCKET },
          { Name: 'FilterId', Value: 'all' },
        ])
      }
    })
  }
})
