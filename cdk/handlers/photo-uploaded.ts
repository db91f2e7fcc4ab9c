// What the rule in constructs/photo-events.ts calls.
import { GetSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager'
import { type ObjectCreated, reportUpload } from './report-upload.ts'

const client = new SecretsManagerClient({})
/** Read once, and again when it is refused. */
let apiKey: string | undefined

export async function onObjectCreated(event: ObjectCreated): Promise<void> {
  if (await report(event)) return
  apiKey = undefined
  // Its next try finds the tasks that know the new key, while it is being replaced.
  if (!(await report(event))) throw new Error('task-service does not know the internal API key')
}

async function report(event: ObjectCreated): Promise<boolean> {
  apiKey ??= await currentKey()
  return reportUpload(process.env.REPORT_URL ?? '', apiKey, event)
}

async function currentKey(): Promise<string> {
  const { SecretString = '' } = await client.send(
    new GetSecretValueCommand({ SecretId: process.env.API_KEY_ARN }),
  )
  return JSON.parse(SecretString).secret
}
