import { expect } from 'chai'
import fc from 'fast-check'
import type { TaskFields } from '../../src/domain/task/events.ts'
import { type System, startSystem } from '../support/system.ts'
import { arbitraryChanges, arbitraryFields } from '../support/tasks.ts'

type User = Awaited<ReturnType<System['newUser']>>

const title = (number: number, text: string) =>
  `Feature: ecs-task-management-api, Property ${number}: ${text}`

describe('The task API', () => {
  let system: System
  let users: User[]

  before(async () => {
    system = await startSystem()
    users = [await system.newUser(), await system.newUser(), await system.newUser()]
  })
  after(() => system.stop())

  const create = async (user: User, body: Partial<TaskFields>) => {
    const answer = await system.call('POST', '/tasks', { token: user.token, body })
    expect(answer.status, JSON.stringify(answer.body)).to.equal(201)
    return answer.body.task
  }
  const get = (user: User, id: number) => system.call('GET', `/tasks/${id}`, { token: user.token })
  const list = async (user: User) =>
    (await system.call('GET', '/tasks', { token: user.token })).body.tasks

  it(title(5, 'Task Creation Persistence'), async () => {
    const defaults = { description: null, status: 'pending', priority: 'medium', due_date: null }
    const partial = fc.record(
      {
        title: arbitraryFields.map(({ title }) => title),
        description: arbitraryFields.map(({ description }) => description),
        status: arbitraryFields.map(({ status }) => status),
        priority: arbitraryFields.map(({ priority }) => priority),
        due_date: arbitraryFields.map(({ due_date }) => due_date),
      },
      { requiredKeys: ['title'] },
    )
    await fc.assert(
      fc.asyncProperty(partial, async (fields) => {
        const [user] = users as [User]
        const task = await create(user, fields)
        expect(task).to.deep.include({ ...defaults, ...fields, user_id: user.id, version: 1 })
        expect((await get(user, task.id)).body.task).to.deep.equal(task)
        expect((await list(user))[0]).to.deep.equal(task)
      }),
      { numRuns: 100 },
    )
  })

  it(title(6, 'User Task Isolation'), async () => {
    const owned = new Map<User, Set<number>>()
    for (const user of users) {
      owned.set(user, new Set((await list(user)).map(({ id }: { id: number }) => id)))
    }
    const who = fc.nat(2)
    await fc.assert(
      fc.asyncProperty(who, who, arbitraryFields, async (writer, reader, fields) => {
        const [mine, theirs] = [users[writer], users[reader]] as [User, User]
        const task = await create(mine, fields)
        owned.get(mine)?.add(task.id)
        const tasks: { id: number; user_id: number }[] = await list(theirs)
        expect(new Set(tasks.map(({ id }) => id))).to.deep.equal(owned.get(theirs))
        for (const { user_id } of tasks) expect(user_id).to.equal(theirs.id)
      }),
      { numRuns: 100 },
    )
  })

  it(title(7, 'Owner-Only Modifications'), async () => {
    const attempt = fc.record({
      owner: fc.nat(2),
      actor: fc.nat(2),
      method: fc.constantFrom('PUT', 'PATCH', 'DELETE'),
      fields: arbitraryFields,
      changes: arbitraryChanges,
    })
    await fc.assert(
      fc.asyncProperty(attempt, async ({ owner, actor, method, fields, changes }) => {
        const [mine, theirs] = [users[owner], users[actor]] as [User, User]
        const task = await create(mine, fields)
        const body = method === 'DELETE' ? undefined : changes
        const answer = await system.call(method, `/tasks/${task.id}`, { token: theirs.token, body })
        const after = await get(mine, task.id)
        if (owner !== actor) {
          expect(answer.status).to.equal(403)
          expect((await get(theirs, task.id)).status).to.equal(403)
          expect(after.body.task).to.deep.equal(task)
        } else if (method === 'DELETE') {
          expect(answer.status).to.equal(204)
          expect(after.status).to.equal(404)
        } else {
          expect(answer.status).to.equal(200)
          expect(after.body.task).to.deep.include({ ...fields, ...changes })
        }
      }),
      { numRuns: 100 },
    )
  })
})
