// What the schedule in constructs/canary.ts calls.
import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager'
import { visit } from './visit.ts'

const client = new SecretsManagerClient({})

export async function onSchedule(): Promise<void> {
  const { API_URL = '', PASSWORD_ARN } = process.env
  const { SecretString: password = '', VersionId } = await client.send(
    new GetSecretValueCommand({ SecretId: PASSWORD_ARN }),
  )
  // Each password has its own account, so a new one may be stored at any time.
  await visit(API_URL, { username: `canary-${VersionId}`, password })
}
