// `npm run grant-role -- <username> <role>`.
import { randomUUID } from 'node:crypto'
import { AppError } from './app/errors.ts'
import { ROLES, type Role } from './domain/user.ts'
import { findDatabase } from './find-database.ts'
import { postgresUsers } from './infra/postgres/accounts/users.ts'
import { openDatabase } from './infra/postgres/connection/database.ts'
import { requireReachable } from './infra/postgres/connection/reachable.ts'

const isRole = (name: string): name is Role => ROLES.some((role) => role === name)
/** A connection that is lost fails the statement, and that is reported. */
const silent = { info: () => {}, warn: () => {}, error: () => {} }

async function grant([username, role, ...rest]: readonly string[]): Promise<string> {
  if (username === undefined || role === undefined || rest.length > 0) {
    throw new Error('Name one user and one role: npm run grant-role -- ada auditor')
  }
  if (!isRole(role)) throw new Error(`There is no role "${role}": use ${ROLES.join(', ')}.`)
  const config = await findDatabase(process.env)
  await requireReachable(config)
  const db = openDatabase({ ...config, role: 'tasktrail_auth', log: silent })
  try {
    const now = new Date()
    const requestContext = { request_id: randomUUID(), ip: null, user_agent: 'grant-role', now }
    const user = await postgresUsers(db).setRole(username, role, requestContext)
    if (user === null) throw new Error(`There is no user "${username}".`)
    return `${user.username} has the role ${user.role} now.`
  } finally {
    await db.close()
  }
}

/** One sentence; what the database itself says stands under an adapter's code. */
function sentence(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { message, cause } = error
  if (error instanceof AppError && cause instanceof Error) {
    return `The database failed: ${cause.message}.`
  }
  return (error as { code?: unknown }).code === '42P01'
    ? 'The database holds no tables of Tasktrail yet: run "npm run migrate".'
    : message
}

try {
  console.log(await grant(process.argv.slice(2)))
} catch (error) {
  console.error(sentence(error))
  process.exitCode = 1
}
