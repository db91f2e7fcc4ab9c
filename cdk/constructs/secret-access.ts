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
 * The secrets as a container takes them: by ARN and without a version, so that a new deployment
 * reads what the secret holds by then.
 *
 * The execution role may read exactly these and decrypt exactly these, and only by way of Secrets
 * Manager. The library grants no decryption of a secret that it sees by its ARN alone (nor of one
 * that RDS manages), and then no task starts; one that it sees whole it would grant in the key's
 * policy, in the other stack, which makes a circle.
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

/** Exactly these secrets, and only by way of Secrets Manager. */
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
