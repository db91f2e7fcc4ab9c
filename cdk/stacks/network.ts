import { Stack, type StackProps } from 'aws-cdk-lib'
import { type ISecurityGroup, type IVpc, Peer, Port, SecurityGroup } from 'aws-cdk-lib/aws-ec2'
import type { Construct } from 'constructs'
import {
  HANDLER_CALLS,
  HTTP_SERVICE_NAMES,
  SERVICE_NAMES,
  SERVICES,
  type ServiceName,
} from '../catalogue.ts'
import { zonesOf } from '../config/own-vpc.ts'
import type { Environment } from '../config/schema.ts'
import { existingVpc } from '../constructs/existing-vpc.ts'
import { OwnVpc } from '../constructs/own-vpc.ts'
import { s3Gateway, VpcEndpoints } from '../constructs/vpc-endpoints.ts'
import {
  DATABASE_PORT,
  ENDPOINT_NAMES,
  NFS_PORT,
  REDIS_PORT,
  SERVICE_PORT,
  securityGroup,
} from '../names.ts'

const HTTPS = Port.tcp(443)

type Endpoints = Extract<Environment['egress'], { readonly via: 'endpoints' }>

export type NetworkProps = StackProps & { readonly environment: Environment }

/**
 * The VPC, and every security group with every rule: only here is it decided who may reach whom.
 * Rules next to their users, in other stacks, would create circular dependencies.
 */
export class NetworkStack extends Stack {
  readonly #environment: Environment
  readonly vpc: IVpc
  readonly loadBalancer: SecurityGroup
  /** API Gateway's VPC link, which alone reaches the load balancer then; only if there is an edge. */
  readonly edge: SecurityGroup | undefined
  readonly services: Readonly<Record<ServiceName, SecurityGroup>>
  readonly migration: SecurityGroup
  readonly database: SecurityGroup
  readonly witness: SecurityGroup
  readonly witnessStore: SecurityGroup
  /** Only if the environment has a Redis. */
  readonly redis: SecurityGroup | undefined
  /** The function that reports uploads; only if there are photos. */
  readonly photoEvents: SecurityGroup | undefined
  /** Only if a service runs on our own machines. */
  readonly nodes: SecurityGroup | undefined

  constructor(scope: Construct, id: string, props: NetworkProps) {
    super(scope, id, props)
    const { environment } = props
    this.#environment = environment
    const { vpc } = environment
    this.vpc =
      vpc.by === 'own'
        ? new OwnVpc(this, 'Own', environment, vpc).vpc
        : existingVpc(this, environment, vpc)

    this.loadBalancer = this.#group('alb', 'The load balancer: the only way in')
    this.edge = environment.edge && this.#group('edge', 'The VPC link of API Gateway')
    this.services = this.#serviceGroups()
    this.migration = this.#group(
      'migration',
      'Tasks of the owner of the tables: migration, rebuild',
    )
    this.database = this.#group('rds', 'PostgreSQL')
    this.witness = this.#group('witness', 'Cosigns the log')
    this.witnessStore = this.#group('witness-store', 'What the witness has cosigned')
    this.redis = environment.redis && this.#group('redis', 'Counts requests')
    this.photoEvents = environment.photos && this.#group('photo-events', 'Reports uploads')
    this.nodes = environment.nodes && this.#group('nodes', 'Machines that run tasks')

    this.#letIn()
    this.#letOut(environment)
  }

  /** Otherwise the library would ask the account which zones there are. */
  override get availabilityZones(): string[] {
    const { vpc, region } = this.#environment
    return vpc.by === 'own' ? [...zonesOf(vpc, region)] : super.availabilityZones
  }

  /**
   * A description must not change once deployed: CloudFormation would have to replace the group, and the
   * fixed name is taken.
   */
  #group(party: string, description: string): SecurityGroup {
    return new SecurityGroup(this, party, {
      vpc: this.vpc,
      securityGroupName: securityGroup(party),
      description,
      allowAllOutbound: false,
    })
  }

  #serviceGroups(): Record<ServiceName, SecurityGroup> {
    const groups = SERVICE_NAMES.map((name) => [name, this.#group(SERVICES[name].party, name)])
    return Object.fromEntries(groups)
  }

  /** From the internet to the database. `allowFrom` opens both ends; a rule on one end would not. */
  #letIn(): void {
    const {
      loadBalancer,
      services,
      migration,
      database,
      witness,
      witnessStore,
      redis,
      photoEvents,
    } = this
    this.#letClientsIn()
    for (const name of HTTP_SERVICE_NAMES) {
      const { connections } = services[name]
      connections.allowFrom(loadBalancer, Port.tcp(SERVICE_PORT), 'Requests from outside')
    }
    for (const name of SERVICE_NAMES) {
      for (const callee of Object.values(SERVICES[name].calls)) {
        const { connections } = services[callee]
        connections.allowFrom(services[name], Port.tcp(SERVICE_PORT), `Calls of ${name}`)
      }
    }
    if (photoEvents !== undefined) {
      const { connections } = services[HANDLER_CALLS['photo-uploaded']]
      connections.allowFrom(photoEvents, Port.tcp(SERVICE_PORT), 'Reports of uploads')
    }
    for (const client of [...Object.values(services), migration]) {
      database.connections.allowFrom(client, Port.tcp(DATABASE_PORT), 'PostgreSQL')
    }
    for (const name of redis === undefined ? [] : HTTP_SERVICE_NAMES) {
      redis?.connections.allowFrom(services[name], Port.tcp(REDIS_PORT), 'Counts')
    }
    witness.connections.allowFrom(services.worker, Port.tcp(SERVICE_PORT), 'Checkpoints')
    witnessStore.connections.allowFrom(witness, Port.tcp(NFS_PORT), 'What it has cosigned')
  }

  #letClientsIn(): void {
    const { connections } = this.loadBalancer
    if (this.edge === undefined) {
      connections.allowFromAnyIpv4(Port.tcp(80), 'Redirected, or served without TLS')
      connections.allowFromAnyIpv4(HTTPS, 'HTTPS')
      return
    }
    const port = this.#environment.certificateArn === undefined ? Port.tcp(80) : HTTPS
    connections.allowFrom(this.edge, port, 'Requests by way of API Gateway')
  }

  /** Images, secrets, logs and ECS itself, over HTTPS; nodes must reach ECS, or they never join. */
  #letOut({ egress, vpc, mail }: Environment): void {
    const { services, witness, migration, photoEvents = [], nodes = [] } = this
    const users = [...Object.values(services), witness, migration, photoEvents, nodes].flat()
    if (egress.via === 'nat') {
      if (egress.s3Gateway || vpc.by === 'own') s3Gateway(this.vpc, 'S3Gateway')
      for (const user of users) {
        user.connections.allowTo(Peer.anyIpv4(), HTTPS, 'AWS, through the NAT gateway')
      }
      return
    }
    for (const group of this.#endpointGroups(egress, mail !== undefined)) {
      for (const user of users) group.connections.allowFrom(user, HTTPS, 'AWS, by its endpoints')
    }
    for (const user of users) {
      user.connections.allowTo(Peer.prefixList(egress.s3PrefixListId), HTTPS, 'Image layers in S3')
    }
  }

  /** Of the endpoints created here, and of those that the VPC already has. */
  #endpointGroups(
    { existing, s3GatewayExists }: Endpoints,
    sendsMails: boolean,
  ): readonly ISecurityGroup[] {
    const except = ENDPOINT_NAMES.filter(
      (name) => existing[name] !== undefined || (name === 'email' && !sendsMails),
    )
    const own = this.#group('endpoints', 'Endpoints of AWS services in this VPC')
    new VpcEndpoints(this, 'Endpoints', {
      vpc: this.vpc,
      securityGroup: own,
      except,
      s3GatewayExists,
    })
    const others = [...new Set(Object.values(existing))]
    return [own, ...others.map((id) => SecurityGroup.fromSecurityGroupId(this, id, id))]
  }
}
