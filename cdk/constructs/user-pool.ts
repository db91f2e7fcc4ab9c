import { Duration, RemovalPolicy, SecretValue, Stack } from 'aws-cdk-lib'
import {
  AccountRecovery,
  CfnIdentityPool,
  CfnIdentityPoolRoleAttachment,
  type CfnUserPoolClient,
  FeaturePlan,
  Mfa,
  OAuthScope,
  StandardThreatProtectionMode,
  UserPool,
  type UserPoolClient,
  UserPoolEmail,
} from 'aws-cdk-lib/aws-cognito'
import { FederatedPrincipal, PolicyStatement, Role } from 'aws-cdk-lib/aws-iam'
import type { IKey } from 'aws-cdk-lib/aws-kms'
import { Secret } from 'aws-cdk-lib/aws-secretsmanager'
import { Construct } from 'constructs'
import type { CognitoConfig } from '../config/schema.ts'
import { taskRole, USER_POOL, USER_POOL_CLIENT_SECRET } from '../names.ts'
import { SECRET_FIELD } from './app-secrets.ts'
import { ecsTasks } from './ecs-tasks.ts'

export type AccountsPoolProps = {
  readonly config: CognitoConfig
  readonly key: IKey
  readonly deletionProtection: boolean
}

/** As long as a session of ours at most: the pool is asked at each refresh of one. */
const SESSION = Duration.days(90)

/** A user pool for the accounts, the client by which auth-service asks it, and what that may do. */
export class AccountsPool extends Construct {
  readonly userPoolId: string
  readonly clientId: string
  readonly clientSecret: Secret
  /** Of the tasks of auth-service. */
  readonly role: Role

  constructor(scope: Construct, id: string, props: AccountsPoolProps) {
    super(scope, id)
    const pool = this.#pool(props)
    const client = this.#client(pool, props.config)
    this.userPoolId = pool.userPoolId
    this.clientId = client.userPoolClientId
    this.clientSecret = this.#secret(client, props.key)
    this.role = this.#role(pool)
    this.#groups(pool)
    this.#identities(pool, client)
  }

  #pool({ config, deletionProtection }: AccountsPoolProps): UserPool {
    return new UserPool(this, 'Pool', {
      userPoolName: USER_POOL,
      selfSignUpEnabled: true,
      signInAliases: { username: true, email: true },
      signInCaseSensitive: false,
      autoVerify: { email: true },
      standardAttributes: { email: { required: true, mutable: true } },
      // A new address counts once its mailbox has confirmed it.
      keepOriginal: { email: true },
      passwordPolicy: {
        minLength: 12,
        requireLowercase: true,
        requireUppercase: true,
        requireDigits: true,
        requireSymbols: true,
        tempPasswordValidity: Duration.days(1),
        passwordHistorySize: 5,
      },
      mfa: Mfa.REQUIRED,
      mfaSecondFactor: { otp: true, sms: false },
      accountRecovery: AccountRecovery.EMAIL_ONLY,
      // Threat protection is part of this plan alone.
      featurePlan: FeaturePlan.PLUS,
      standardThreatProtectionMode: StandardThreatProtectionMode.FULL_FUNCTION,
      deletionProtection,
      removalPolicy: RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
      ...(config.sender !== undefined && {
        email: UserPoolEmail.withSES({
          fromEmail: config.sender,
          sesVerifiedDomain: config.sender.split('@')[1] ?? '',
        }),
      }),
    })
  }

  #client(pool: UserPool, { hostedUi }: CognitoConfig): UserPoolClient {
    if (hostedUi !== undefined) {
      pool.addDomain('Domain', { cognitoDomain: { domainPrefix: hostedUi.domainPrefix } })
    }
    return pool.addClient('Client', {
      userPoolClientName: 'auth-service',
      generateSecret: true,
      authFlows: { userPassword: true },
      // Nobody learns which accounts there are, and where a sign-in comes from is weighed by the user's address.
      preventUserExistenceErrors: true,
      enablePropagateAdditionalUserContextData: true,
      enableTokenRevocation: true,
      authSessionValidity: Duration.minutes(3),
      idTokenValidity: Duration.hours(1),
      accessTokenValidity: Duration.hours(1),
      refreshTokenValidity: SESSION,
      ...(hostedUi === undefined
        ? { disableOAuth: true }
        : {
            oAuth: {
              flows: { authorizationCodeGrant: true, implicitCodeGrant: false },
              scopes: [OAuthScope.OPENID, OAuthScope.EMAIL],
              callbackUrls: [...hostedUi.callbackUrls],
            },
          }),
    })
  }

  /** Cognito makes the client's secret; containers read theirs from Secrets Manager. */
  #secret(client: UserPoolClient, encryptionKey: IKey): Secret {
    const { attrClientSecret } = client.node.defaultChild as CfnUserPoolClient
    return new Secret(this, 'ClientSecret', {
      secretName: USER_POOL_CLIENT_SECRET,
      // A reference in the template, which has the secret itself nowhere.
      secretObjectValue: { [SECRET_FIELD]: SecretValue.unsafePlainText(attrClientSecret) },
      encryptionKey,
      removalPolicy: RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
    })
  }

  /** All else that it asks the pool needs no right but the client's secret. */
  #role(pool: UserPool): Role {
    const role = new Role(this, 'auth-service', {
      roleName: taskRole('auth-service', Stack.of(this).region),
      assumedBy: ecsTasks(this),
    })
    role.addToPolicy(
      new PolicyStatement({
        sid: 'EraseAccounts',
        actions: ['cognito-idp:AdminDeleteUser'],
        resources: [pool.userPoolArn],
      }),
    )
    return role
  }

  #groups(pool: UserPool): void {
    pool.addGroup('Admins', {
      groupName: 'admin',
      description: 'Admins of Tasktrail',
      precedence: 0,
    })
    pool.addGroup('Auditors', {
      groupName: 'auditor',
      description: 'Read the trail',
      precedence: 1,
    })
  }

  /** Whoever has signed in can be an identity of AWS, and may do nothing as one: no right is given here. */
  #identities(pool: UserPool, client: UserPoolClient): void {
    const identities = new CfnIdentityPool(this, 'Identities', {
      identityPoolName: USER_POOL,
      allowUnauthenticatedIdentities: false,
      allowClassicFlow: false,
      cognitoIdentityProviders: [
        {
          clientId: client.userPoolClientId,
          providerName: pool.userPoolProviderName,
          serverSideTokenCheck: true,
        },
      ],
    })
    const signedIn = new Role(this, 'SignedIn', {
      assumedBy: new FederatedPrincipal(
        'cognito-identity.amazonaws.com',
        {
          StringEquals: { 'cognito-identity.amazonaws.com:aud': identities.ref },
          'ForAnyValue:StringLike': { 'cognito-identity.amazonaws.com:amr': 'authenticated' },
        },
        'sts:AssumeRoleWithWebIdentity',
      ),
    })
    new CfnIdentityPoolRoleAttachment(this, 'Roles', {
      identityPoolId: identities.ref,
      roles: { authenticated: signedIn.roleArn },
    })
  }
}
