import { commandLine } from '../src/command-line.ts'
import { type Cell, measured, table } from './growth/cells.ts'
import { others } from './growth/others.ts'
import { type Answer, scene } from './growth/scene.ts'

const USAGE = `Usage: npm run bench:growth [-- --quick]

How the cost of requests grows with the tasks of their user, and with what all users have stored: Tasktrail's own
processes on a PostgreSQL that it starts itself, users with 20, 2,000 and 99,000 tasks, then the same with 1,000,000
events of 25,000 other users in the log, one client. Prints for each the median time, the CPU of task-service and
PostgreSQL in ms, and the ratio of the CPU to the first. Takes a quarter of an hour.

  --quick    20 and 200 tasks, 8,000 events, few requests: shows that it runs and the answers are right

Exits with 1 if an answer is wrong, or a first page costs more than twice as much for the user with most tasks.`

const { values } = commandLine({ usage: USAGE, options: { quick: { type: 'boolean' } } })
// Below the default quota of 100,000, at which nothing more may be created.
const SIZES = values.quick ? [20, 200] : [20, 2_000, 99_000]
const EVENTS = values.quick ? 8_000 : 1_000_000
const COURSE = values.quick ? { rounds: 1, requests: 3 } : { rounds: 8, requests: 15 }
const AT_ONCE = 32
const PAGE = 20
const LIMIT = 2

const STATUSES = ['pending', 'in_progress', 'completed'] as const
const PRIORITIES = ['low', 'medium', 'high'] as const

type Fields = Record<string, string | null>

/** The task that a user creates as the `n`th. Each value of each field is found among any twenty. */
const fieldsOf = (n: number): Fields => ({
  title: `Task number ${n}`,
  description: n % 2 === 0 ? null : `What it is about: ${n}`,
  status: STATUSES[n % 3] ?? null,
  priority: PRIORITIES[Math.floor(n / 3) % 3] ?? null,
  due_date: n % 4 === 0 ? null : new Date(Date.UTC(2027, 0, 1) + n * 60_000).toISOString(),
})

const LISTS: Readonly<Record<string, (task: Fields) => boolean>> = {
  ...Object.fromEntries(
    ['created_at', 'updated_at', 'due_date', 'priority'].flatMap((sort) => [
      [`sort=${sort}`, () => true],
      [`sort=-${sort}`, () => true],
    ]),
  ),
  'status=pending': ({ status }) => status === 'pending',
  'status=pending,completed&priority=high': ({ status, priority }) =>
    status !== 'in_progress' && priority === 'high',
  'status=pending&sort=due_date': ({ status }) => status === 'pending',
  'has_due_date=false': ({ due_date }) => due_date === null,
  'due_from=2027-01-01T00:00:00Z&sort=due_date': ({ due_date }) => due_date !== null,
  'q=number': () => true,
}

function require(isRight: boolean, what: string, answer: Answer): void {
  if (!isRight) throw new Error(`${what}: ${answer.status} ${JSON.stringify(answer.body)}`)
}

const place = await scene(SIZES.length)
try {
  const cells: Cell[] = []
  for (const [index, size] of SIZES.entries()) {
    const user = place.users[index]
    if (user === undefined) throw new Error(`there is no user ${index}`)
    const call = (method: string, path: string, body?: object) =>
      place.call(user, method, path, body)

    const numbers = Array.from({ length: size }, (_, n) => n).values()
    const ids: number[] = []
    const create = async () => {
      for (const n of numbers) {
        const answer = await call('POST', '/tasks', fieldsOf(n))
        require(answer.status === 201, 'POST', answer)
        ids.push(answer.body.task.id)
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, create))
    console.error(`a user with ${size} tasks`)

    const cell = (operation: string, request: (n: number) => Promise<void>) =>
      cells.push({ operation, size, request })
    for (const [query, isOne] of Object.entries(LISTS)) {
      const count = Math.min(
        PAGE,
        Array.from({ length: size }, (_, n) => fieldsOf(n)).filter(isOne).length,
      )
      cell(`GET /tasks?${query}`, async () => {
        const answer = await call('GET', `/tasks?limit=${PAGE}&${query}`)
        const shown: Fields[] = answer.body.tasks ?? []
        require(shown.length === count && shown.every(isOne), query, answer)
      })
    }
    let turn = 0
    cell('GET /tasks/:id', async (n) => {
      const id = ids[(n * 7) % size]
      const answer = await call('GET', `/tasks/${id}`)
      require(answer.body.task?.id === id, 'GET', answer)
    })
    cell('PUT /tasks/:id', async (n) => {
      const title = `Task number ${n}, turn ${++turn}`
      const answer = await call('PUT', `/tasks/${ids[n % size]}`, { title })
      require(answer.body.task?.title === title, 'PUT', answer)
    })
    cell('POST and DELETE', async (n) => {
      const made = await call('POST', '/tasks', fieldsOf(n))
      require(made.status === 201, 'POST', made)
      const answer = await call('DELETE', `/tasks/${made.body.task.id}`)
      require(answer.status === 204 || answer.status === 200, 'DELETE', answer)
    })
  }
  await place.settled()
  const before = await measured(place, cells, COURSE)
  console.log(`by the tasks of a user:\n${table(before)}`)

  await others(place.sql, EVENTS)
  const after = await measured(place, cells, COURSE)
  const first = SIZES[0]
  const own = SIZES.reduce((sum, size) => sum + size, 0)
  const of = (figures: typeof before, events: number) =>
    figures.filter(({ size }) => size === first).map((one) => ({ ...one, size: events }))
  console.log(
    `by the events in the log, of the user with ${first} tasks:\n${table([...of(before, own), ...of(after, own + EVENTS)])}`,
  )
  console.log(`task-service's memory at its peak: ${place.peakMemory()} MB`)

  const most = SIZES.at(-1)
  for (const { operation, cpu } of after.filter(({ size }) => size === most)) {
    const least = after.find((one) => one.operation === operation && one.size === first)?.cpu
    const ratio = cpu / (least ?? Number.NaN)
    if (ratio <= LIMIT) continue
    console.log(`${operation}: ${ratio.toFixed(2)} times for ${most} tasks, OVER ${LIMIT}`)
    if (!values.quick) process.exitCode = 1
  }
} finally {
  await place.stop()
}
