import { expect } from 'chai'
import type { EventStore, Recorded } from '../../src/app/ports/event-store.ts'
import { reverted, undoSteps } from '../../src/app/undo.ts'
import { SETTERS } from '../../src/domain/task/changes.ts'
import { TASK_STATUSES, type TaskEvent, type TaskStatus } from '../../src/domain/task/events.ts'
import type { TaskView } from '../../src/domain/task/view.ts'
import { stateAfter } from '../support/task-rules.ts'
import { undoModel } from '../support/undo-model.ts'

const LENGTH = 6_000
const HALF = LENGTH / 2
const THIRD = LENGTH / 3

const TYPES = {
  pending: 'TaskReopened',
  in_progress: 'TaskStarted',
  completed: 'TaskCompleted',
} as const satisfies Record<TaskStatus, TaskEvent['type']>

const created: TaskEvent = {
  type: 'TaskCreated',
  data: {
    user_id: 1,
    title: 'One',
    description: null,
    status: 'pending',
    priority: 'low',
    due_date: null,
  },
}

/** Long courses of a task's status: how long, and what each version from 2 on undoes, if anything. */
const COURSES: Readonly<Record<string, [number, (version: number) => number | undefined]>> = {
  'changes alone': [LENGTH, () => undefined],
  'a change and its undo, undone again and again': [
    LENGTH,
    (at) => (at === 2 ? undefined : at - 1),
  ],
  'changes, each undone at once': [LENGTH, (at) => (at % 2 === 0 ? undefined : at - 1)],
  'changes that are all undone, from the last one on': [
    2 * HALF - 1,
    (at) => (at <= HALF ? undefined : 2 * HALF - at + 1),
  ],
  'changes that are all undone and redone': [
    3 * THIRD - 2,
    (at) => (at <= THIRD ? undefined : (at < 2 * THIRD ? 2 * THIRD + 1 : 4 * THIRD - 1) - at),
  ],
}

/** The events, one command each. An undo sets what was so before what it undoes. */
function eventsOf([length, undone]: [number, (version: number) => number | undefined]) {
  const events = [created]
  const statuses: TaskStatus[] = ['pending']
  for (let version = 2; version <= length; version++) {
    const target = undone(version)
    const next = TASK_STATUSES[(TASK_STATUSES.indexOf(statuses.at(-1) as TaskStatus) + 1) % 3]
    const status = (target === undefined ? next : statuses[target - 2]) as TaskStatus
    const data = { status, ...(target !== undefined && { undoes: [target] }) }
    statuses.push(status)
    events.push({ type: TYPES[status], data } as TaskEvent)
  }
  return events.map((event, index) => {
    const metadata = { causation_id: `c-${index}` }
    return { ...event, version: index + 1, schema_version: 1, metadata } as Recorded<TaskEvent>
  })
}

/** A store of one stream that counts the events that it has read. */
function countingStore(events: readonly Recorded<TaskEvent>[]) {
  let read = 0
  const counted = <T>(found: readonly T[]): readonly T[] => {
    read += found.length
    return found
  }
  const store = {
    outlines: async (_: string, upTo: number, limit: number) =>
      counted(events.slice(Math.max(0, Math.min(upTo, events.length) - limit), upTo))
        .toReversed()
        .map(({ version, type, schema_version, metadata: { causation_id }, data }) => {
          const undoes = Reflect.get(data, 'undoes') ?? null
          return { version, type, schema_version, causation_id, undoes }
        }),
    inForce: async (_: string, version: number) => {
      const before = events.slice(0, version)
      const last = Object.values(SETTERS).map((types) =>
        before.findLast(({ type }) => types.some((one) => one === type)),
      )
      return counted(before.filter((event) => last.includes(event)))
    },
  }
  return { store: store as unknown as EventStore<TaskEvent, TaskView>, read: () => read }
}

const outcome = async <T>(ask: () => T | Promise<T>) => {
  try {
    return await ask()
  } catch (error) {
    return Reflect.get(Object(error), 'code') ?? error
  }
}

describe('Undo in a task with a long history', () => {
  for (const [name, course] of Object.entries(COURSES)) {
    const events = eventsOf(course)
    const end = events.length
    const model = undoModel(events)
    const { next_undo, next_redo } = model
    const state = stateAfter(events)
    const counting = () => countingStore(events)

    it(`takes back what it should, and reads each event a few times at most: ${name}`, async () => {
      const named = [2, 3, THIRD, HALF, HALF + 1, end - 1, end, end + 1]
      for (const version of [undefined, ...named]) {
        const { store, read } = counting()
        const command = { type: 'UndoTask', actor_id: 1, version } as const
        const versions = { loaded: end, end }
        const taken = await outcome(() => reverted(store, 'task-1', command, state, versions))
        const expected = await outcome(() => {
          const taken = model.take(version ?? next_undo ?? Number.NaN)
          return { type: 'RevertChange', actor_id: 1, ...taken }
        })
        expect(taken, `${version}`).to.deep.equal(expected)
        expect(read()).to.be.at.most(2.5 * end)
      }
    })

    it(`says what is next: ${name}`, async () => {
      const { store, read } = counting()
      const view = { id: 1, version: end } as TaskView
      const steps = await outcome(() => undoSteps(store)(view))
      if (events.some(({ version, data }) => version === end && 'undoes' in data)) {
        expect(steps).to.include({ next_undo, next_redo })
      }
      expect(read()).to.be.at.most(2.5 * end)
    })
  }

  it('reads some tens of events to undo the last change', async () => {
    const events = eventsOf(COURSES['changes alone'] as [number, () => undefined])
    const { store, read } = countingStore(events)
    const command = { type: 'UndoTask', actor_id: 1, version: undefined } as const
    const versions = { loaded: LENGTH, end: LENGTH }
    await reverted(store, 'task-1', command, stateAfter(events), versions)
    expect(read()).to.be.at.most(80)
  })
})
