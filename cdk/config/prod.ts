import type { EnvironmentInput } from './schema.ts'

/** What users see. Replace the account, the ids and the certificate. */
export const prod: EnvironmentInput = {
  name: 'prod',
  account: '333333333333',
  vpc: {
    by: 'attributes',
    id: 'vpc-0c000000000000001',
    cidr: '10.2.0.0/16',
    publicSubnets: [
      { id: 'subnet-0c000000000000001', zone: 'us-east-1a', routeTableId: 'rtb-0c000000000000001' },
      { id: 'subnet-0c000000000000002', zone: 'us-east-1b', routeTableId: 'rtb-0c000000000000002' },
    ],
    privateSubnets: [
      { id: 'subnet-0c000000000000003', zone: 'us-east-1a', routeTableId: 'rtb-0c000000000000003' },
      { id: 'subnet-0c000000000000004', zone: 'us-east-1b', routeTableId: 'rtb-0c000000000000004' },
    ],
  },
  egress: { via: 'nat' },
  certificateArn:
    'arn:aws:acm:us-east-1:333333333333:certificate/33333333-3333-4333-8333-333333333333',
  images: {
    'auth-service': '1.0.0',
    'task-service': '1.0.0',
    worker: '1.0.0',
    witness: '1.0.0',
    migration: '1.0.0',
  },
  services: {
    'auth-service': { launchType: 'fargate', size: { cpu: 512, memoryMiB: 1_024 }, poolMax: 8 },
    'task-service': { launchType: 'fargate', size: { cpu: 512, memoryMiB: 1_024 }, poolMax: 8 },
    worker: { launchType: 'fargate', size: { cpu: 512, memoryMiB: 1_024 }, poolMax: 4 },
  },
  database: {
    engine: 'rds',
    instanceType: 't4g.medium',
    multiAz: true,
    storageGiB: 50,
    maxStorageGiB: 500,
    maxConnections: 450,
  },
  photos: { bucketPrefix: 'tasktrail-333333333333' },
  redis: { mode: 'cluster', nodeType: 'cache.r6g.xlarge', shards: 1, replicas: 2 },
  // Set it to true once the first deployment has succeeded.
  deletionProtection: false,
}
