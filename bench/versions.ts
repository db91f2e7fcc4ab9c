import { commandLine } from '../src/command-line.ts'
import { writeCursor } from '../src/http/cursors.ts'
import { type Cell, measured, table } from './growth/cells.ts'
import { lengthened, statusAt } from './growth/histories.ts'
import { type Answer, scene } from './growth/scene.ts'

const USAGE = `Usage: npm run bench:versions [-- --quick]

How the cost of one task's requests grows with its versions: Tasktrail's own processes on a PostgreSQL that it
starts itself, tasks at versions 1, 100, 10,000 and 100,000, one client. Prints for each the median time, the CPU
of task-service and PostgreSQL in ms, and the ratio of the CPU to the smallest task's. Takes five minutes.

  --quick    versions 1, 100 and 1,000, and few requests: shows that it runs and the answers are right

Exits with 1 if an answer is wrong, or a change costs more than 1.2 times that at version 1.`

const { values } = commandLine({ usage: USAGE, options: { quick: { type: 'boolean' } } })
const SIZES = values.quick ? [1, 100, 1_000] : [1, 100, 10_000, 100_000]
const COURSE = values.quick ? { rounds: 1, requests: 4 } : { rounds: 8, requests: 20 }
const UNDONE = (SIZES.at(-1) ?? 0) / 2
const PAGE = 50
const LIMIT = 1.2
/** Below this many versions each request of a turn has a task of its own, which so keeps its length. */
const SHORT = 1_000

type Task = { readonly id: number; version: number; status: string }

function require(isRight: boolean, what: string, answer: Answer): void {
  if (!isRight) throw new Error(`${what}: ${answer.status} ${JSON.stringify(answer.body)}`)
}

const place = await scene(1)
try {
  const [user] = place.users
  if (user === undefined) throw new Error('there is no user')
  const lengthen = await lengthened(place)
  const call = (method: string, path: string, body?: object, headers = {}) =>
    place.call(user, method, path, body, headers)

  const newTask = async (version: number, undoneFrom?: number): Promise<Task> => {
    const fields = { title: 'A task of many versions', description: 'words '.repeat(20) }
    const { id } = (await call('POST', '/tasks', fields)).body.task
    await lengthen(id, version, undoneFrom)
    return { id, version, status: statusAt(version) }
  }

  const cells: Cell[] = []
  for (const size of SIZES) {
    const count = size < SHORT ? COURSE.requests : 1
    const tasks: Task[] = []
    while (tasks.length < count) tasks.push(await newTask(size))
    console.error(`${count} with ${size} versions`)
    const taskOf = (n: number) => tasks[n % count] as Task
    const cell = (operation: string, request: (task: Task, n: number) => Promise<void>) =>
      cells.push({ operation, size, request: (n) => request(taskOf(n), n) })

    cell('PUT', async (task) => {
      const status = statusAt(2 + ['pending', 'in_progress', 'completed'].indexOf(task.status))
      const answer = await call('PUT', `/tasks/${task.id}`, { status })
      task.version++
      task.status = status
      const { version } = answer.body.task ?? {}
      require(version === task.version && answer.body.task.status === status, 'PUT', answer)
    })
    cell('undo', async (task) => {
      const answer = await call('POST', `/tasks/${task.id}/undo`, {})
      task.version++
      task.status = statusAt(['pending', 'in_progress', 'completed'].indexOf(task.status) + 3)
      const { task: shown, next_redo } = answer.body
      const isRight = shown?.status === task.status && shown.version === task.version
      require(isRight && next_redo === task.version, 'undo', answer)
    })
    cell('GET', async (task) => {
      const answer = await call('GET', `/tasks/${task.id}`)
      require(answer.body.task?.version === task.version, 'GET', answer)
    })
    for (const [name, version] of [
      ['the first', 1],
      ['the middle', Math.ceil(size / 2)],
      ['the last', size],
    ] as const) {
      cell(`GET ?version= ${name}`, async ({ id }) => {
        const answer = await call('GET', `/tasks/${id}?version=${version}`)
        const { task } = answer.body
        const isRight = task?.version === version && task.status === statusAt(version)
        require(isRight && task.title === 'A task of many versions', name, answer)
      })
      const from = version === 1 ? 0 : version === size ? Math.max(0, size - PAGE) : version
      cell(`history, ${name} page`, async ({ id }) => {
        const cursor = from === 0 ? '' : `&cursor=${writeCursor('history asc', from)}`
        const answer = await call('GET', `/tasks/${id}/history?order=asc&limit=${PAGE}${cursor}`)
        const shown: { version: number; changes: { status?: { to: string } } }[] =
          answer.body.events ?? []
        const isRight = shown.every(
          ({ version, changes }, index) =>
            version === from + index + 1 &&
            (version > size || changes.status?.to === statusAt(version)),
        )
        require(isRight && shown.length >= Math.min(PAGE, size - from), name, answer)
      })
    }
    cell('GET ?as_of= now', async (task) => {
      const as_of = new Date(Date.now() - 1).toISOString()
      const answer = await call('GET', `/tasks/${task.id}?as_of=${as_of}`)
      require(answer.body.task?.version === task.version, 'as_of', answer)
    })
    cell('a repeated PUT, answered as the first', async (task) => {
      const once = { 'Idempotency-Key': `${task.id}-${size}` }
      const answer = await call('PUT', `/tasks/${task.id}`, { priority: 'medium' }, once)
      require(answer.body.task?.id === task.id, 'a repeated PUT', answer)
    })
    cell('GET /tasks/changes, the last', async (task) => {
      const last = await place.sql.query(
        'select position from events where stream_id = $1 and version = $2',
        [`task-${task.id}`, task.version],
      )
      const since = Number(last.rows[0].position) - 1
      const answer = await call('GET', `/tasks/changes?since=${since}&limit=1`)
      require(answer.body.events?.[0]?.version === task.version, 'changes', answer)
    })
  }

  const undone = await newTask(2 * UNDONE - 4, UNDONE)
  await place.settled()
  const figures = await measured(place, cells, COURSE)
  console.log(table(figures))

  // The longest way back: nothing is left but the first change, all others have been taken back.
  const began = performance.now()
  const answer = await call('POST', `/tasks/${undone.id}/undo`, {})
  const seconds = (performance.now() - began) / 1_000
  require(answer.body.undone === 2 && answer.body.next_undo === 1, 'the longest way back', answer)
  console.log(
    `undo after ${UNDONE - 3} changes were undone: ${seconds.toFixed(2)} s;`,
    `task-service's memory at its peak: ${place.peakMemory()} MB`,
  )

  const cost = (size = 0) => figures.find((one) => one.operation === 'PUT' && one.size === size)
  const ratio = (cost(SIZES.at(-2))?.cpu ?? Number.NaN) / (cost(1)?.cpu ?? Number.NaN)
  const verdict = ratio <= LIMIT ? 'within' : 'OVER'
  console.log(`PUT at version ${SIZES.at(-2)}: ${ratio.toFixed(2)} times, ${verdict} ${LIMIT}`)
  if (!(ratio <= LIMIT) && !values.quick) process.exitCode = 1
} finally {
  await place.stop()
}
