import { randomUUID } from 'node:crypto'
import { AppError } from './app/errors.ts'
import { roles } from './app/roles.ts'
import { command, UsageError } from './command-line.ts'
import { ROLES, type Role } from './domain/user.ts'
import { databaseFailure, findDatabase } from './find-database.ts'
import { postgresUsers } from './infra/postgres/accounts/users.ts'
import { openDatabase } from './infra/postgres/connection/database.ts'
import { requireReachable } from './infra/postgres/connection/reachable.ts'

const USAGE = `Usage: npm run grant-role -- <username> <role>

Gives a user a role: ${ROLES.join(', ')}.`

const isRole = (name: string): name is Role => ROLES.some((role) => role === name)
/** A lost connection fails the statement, and that is reported. */
const silent = { info: () => {}, warn: () => {}, error: () => {} }

async function grant([username = '', role = '']: readonly string[]): Promise<string> {
  if (!isRole(role)) throw new UsageError(`There is no role "${role}": use ${ROLES.join(', ')}.`)
  const config = await findDatabase(process.env)
  await requireReachable(config)
  const db = openDatabase({ ...config, role: 'tasktrail_auth', log: silent })
  try {
    const now = new Date()
    const requestContext = { request_id: randomUUID(), ip: null, user_agent: 'grant-role', now }
    const user = await roles(postgresUsers(db)).grant(username, role, requestContext)
    if (user === null) throw new Error(`There is no user "${username}".`)
    return `${user.username} now has the role ${user.role}.`
  } catch (error) {
    if (!(error instanceof AppError && error.code === 'last_admin')) throw error
    throw new Error('There is no other admin: make somebody else one first.')
  } finally {
    await db.close()
  }
}

await command(
  { usage: USAGE, takes: [2, 2] },
  async ({ args }) => [await grant(args)],
  databaseFailure,
)
