import type { EnvironmentInput } from './schema.ts'

/** For learning: small, over plain HTTP, one database instance. Replace the account and the ids. */
export const dev: EnvironmentInput = {
  name: 'dev',
  account: '111111111111',
  vpc: {
    by: 'attributes',
    id: 'vpc-0a000000000000001',
    cidr: '10.0.0.0/16',
    publicSubnets: [
      { id: 'subnet-0a000000000000001', zone: 'us-east-1a', routeTableId: 'rtb-0a000000000000001' },
      { id: 'subnet-0a000000000000002', zone: 'us-east-1b', routeTableId: 'rtb-0a000000000000002' },
    ],
    privateSubnets: [
      { id: 'subnet-0a000000000000003', zone: 'us-east-1a', routeTableId: 'rtb-0a000000000000003' },
      { id: 'subnet-0a000000000000004', zone: 'us-east-1b', routeTableId: 'rtb-0a000000000000004' },
    ],
  },
  egress: { via: 'nat' },
  images: {
    'auth-service': '1.0.0',
    'task-service': '1.0.0',
    worker: '1.0.0',
    witness: '1.0.0',
    migration: '1.0.0',
  },
  services: {
    'auth-service': { launchType: 'fargate', size: { cpu: 256, memoryMiB: 512 }, poolMax: 2 },
    'task-service': { launchType: 'fargate', size: { cpu: 256, memoryMiB: 512 }, poolMax: 2 },
    worker: { launchType: 'fargate', size: { cpu: 256, memoryMiB: 512 }, poolMax: 2 },
  },
  database: {
    engine: 'rds',
    instanceType: 't3.small',
    multiAz: false,
    storageGiB: 20,
    maxStorageGiB: 100,
    maxConnections: 200,
  },
  photos: { bucketPrefix: 'tasktrail-111111111111' },
  redis: { mode: 'single', nodeType: 'cache.t3.micro' },
  // Set it to true once the first deployment has succeeded.
  deletionProtection: false,
}
