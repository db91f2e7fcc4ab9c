import { Stack } from 'aws-cdk-lib'
import { Secret as ContainerSecret, type TaskDefinition } from 'aws-cdk-lib/aws-ecs'
import { PolicyStatement } from 'aws-cdk-lib/aws-iam'
import { type ISecret, Secret } from 'aws-cdk-lib/aws-secretsmanager'
import type { Construct } from 'constructs'

/** One field of a secret. */
export type SecretField = {
  readonly secret: { readonly secretArn: string }
  readonly field: string
}

/**
 * A container's secrets, by ARN and without a version, so that a new deployment reads the current value.
 *
 * The execution role may read and decrypt exactly these, and only through Secrets Manager. For a secret
 * known only by its ARN (or managed by RDS) the library grants no decryption, and then no task starts; for
 * a secret that it has as a construct it would put the grant into the key's policy, in another stack, which
 * creates a circular dependency.
 */
export function injectSecrets(
  scope: Construct,
  task: TaskDefinition,
  keyArn: string,
  variables: Readonly<Record<string, SecretField>>,
): Record<string, ContainerSecret> {
  const secrets = new Map<string, ISecret>()
  const importOnce = (arn: string): ISecret => {
    const secret =
      secrets.get(arn) ?? Secret.fromSecretCompleteArn(scope, `Secret${secrets.size}`, arn)
    secrets.set(arn, secret)
    return secret
  }
  const injected = Object.entries(variables).map(([name, { secret, field }]) => {
    return [name, ContainerSecret.fromSecretsManager(importOnce(secret.secretArn), field)]
  })
  task.addToExecutionRolePolicy(mayDecrypt(scope, keyArn, [...secrets.keys()]))
  return Object.fromEntries(injected)
}

/** Exactly these secrets, and only through Secrets Manager. */
export const mayDecrypt = (
  scope: Construct,
  keyArn: string,
  secretArns: readonly string[],
): PolicyStatement =>
  new PolicyStatement({
    sid: 'DecryptOwnSecrets',
    actions: ['kms:Decrypt'],
    resources: [keyArn],
    conditions: {
      StringEquals: {
        'kms:ViaService': `secretsmanager.${Stack.of(scope).region}.amazonaws.com`,
        'kms:EncryptionContext:SecretARN': secretArns,
      },
    },
  })
