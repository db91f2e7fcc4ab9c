import type { EnvironmentInput } from './schema.ts'

/** Like prod, but on our own machines, so that both launch types are in use somewhere. */
export const staging: EnvironmentInput = {
  name: 'staging',
  account: '222222222222',
  vpc: {
    by: 'attributes',
    id: 'vpc-0b000000000000001',
    cidr: '10.1.0.0/16',
    publicSubnets: [
      { id: 'subnet-0b000000000000001', zone: 'us-east-1a', routeTableId: 'rtb-0b000000000000001' },
      { id: 'subnet-0b000000000000002', zone: 'us-east-1b', routeTableId: 'rtb-0b000000000000002' },
    ],
    privateSubnets: [
      { id: 'subnet-0b000000000000003', zone: 'us-east-1a', routeTableId: 'rtb-0b000000000000003' },
      { id: 'subnet-0b000000000000004', zone: 'us-east-1b', routeTableId: 'rtb-0b000000000000004' },
    ],
  },
  egress: { via: 'nat' },
  certificateArn:
    'arn:aws:acm:us-east-1:222222222222:certificate/22222222-2222-4222-8222-222222222222',
  images: {
    'auth-service': '1.0.0',
    'task-service': '1.0.0',
    worker: '1.0.0',
    witness: '1.0.0',
    migration: '1.0.0',
  },
  services: {
    'auth-service': { launchType: 'ec2', size: { cpu: 256, memoryMiB: 512 }, poolMax: 2 },
    'task-service': { launchType: 'ec2', size: { cpu: 256, memoryMiB: 512 }, poolMax: 2 },
    worker: { launchType: 'ec2', size: { cpu: 256, memoryMiB: 512 }, poolMax: 2 },
  },
  nodes: { instanceTypes: ['t3.medium', 't3a.medium'], min: 2, max: 22 },
  database: {
    engine: 'rds',
    instanceType: 't3.small',
    multiAz: true,
    storageGiB: 20,
    maxStorageGiB: 100,
    maxConnections: 200,
  },
  photos: { bucketPrefix: 'tasktrail-222222222222' },
  // Set it to true once the first deployment has succeeded.
  deletionProtection: false,
}
