// What API Gateway asks before it lets a request through: constructs/edge-api.ts.
import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager'
import { authorizer, type SigningKeys } from './authorize.ts'

const client = new SecretsManagerClient({})

async function read(SecretId: string | undefined): Promise<string> {
  const { SecretString = '' } = await client.send(new GetSecretValueCommand({ SecretId }))
  return JSON.parse(SecretString).secret
}

async function readKeys(): Promise<SigningKeys> {
  const { SIGNING_KEY_ARN, PREVIOUS_SIGNING_KEY_ARN } = process.env
  const [current, previous] = await Promise.all(
    [SIGNING_KEY_ARN, PREVIOUS_SIGNING_KEY_ARN].map(read),
  )
  if (!current || !previous) throw new Error('A signing key is empty.')
  return { current, previous }
}

const notRead = (error: unknown) => console.error('The signing keys could not be read again', error)

export const onRequest = authorizer({ readKeys, notRead }, () => new Date())
