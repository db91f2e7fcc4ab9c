import { expect } from 'chai'
import pg from 'pg'
import { ROLES, type Role } from '../../src/domain/user.ts'
import { openApi } from '../../src/http/openapi.ts'
import { OF_AUTH_SERVICE, OF_TASK_SERVICE } from '../support/endpoints.ts'
import { giveRole } from '../support/roles.ts'
import { type System, startSystem } from '../support/system.ts'

type Operation = { 'x-roles'?: Role[]; security: Record<string, Role[]>[] }
type Document = { paths: Record<string, Record<string, Operation>> }

const SERVICES = { auth: OF_AUTH_SERVICE, tasks: OF_TASK_SERVICE }
const REFUSALS = ['admins_only', 'auditors_only']

describe('The role that a call asks for', () => {
  let system: System
  const users = new Map<Role, { username: string; password: string }>()

  before(async () => {
    system = await startSystem()
    const sql = new pg.Client(system.database.url)
    await sql.connect()
    for (const role of ROLES) {
      const { id, username, password } = await system.newUser()
      await giveRole(sql, id, role)
      users.set(role, { username, password })
    }
    await sql.end()
  })
  after(() => system.stop())

  /** Whether it is the role that keeps its holder from this call. */
  const isRefused = async (role: Role, method: string, path: string): Promise<boolean> => {
    const { body } = await system.call('POST', '/auth/login', { body: users.get(role) })
    const { status, body: answer } = await system.call(method.toUpperCase(), path, {
      token: body.token,
      // What the role lets through goes no further, if it has an answer at all.
      headers: { accept: 'application/error-only' },
    })
    expect(status, `${method} ${path}`).to.be.oneOf([204, 400, 403, 404, 406])
    return REFUSALS.includes(answer?.code)
  }

  for (const [name, endpoints] of Object.entries(SERVICES)) {
    const document = openApi(name, '1', endpoints) as Document
    for (const [path, methods] of Object.entries(document.paths)) {
      for (const [method, { 'x-roles': roles, security }] of Object.entries(methods)) {
        if (!security.some((each) => 'cookie' in each)) continue

        it(`is the one that the document names: ${method} ${path}`, async () => {
          const concrete = path.replace(/\{\w+\}/g, '1')
          const let_in: Role[] = []
          for (const role of ROLES) {
            if (!(await isRefused(role, method, concrete))) let_in.push(role)
          }
          expect(roles).to.have.members(let_in)
          const named = security.flatMap((each) => Object.values(each).flat())
          expect([...new Set(named)]).to.have.members(let_in.length === ROLES.length ? [] : let_in)
        })
      }
    }
  }
})
