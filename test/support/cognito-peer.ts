import { mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  AdminAddUserToGroupCommand,
  AdminGetUserCommand,
  AdminRemoveUserFromGroupCommand,
  AdminUpdateUserAttributesCommand,
  AssociateSoftwareTokenCommand,
  CognitoIdentityProviderClient,
  CreateGroupCommand,
  CreateUserPoolClientCommand,
  CreateUserPoolCommand,
  InitiateAuthCommand,
  SetUserMFAPreferenceCommand,
  VerifySoftwareTokenCommand,
} from '@aws-sdk/client-cognito-identity-provider'
import { freePorts } from '../../src/infra/local/free-ports.ts'
import { killAll, removePlace, startProcess, until } from './processes.ts'

/** The code of every mail that the pool sends. */
export const MAILED_CODE = '314159'

export type CognitoPeer = {
  readonly endpoint: string
  readonly pool: { readonly id: string; readonly client_id: string; readonly client_secret: string }
  readonly addToGroup: (username: string, group: string) => Promise<void>
  readonly removeFromGroup: (username: string, group: string) => Promise<void>
  /** Sets up an authenticator app; its secret. `codeOf` makes a code of that. */
  readonly setUpTotp: (
    user: { username: string; password: string },
    codeOf: (secret: string) => string,
  ) => Promise<string>
  /** What Cognito does by itself when a code that it mailed is confirmed, and cognito-local does not. */
  readonly verifyEmail: (user: { username: string; email: string }) => Promise<void>
  readonly exists: (username: string) => Promise<boolean>
  /** Away, as if the network were gone, until it goes on. */
  readonly pause: () => void
  readonly goOn: () => void
  readonly stop: () => Promise<void>
}

const require = createRequire(import.meta.url)

/**
 * A user pool of cognito-local, which speaks Cognito's API, in a process of its own. It cannot have a code sent again,
 * nor an app set up during a login, checks no SECRET_HASH, lets a refresh token of a disabled user work, and takes a
 * wrong password for a bad one: test/infra/cognito has these by what AWS documents.
 */
export async function startCognitoPeer(): Promise<CognitoPeer> {
  const place = await mkdtemp(join(tmpdir(), 'tasktrail-cognito-'))
  const [port = 0] = await freePorts(1)
  await mkdir(join(place, '.cognito'))
  // By default it takes addresses for usernames, and nothing else.
  const settings = { UserPoolDefaults: { UsernameAttributes: [] } }
  await writeFile(join(place, '.cognito', 'config.json'), JSON.stringify(settings))
  const program = require.resolve('cognito-local').replace(/lib\/index\.js$/, 'lib/bin/start.js')
  const env = { PORT: String(port), HOST: '127.0.0.1', CODE: MAILED_CODE }
  const server = startProcess('node', [program], { env, cwd: place })
  const endpoint = `http://127.0.0.1:${port}`
  const answers = () =>
    fetch(`${endpoint}/health`).then(
      ({ ok }) => ok,
      () => false,
    )
  await until(answers, () => `cognito-local: ${server.err.join('\n')}`)
  const credentials = { accessKeyId: 'local', secretAccessKey: 'local' }
  const client = new CognitoIdentityProviderClient({ endpoint, region: 'local', credentials })

  const { UserPool } = await client.send(
    new CreateUserPoolCommand({
      PoolName: 'tasktrail',
      AliasAttributes: ['email'],
      AutoVerifiedAttributes: ['email'],
      MfaConfiguration: 'OPTIONAL',
    }),
  )
  const UserPoolId = UserPool?.Id ?? ''
  const made = await client.send(
    new CreateUserPoolClientCommand({ UserPoolId, ClientName: 'api', GenerateSecret: true }),
  )
  const { ClientId = '', ClientSecret = '' } = made.UserPoolClient ?? {}
  for (const GroupName of ['admin', 'auditor', 'others']) {
    await client.send(new CreateGroupCommand({ UserPoolId, GroupName }))
  }
  const member = (Username: string, GroupName: string) => ({ UserPoolId, Username, GroupName })

  return {
    endpoint,
    pool: { id: UserPoolId, client_id: ClientId, client_secret: ClientSecret },
    addToGroup: async (username, group) =>
      void (await client.send(new AdminAddUserToGroupCommand(member(username, group)))),
    removeFromGroup: async (username, group) =>
      void (await client.send(new AdminRemoveUserFromGroupCommand(member(username, group)))),
    async setUpTotp({ username: USERNAME, password: PASSWORD }, codeOf) {
      const AuthParameters = { USERNAME, PASSWORD }
      const asked = { ClientId, AuthFlow: 'USER_PASSWORD_AUTH', AuthParameters } as const
      const { AuthenticationResult } = await client.send(new InitiateAuthCommand(asked))
      const AccessToken = AuthenticationResult?.AccessToken ?? ''
      const { SecretCode = '' } = await client.send(
        new AssociateSoftwareTokenCommand({ AccessToken }),
      )
      const UserCode = codeOf(SecretCode)
      await client.send(new VerifySoftwareTokenCommand({ AccessToken, UserCode }))
      const SoftwareTokenMfaSettings = { Enabled: true, PreferredMfa: true }
      await client.send(new SetUserMFAPreferenceCommand({ AccessToken, SoftwareTokenMfaSettings }))
      return SecretCode
    },
    async verifyEmail({ username: Username, email }) {
      const UserAttributes = [
        { Name: 'email', Value: email },
        { Name: 'email_verified', Value: 'true' },
      ]
      await client.send(
        new AdminUpdateUserAttributesCommand({ UserPoolId, Username, UserAttributes }),
      )
    },
    exists: (Username) =>
      client.send(new AdminGetUserCommand({ UserPoolId, Username })).then(
        () => true,
        () => false,
      ),
    pause: () => void process.kill(server.pid, 'SIGSTOP'),
    goOn: () => void process.kill(server.pid, 'SIGCONT'),
    async stop() {
      client.destroy()
      killAll([server.pid])
      await server.ended
      await removePlace(place)
    },
  }
}
