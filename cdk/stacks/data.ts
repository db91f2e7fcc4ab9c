import { Stack, type StackProps } from 'aws-cdk-lib'
import type { Role } from 'aws-cdk-lib/aws-iam'
import type { Key } from 'aws-cdk-lib/aws-kms'
import { StringParameter } from 'aws-cdk-lib/aws-ssm'
import type { Construct } from 'constructs'
import type { ServiceName } from '../catalogue.ts'
import type { Environment } from '../config/schema.ts'
import { AppSecrets } from '../constructs/app-secrets.ts'
import { auroraDatabase } from '../constructs/aurora-database.ts'
import { customerKey } from '../constructs/customer-key.ts'
import { fixedGroup } from '../constructs/fixed-group.ts'
import { MailIdentity } from '../constructs/mail-identity.ts'
import { PhotoBucket } from '../constructs/photo-bucket.ts'
import { rdsDatabase } from '../constructs/rds-database.ts'
import { AccountsPool } from '../constructs/user-pool.ts'
import { WitnessStore } from '../constructs/witness-store.ts'
import {
  DATABASE_ADDRESS,
  DATABASE_ADMIN_SECRET,
  DATABASE_READ_ADDRESS,
  EDGE_LOG_GROUPS,
  USER_POOL_CLIENT_ID,
  USER_POOL_ID,
} from '../names.ts'
import type { NetworkStack } from './network.ts'

export type DataProps = StackProps & {
  readonly environment: Environment
  readonly network: NetworkStack
}

/** What must outlive every deployment: the key, the secrets, the database, the photos, who sends mails, and what the witness knows. */
export class DataStack extends Stack {
  readonly key: Key
  readonly secrets: AppSecrets
  readonly witnessStore: WitnessStore
  /** Only if accounts are in it. */
  readonly accounts: AccountsPool | undefined
  readonly #photos: PhotoBucket | undefined
  readonly #mail: MailIdentity | undefined

  constructor(scope: Construct, id: string, props: DataProps) {
    super(scope, id, props)
    const { edge } = props.environment
    this.key = customerKey(this, 'Key', edge === undefined ? [] : EDGE_LOG_GROUPS)
    this.secrets = new AppSecrets(this, 'Secrets', this.key)
    const { vpc, witnessStore } = props.network
    this.witnessStore = new WitnessStore(this, 'Witness', {
      vpc,
      key: this.key,
      securityGroup: fixedGroup(this, witnessStore),
    })
    const { environment } = props
    const { photos, mail } = environment
    this.#photos = photos && new PhotoBucket(this, 'Photos', { environment, photos, key: this.key })
    this.#mail = mail && new MailIdentity(this, 'Mail', { mail, role: this.#photos?.roles.worker })
    this.accounts = this.#accounts(environment)
    const { engine } = environment.database
    const database = engine === 'rds' ? rdsDatabase : auroraDatabase
    const { address, readAddress, administratorSecret } = database(this, this.key, props)
    this.#publish('Address', DATABASE_ADDRESS, address)
    if (readAddress !== null) this.#publish('ReadAddress', DATABASE_READ_ADDRESS, readAddress)
    this.#publish('AdministratorSecret', DATABASE_ADMIN_SECRET, administratorSecret)
  }

  /** What a task may do in AWS, if anything. */
  taskRole(name: ServiceName): Role | undefined {
    if (name === 'auth-service') return this.accounts?.role
    return name === 'worker' ? (this.#mail?.role ?? this.photoRole(name)) : this.photoRole(name)
  }

  /** By which a task comes to the photos, if it does. */
  photoRole(name: ServiceName): Role | undefined {
    const roles: Readonly<Partial<Record<ServiceName, Role>>> = this.#photos?.roles ?? {}
    return roles[name]
  }

  #accounts({ identity, deletionProtection }: Environment): AccountsPool | undefined {
    if (identity.by !== 'cognito') return undefined
    const { key } = this
    const accounts = new AccountsPool(this, 'Accounts', {
      ...{ config: identity, key, deletionProtection },
    })
    this.#publish('UserPoolId', USER_POOL_ID, accounts.userPoolId)
    this.#publish('UserPoolClientId', USER_POOL_CLIENT_ID, accounts.clientId)
    return accounts
  }

  #publish(id: string, parameterName: string, stringValue: string): void {
    new StringParameter(this, id, { parameterName, stringValue })
  }
}
