import type { Request } from './load.ts'
import type { System, User } from './systems.ts'

export const OPERATIONS = {
  'read one': 'GET /tasks/:id',
  list: 'GET /tasks, 20 tasks',
  create: 'POST /tasks',
  change: 'PUT /tasks/:id',
} as const

export type Operation = keyof typeof OPERATIONS

export const CONNECTIONS = 32
const TASKS = 20
const AT_ONCE = 16

type Owner = User & { readonly tasks: readonly (number | string)[] }

/** What a system holds before it is measured, and the requests that go with it. */
export type Data = {
  readonly base: string
  /** Their tasks stay as they are, so that there is one right answer, to the byte. */
  readonly readers: readonly Owner[]
  readonly writers: readonly Owner[]
  /** The answers to `GET`, by path and user. */
  readonly answers: ReadonlyMap<string, string>
}

const authorization = ({ token }: User) => ({ authorization: `Bearer ${token}` })
const withBody = (user: User) => ({ ...authorization(user), 'content-type': 'application/json' })
const titleOf = (n: number, { id }: User) => `Task ${n} of user ${id}`

async function call(url: string, request: Omit<Request, 'expects'>, status: number) {
  const { path, ...init } = request
  const response = await fetch(url + path, init)
  const text = await response.text()
  if (response.status !== status) throw new Error(`${path}: ${response.status} ${text}`)
  return { text, body: JSON.parse(text) }
}

/** Gives every user 20 tasks through the API, and checks that it shows them as they were given. */
export async function prepare({
  url: origin,
  base = '',
  users,
}: Pick<System, 'url' | 'base' | 'users'>): Promise<Data> {
  const url = origin + base
  const owners: Owner[] = []
  const answers = new Map<string, string>()
  const isReader = (n: number) => n < users.length / 2
  const waiting = users.entries()
  const work = async () => {
    for (const [n, user] of waiting) {
      owners[n] = await withTasks(url, user)
      if (isReader(n)) await keepAnswers(url, owners[n], answers)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  const [readers, writers] = [
    owners.filter((_, n) => isReader(n)),
    owners.filter((_, n) => !isReader(n)),
  ]
  return { base, readers, writers, answers }
}

async function withTasks(url: string, user: User): Promise<Owner> {
  const tasks: (number | string)[] = []
  for (let n = 1; n <= TASKS; n++) {
    const body = JSON.stringify({ title: titleOf(n, user), priority: 'high' })
    const request = { method: 'POST', path: '/tasks', headers: withBody(user), body } as const
    tasks.push((await call(url, request, 201)).body.task.id)
  }
  return { ...user, tasks }
}

async function keepAnswers(url: string, user: Owner, answers: Map<string, string>): Promise<void> {
  const get = (path: string) =>
    call(url, { method: 'GET', path, headers: authorization(user) }, 200)
  const requireRight = (task: Record<string, unknown>) => {
    const n = user.tasks.indexOf(task.id as number) + 1
    const expected = {
      title: titleOf(n, user),
      user_id: user.id,
      status: 'pending',
      priority: 'high',
    }
    const isRight = Object.entries(expected).every(([name, value]) => task[name] === value)
    if (n === 0 || !isRight) throw new Error(`${url} shows ${JSON.stringify(task)}`)
  }
  for (const id of user.tasks) {
    const { body, text } = await get(`/tasks/${id}`)
    requireRight(body.task)
    answers.set(`/tasks/${id}`, text)
  }
  const { body, text } = await get('/tasks')
  body.tasks.forEach(requireRight)
  if (body.tasks.length !== TASKS) throw new Error(`${url} lists ${body.tasks.length} tasks`)
  answers.set(`/tasks ${user.id}`, text)
}

// Each run changes tasks to what they have not been before.
let runs = 0

/** What each connection sends. Users are on one connection only, so that nobody waits for himself. */
export function requestsOf(
  operation: Operation,
  data: Data,
  connections = CONNECTIONS,
): Request[][] {
  const run = ++runs
  const { base } = data
  const each: Readonly<Record<Operation, (owner: Owner) => Request[]>> = {
    'read one': (user) =>
      user.tasks.map((id) => read(`${base}/tasks/${id}`, user, data.answers.get(`/tasks/${id}`))),
    list: (user) => [read(`${base}/tasks`, user, data.answers.get(`/tasks ${user.id}`))],
    create: (user) => [
      write('POST', `${base}/tasks`, user, { title: `Run ${run}`, priority: 'high' }),
    ],
    // Twice over: the second time around is a change again.
    change: (user) =>
      ['a', 'b'].flatMap((turn) =>
        user.tasks.map((id) =>
          write('PUT', `${base}/tasks/${id}`, user, { title: `Run ${run} ${turn}` }, { id }),
        ),
      ),
  }
  const users = operation === 'create' || operation === 'change' ? data.writers : data.readers
  return Array.from({ length: connections }, (_, n) => {
    const own = users.filter((_, m) => m % connections === n).map(each[operation])
    // Users take turns, and a task comes again only after all others.
    return own[0]?.flatMap((_, m) => own.map((requests) => requests[m] as Request)) ?? []
  })
}

function read(path: string, user: User, text = ''): Request {
  return { method: 'GET', path, headers: authorization(user), expects: { status: 200, text } }
}

function write(
  method: 'POST' | 'PUT',
  path: string,
  user: User,
  fields: object,
  more: object = {},
): Request {
  const headers = withBody(user)
  const task = { ...fields, ...more, user_id: user.id }
  const expects = { status: method === 'POST' ? 201 : 200, task }
  return { method, path, headers, body: JSON.stringify(fields), expects }
}
