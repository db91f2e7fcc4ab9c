import { RemovalPolicy } from 'aws-cdk-lib'
import type { IKey } from 'aws-cdk-lib/aws-kms'
import { Secret, type SecretStringGenerator } from 'aws-cdk-lib/aws-secretsmanager'
import { Construct } from 'constructs'
import { SERVICE_NAMES, SERVICES, type ServiceName } from '../catalogue.ts'
import { databaseLogin, SECRETS, type SecretName } from '../names.ts'

/** The one field of a secret that is a single value. */
export const SECRET_FIELD = 'secret'

/**
 * Everything that containers are given in secret, made up by Secrets Manager and kept when the
 * stack goes: nobody could log in without the pepper. Rotation: docs/runbooks/rotate-secrets.md.
 */
export class AppSecrets extends Construct {
  readonly values: Readonly<Record<SecretName, Secret>>
  /** What each service logs in to PostgreSQL with: `username` and `password`. */
  readonly logins: Readonly<Record<ServiceName, Secret>>
  readonly #encryptionKey: IKey

  constructor(scope: Construct, id: string, encryptionKey: IKey) {
    super(scope, id)
    this.#encryptionKey = encryptionKey
    this.values = Object.fromEntries(
      Object.entries(SECRETS).map(([name, secretName]) => [name, this.#value(name, secretName)]),
    ) as Record<SecretName, Secret>
    this.logins = Object.fromEntries(
      SERVICE_NAMES.map((name) => [name, this.#login(name)]),
    ) as Record<ServiceName, Secret>
  }

  // An option below that changes makes Secrets Manager generate a new value in the old one's place, which
  // nobody would notice before the keys are missing. A test pins them; the stack policy refuses the update.
  #value(id: string, secretName: string): Secret {
    return this.#secret(id, secretName, {
      secretStringTemplate: '{}',
      generateStringKey: SECRET_FIELD,
      passwordLength: 64,
      excludePunctuation: true,
    })
  }

  #login(service: ServiceName): Secret {
    return this.#secret(`${service}-login`, databaseLogin(service), {
      secretStringTemplate: JSON.stringify({ username: SERVICES[service].databaseUser }),
      generateStringKey: 'password',
      passwordLength: 48,
      excludePunctuation: true,
    })
  }

  #secret(id: string, secretName: string, generateSecretString: SecretStringGenerator): Secret {
    return new Secret(this, id, {
      secretName,
      generateSecretString,
      encryptionKey: this.#encryptionKey,
      removalPolicy: RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
    })
  }
}
