import { RemovalPolicy, Stack } from 'aws-cdk-lib'
import type { ISecurityGroup, IVpc } from 'aws-cdk-lib/aws-ec2'
import { type AccessPoint, FileSystem, ThroughputMode } from 'aws-cdk-lib/aws-efs'
import {
  AnyPrincipal,
  ArnPrincipal,
  Effect,
  PolicyDocument,
  PolicyStatement,
  Role,
} from 'aws-cdk-lib/aws-iam'
import type { IKey } from 'aws-cdk-lib/aws-kms'
import { Construct } from 'constructs'
import { taskRole } from '../names.ts'
import { ecsTasks } from './ecs-tasks.ts'
import { dataSubnets } from './existing-vpc.ts'

export type WitnessStoreProps = {
  readonly vpc: IVpc
  readonly key: IKey
  readonly securityGroup: ISecurityGroup
}

/** What the container of the witness runs as. */
const OWNER = '1000'

/**
 * What the witness has cosigned: of all that is kept here the one thing that nobody with rights in the database
 * can change. Its own policy lets in the witness's role, through an access point and over TLS, and nobody else:
 * so that role needs no rights of its own.
 */
export class WitnessStore extends Construct {
  readonly fileSystem: FileSystem
  readonly accessPoint: AccessPoint
  readonly role: Role

  constructor(scope: Construct, id: string, { vpc, key, securityGroup }: WitnessStoreProps) {
    super(scope, id)
    this.role = new Role(this, 'Role', {
      roleName: taskRole('witness', Stack.of(this).region),
      assumedBy: ecsTasks(this),
    })
    this.fileSystem = new FileSystem(this, 'Files', {
      vpc,
      vpcSubnets: dataSubnets(vpc),
      securityGroup,
      encrypted: true,
      kmsKey: key,
      enableAutomaticBackups: true,
      throughputMode: ThroughputMode.ELASTIC,
      fileSystemPolicy: this.#policy(),
      // Our policy lets in nobody else; otherwise the library adds a statement that lets everybody write.
      allowAnonymousAccess: true,
      removalPolicy: RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
    })
    this.accessPoint = this.fileSystem.addAccessPoint('Point', {
      path: '/witness',
      posixUser: { uid: OWNER, gid: OWNER },
      createAcl: { ownerUid: OWNER, ownerGid: OWNER, permissions: '700' },
    })
  }

  #policy(): PolicyDocument {
    const { account, region } = Stack.of(this)
    return new PolicyDocument({
      statements: [
        new PolicyStatement({
          sid: 'TheWitnessAlone',
          principals: [new ArnPrincipal(this.role.roleArn)],
          actions: ['elasticfilesystem:ClientMount', 'elasticfilesystem:ClientWrite'],
          conditions: {
            // Which one cannot be said here, before it exists; there is one.
            ArnLike: {
              'elasticfilesystem:AccessPointArn': `arn:aws:elasticfilesystem:${region}:${account}:access-point/*`,
            },
            Bool: { 'elasticfilesystem:AccessedViaMountTarget': 'true' },
          },
        }),
        new PolicyStatement({
          sid: 'OverTlsOnly',
          effect: Effect.DENY,
          principals: [new AnyPrincipal()],
          actions: ['*'],
          conditions: { Bool: { 'aws:SecureTransport': 'false' } },
        }),
      ],
    })
  }
}
