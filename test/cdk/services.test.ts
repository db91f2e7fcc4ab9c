import { expect } from 'chai'
import {
  authServiceConfig,
  databaseConfig,
  logins,
  taskServiceConfig,
  workerConfig,
} from '../../src/config.ts'
import { VARIANTS, variation } from './support/environments.ts'
import { follow, nameOf, within } from './support/references.ts'
import { ofType, only, properties, type Synthesis, synthesise } from './support/synthesis.ts'

type Properties = ReturnType<typeof only>
/** Those behind the load balancer. */
const SERVICES = ['auth-service', 'task-service'] as const
const ALL = [...SERVICES, 'worker'] as const

/** What a parameter of another stack holds, where it is no address. */
const ELSEWHERE: Readonly<Record<string, string>> = { REDIS_URL: 'rediss://tasktrail@redis:6379' }

/** What a container sees in its environment: what is plain as it stands, secrets as long texts. */
function environmentOf(container: Properties): Record<string, string> {
  const plain = container.Environment.map(({ Name, Value }: Properties) => [
    Name,
    typeof Value === 'string' ? Value : (ELSEWHERE[Name] ?? 'an-address-of-another-stack'),
  ])
  const secret = container.Secrets.map(({ Name }: Properties) => [Name, 's'.repeat(64)])
  return Object.fromEntries([...plain, ...secret])
}

describe('The services', () => {
  let fargate: Synthesis
  let ec2: Synthesis
  let services: Synthesis['templates']['services']

  const containerOf = (name: string) =>
    only(services, 'AWS::ECS::TaskDefinition', { Family: `${name}-task` }).ContainerDefinitions[0]
  const serviceOf = ({ templates }: Synthesis, name: string) =>
    only(templates.services, 'AWS::ECS::Service', { ServiceName: name })

  before(() => {
    fargate = synthesise(variation({}))
    ec2 = synthesise(VARIANTS.ec2)
    services = fargate.templates.services
  })

  it('are two, the witness and the worker, in one cluster with enhanced Container Insights', () => {
    const { ClusterName, ClusterSettings } = only(fargate.templates.platform, 'AWS::ECS::Cluster')
    expect(ClusterName).to.equal('task-management-cluster')
    expect(ClusterSettings).to.deep.equal([{ Name: 'containerInsights', Value: 'enhanced' }])
    const found = properties(services, 'AWS::ECS::Service')
    expect(found.map(({ ServiceName }) => ServiceName)).to.have.members([...ALL, 'witness'])
    for (const { Cluster } of found) {
      expect(follow(fargate, 'services', Cluster)?.resource.Type).to.equal('AWS::ECS::Cluster')
    }
  })

  it('run on Fargate or on our own machines, from the same task definition', () => {
    for (const { RequiresCompatibilities } of properties(services, 'AWS::ECS::TaskDefinition')) {
      expect(RequiresCompatibilities).to.have.members(['EC2', 'FARGATE'])
    }
    for (const name of ALL) {
      const [onFargate] = serviceOf(fargate, name).CapacityProviderStrategy
      const [onNodes] = serviceOf(ec2, name).CapacityProviderStrategy
      expect(onFargate.CapacityProvider).to.equal('FARGATE')
      expect(onNodes.CapacityProvider).to.equal('task-mgmt-nodes')
    }
    const mixed = synthesise({
      ...VARIANTS.ec2,
      services: {
        ...VARIANTS.ec2.services,
        'task-service': variation({}).services['task-service'],
      },
    })
    const providers = SERVICES.map((name) => serviceOf(mixed, name).CapacityProviderStrategy)
    expect(
      providers.flat().map(({ CapacityProvider }: Properties) => CapacityProvider),
    ).to.deep.equal(['task-mgmt-nodes', 'FARGATE'])
  })

  it('run at least twice each and keep their number, which no deployment resets', () => {
    for (const [, { Properties: target }] of ofType(
      services,
      'AWS::ApplicationAutoScaling::ScalableTarget',
    )) {
      expect(target.MinCapacity).to.equal(2)
    }
    for (const name of SERVICES) {
      const { DesiredCount } = serviceOf(fargate, name)
      const reader = follow(fargate, 'services', DesiredCount)?.resource
      expect(reader?.Type).to.equal('Custom::DesiredCount')
    }
  })

  it('of which the worker answers no clients: two tasks, without a port, a route or a name', () => {
    for (const synthesis of [fargate, ec2]) {
      const worker = serviceOf(synthesis, 'worker')
      expect(worker.DesiredCount).to.equal(2)
      expect(worker.LoadBalancers ?? []).to.deep.equal([])
      expect(worker.ServiceRegistries ?? []).to.deep.equal([])
      expect(worker.DeploymentConfiguration).to.deep.equal({
        MinimumHealthyPercent: 100,
        MaximumPercent: 200,
        DeploymentCircuitBreaker: { Enable: true, Rollback: true },
      })
    }
    const { EntryPoint, Command, ...worker } = containerOf('worker')
    expect([EntryPoint, Command]).to.deep.equal([['/usr/local/bin/node'], ['/app/worker.js']])
    expect(worker).to.not.have.property('PortMappings')
    expect(containerOf('task-service')).to.have.property('PortMappings')
  })

  it('roll without a gap, and roll back a deployment that fails or causes errors', () => {
    for (const name of SERVICES) {
      expect(serviceOf(fargate, name).DeploymentConfiguration).to.deep.equal({
        MinimumHealthyPercent: 100,
        MaximumPercent: 200,
        DeploymentCircuitBreaker: { Enable: true, Rollback: true },
        Alarms: {
          AlarmNames: [`${name}-error-rate`, `${name}-response-time`],
          Enable: true,
          Rollback: true,
        },
      })
    }
  })

  it('start with everything that they need, and with nothing malformed', () => {
    expect(() => authServiceConfig(environmentOf(containerOf('auth-service')))).to.not.throw()
    expect(() => taskServiceConfig(environmentOf(containerOf('task-service')))).to.not.throw()
    expect(() => workerConfig(environmentOf(containerOf('worker')))).to.not.throw()
    const migration = environmentOf(containerOf('migration'))
    expect(() => databaseConfig(migration)).to.not.throw()
    expect(() => databaseConfig(environmentOf(containerOf('rebuild')))).to.not.throw()
    expect(logins(migration).map(({ role }) => role)).to.deep.equal([
      'tasktrail_auth',
      'tasktrail_task',
      'tasktrail_worker',
    ])
  })

  it('get no secret as a plain variable', () => {
    for (const name of [...ALL, 'witness', 'migration', 'rebuild']) {
      const { Environment } = containerOf(name)
      for (const { Name } of Environment) {
        expect(Name).to.not.match(/PASSWORD|SECRET|KEY|PEPPER|TOKEN|DB_USER/)
      }
    }
  })

  it('get their secrets by ARN and field, of whatever version is current at the start', () => {
    const found = Object.fromEntries(
      [...ALL, 'witness', 'migration', 'rebuild'].map((name) => {
        const secrets = containerOf(name).Secrets.map(({ Name, ValueFrom }: Properties) => {
          const [, [arn, field]] = ValueFrom['Fn::Join']
          return [Name, `${nameOf(within(fargate, 'services', arn))}${field}`]
        })
        return [name, Object.fromEntries(secrets)]
      }),
    )
    expect(found).to.deep.equal({
      'auth-service': {
        DB_USER: 'task-mgmt-rds-credentials/auth-service:username::',
        DB_PASSWORD: 'task-mgmt-rds-credentials/auth-service:password::',
        JWT_SECRET: 'task-mgmt-jwt-secret:secret::',
        JWT_SECRET_PREVIOUS: 'task-mgmt-jwt-secret-previous:secret::',
        PASSWORD_PEPPER: 'task-mgmt-password-pepper:secret::',
        INTERNAL_API_KEY: 'task-mgmt-internal-api-key:secret::',
        INTERNAL_API_KEY_PREVIOUS: 'task-mgmt-internal-api-key-previous:secret::',
        REDIS_PASSWORD: 'task-mgmt-redis-password:secret::',
      },
      'task-service': {
        DB_USER: 'task-mgmt-rds-credentials/task-service:username::',
        DB_PASSWORD: 'task-mgmt-rds-credentials/task-service:password::',
        INTERNAL_API_KEY: 'task-mgmt-internal-api-key:secret::',
        REDIS_PASSWORD: 'task-mgmt-redis-password:secret::',
        TEXT_KEY: 'task-mgmt-text-key:secret::',
        TEXT_KEY_PREVIOUS: 'task-mgmt-text-key-previous:secret::',
      },
      worker: {
        DB_USER: 'task-mgmt-rds-credentials/worker:username::',
        DB_PASSWORD: 'task-mgmt-rds-credentials/worker:password::',
        TEXT_KEY: 'task-mgmt-text-key:secret::',
        TEXT_KEY_PREVIOUS: 'task-mgmt-text-key-previous:secret::',
        LOG_KEY: 'task-mgmt-log-key:secret::',
        LOG_KEY_PREVIOUS: 'task-mgmt-log-key-previous:secret::',
      },
      witness: {
        WITNESS_KEY: 'task-mgmt-witness-key:secret::',
        WITNESS_KEY_PREVIOUS: 'task-mgmt-witness-key-previous:secret::',
      },
      migration: {
        DB_USER: 'administrator:username::',
        DB_PASSWORD: 'administrator:password::',
        AUTH_DB_USER: 'task-mgmt-rds-credentials/auth-service:username::',
        AUTH_DB_PASSWORD: 'task-mgmt-rds-credentials/auth-service:password::',
        TASK_DB_USER: 'task-mgmt-rds-credentials/task-service:username::',
        TASK_DB_PASSWORD: 'task-mgmt-rds-credentials/task-service:password::',
        WORKER_DB_USER: 'task-mgmt-rds-credentials/worker:username::',
        WORKER_DB_PASSWORD: 'task-mgmt-rds-credentials/worker:password::',
      },
      rebuild: {
        DB_USER: 'administrator:username::',
        DB_PASSWORD: 'administrator:password::',
        TEXT_KEY: 'task-mgmt-text-key:secret::',
        TEXT_KEY_PREVIOUS: 'task-mgmt-text-key-previous:secret::',
      },
    })
  })

  it('have a rebuild beside them, of the image of the worker, that no service runs', () => {
    const { Image, EntryPoint, Command } = containerOf('rebuild')
    expect(Image).to.deep.equal(containerOf('worker').Image)
    expect([...EntryPoint, ...Command]).to.deep.equal([
      '/usr/local/bin/node',
      '/app/projections.js',
    ])
    const families = properties(services, 'AWS::ECS::Service').map(
      ({ TaskDefinition: definition }) =>
        follow(fargate, 'services', definition)?.resource.Properties.Family,
    )
    expect(families).to.have.members([...ALL, 'witness'].map((name) => `${name}-task`))
  })

  it('log in to PostgreSQL under TLS, with a bounded pool', () => {
    for (const name of ALL) {
      expect(environmentOf(containerOf(name))).to.include({
        DB_NAME: 'taskmanagement',
        DB_PORT: '5432',
        DB_SSLMODE: 'verify-full',
        NODE_EXTRA_CA_CERTS: '/app/rds-ca.pem',
        DB_POOL_MAX: name === 'worker' ? '4' : '8',
      })
    }
  })

  it('run as a user, write to no file system and hold no capability', () => {
    for (const { ContainerDefinitions } of properties(services, 'AWS::ECS::TaskDefinition')) {
      const [container, ...others] = ContainerDefinitions
      expect(others).to.deep.equal([])
      expect(container).to.include({
        User: '1000',
        ReadonlyRootFilesystem: true,
        Privileged: false,
      })
      expect(container.LinuxParameters.Capabilities).to.deep.equal({ Drop: ['ALL'] })
    }
  })

  it('have health checks inside the container and time to stop', () => {
    const paths = {
      'auth-service': '/auth/health',
      'task-service': '/tasks/health',
      worker: '/worker/health',
    }
    for (const name of ALL) {
      const { HealthCheck, StopTimeout } = containerOf(name)
      expect(HealthCheck).to.deep.equal({
        Command: ['CMD', '/usr/local/bin/node', '/app/health.js', paths[name]],
        Interval: 30,
        Timeout: 5,
        Retries: 3,
        StartPeriod: 15,
      })
      expect(StopTimeout).to.equal(60)
    }
  })

  it('are found by name: each as A records that live for 60 seconds', () => {
    const { platform } = fargate.templates
    const namespace = only(platform, 'AWS::ServiceDiscovery::PrivateDnsNamespace')
    expect(namespace).to.include({ Name: 'task-management.local', Vpc: 'vpc-0c000000000000001' })
    for (const Name of SERVICES) {
      const { DnsConfig } = only(services, 'AWS::ServiceDiscovery::Service', { Name })
      expect(DnsConfig.DnsRecords).to.deep.equal([{ TTL: 60, Type: 'A' }])
      expect(DnsConfig.RoutingPolicy).to.equal('MULTIVALUE')
      expect(nameOf(follow(fargate, 'services', DnsConfig.NamespaceId))).to.equal(namespace.Name)
    }
    expect(environmentOf(containerOf('task-service')).AUTH_SERVICE_URL).to.equal(
      'http://auth-service.task-management.local:3000',
    )
  })

  it('are registered under that name as tasks come and go', () => {
    for (const name of SERVICES) {
      const [{ RegistryArn }] = serviceOf(fargate, name).ServiceRegistries
      expect(nameOf(follow(fargate, 'services', RegistryArn))).to.equal(name)
    }
  })
})
