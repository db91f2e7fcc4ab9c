import { expect } from 'chai'
import fc from 'fast-check'
import { DomainError } from '../../../src/domain/errors.ts'
import type { TaskEvent, TaskFields } from '../../../src/domain/task/events.ts'
import { type TaskState, task } from '../../../src/domain/task/task.ts'
import { given } from '../../support/given.ts'
import { arbitraryChanges, arbitraryCommand, arbitraryFields } from '../../support/tasks.ts'

const OWNER = 1
const STRANGER = 2
const fields: TaskFields = {
  title: 'Write the report',
  description: null,
  status: 'pending',
  priority: 'medium',
  due_date: null,
}
const created: TaskEvent = { type: 'TaskCreated', data: { ...fields, user_id: OWNER } }
const completed: TaskEvent = { type: 'TaskCompleted', data: { status: 'completed' } }
const deleted: TaskEvent = { type: 'TaskDeleted', data: {} }
const change = (changes: Partial<TaskFields>, actor_id = OWNER) =>
  ({ type: 'ChangeTask', actor_id, changes }) as const
const remove = (actor_id = OWNER) => ({ type: 'DeleteTask', actor_id }) as const
const create = { type: 'CreateTask', actor_id: OWNER, fields } as const

const tasks = given(task)

describe('A task', () => {
  it('begins when it is created, with all of its fields and its owner', () => {
    tasks().when(create).yields(created)
  })

  it('is created once', () => {
    tasks(created).when(create).refuses('task_exists')
    tasks(created, deleted).when(create).refuses('task_exists')
  })

  it('says each change in a word of its own', () => {
    tasks(created)
      .when(
        change({
          title: 'Send it',
          description: 'by mail',
          status: 'in_progress',
          priority: 'high',
          due_date: '2026-12-24T18:00:00.000Z',
        }),
      )
      .yields(
        { type: 'TaskRenamed', data: { title: 'Send it' } },
        { type: 'TaskDescribed', data: { description: 'by mail' } },
        { type: 'TaskStarted', data: { status: 'in_progress' } },
        { type: 'TaskReprioritized', data: { priority: 'high' } },
        { type: 'TaskRescheduled', data: { due_date: '2026-12-24T18:00:00.000Z' } },
      )
  })

  it('is completed, and reopened', () => {
    tasks(created)
      .when(change({ status: 'completed' }))
      .yields(completed)
    tasks(created, completed)
      .when(change({ status: 'pending' }))
      .yields({ type: 'TaskReopened', data: { status: 'pending' } })
  })

  it('completed twice is completed once', () => {
    tasks(created, completed)
      .when(change({ status: 'completed' }))
      .yields()
  })

  it('loses its description and due date by null, and nothing by silence', () => {
    const described: TaskEvent = { type: 'TaskDescribed', data: { description: 'by mail' } }
    tasks(created, described)
      .when(change({ description: null }))
      .yields({ type: 'TaskDescribed', data: { description: null } })
    tasks(created, described).when(change({})).yields()
  })

  it('that belongs to another is neither changed nor deleted', () => {
    tasks(created)
      .when(change({ title: 'Mine' }, STRANGER))
      .refuses('task_forbidden')
    tasks(created).when(remove(STRANGER)).refuses('task_forbidden')
  })

  it('that never was, or is deleted, is not found', () => {
    tasks()
      .when(change({ title: 'x' }))
      .refuses('task_not_found')
    tasks().when(remove()).refuses('task_not_found')
    tasks(created, deleted)
      .when(change({ title: 'x' }))
      .refuses('task_not_found')
    tasks(created, deleted).when(remove()).refuses('task_not_found')
    tasks(created, deleted).when(remove(STRANGER)).refuses('task_not_found')
  })

  it('keeps its fields when it is deleted', () => {
    const state = [created, completed, deleted].reduce(task.evolve, task.initialState)
    expect(state).to.deep.equal({
      existence: 'deleted',
      user_id: OWNER,
      fields: { ...fields, status: 'completed' },
    })
  })
})

/** The state and the events after a run of commands; refused commands change nothing. */
function play(commands: readonly Parameters<typeof task.decide>[0][]) {
  const events: TaskEvent[] = []
  let state: TaskState = task.initialState
  for (const command of commands) {
    try {
      const decided = task.decide(command, state)
      events.push(...decided)
      state = decided.reduce(task.evolve, state)
    } catch (error) {
      if (!(error instanceof DomainError)) throw error
    }
  }
  return { events, state }
}

describe('The rules of a task', () => {
  it('make a change true, whatever the task was before', () => {
    fc.assert(
      fc.property(arbitraryFields, arbitraryChanges, (before, changes) => {
        const { state } = play([{ ...create, fields: before }, change(changes)])
        expect(state).to.have.deep.property('fields', { ...before, ...changes })
      }),
    )
  })

  it('yield nothing for a command that was just obeyed', () => {
    fc.assert(
      fc.property(fc.array(arbitraryCommand), arbitraryChanges, (commands, changes) => {
        const { state } = play([create, ...commands, change(changes)])
        fc.pre(state.existence === 'live' && state.user_id === OWNER)
        expect(task.decide(change(changes), state)).to.deep.equal([])
      }),
    )
  })

  it('never record an event that changes nothing', () => {
    fc.assert(
      fc.property(fc.array(arbitraryCommand), (commands) => {
        const { events } = play([create, ...commands])
        events.reduce((state, event) => {
          const next = task.evolve(state, event)
          expect(next).to.not.deep.equal(state)
          return next
        }, task.initialState)
      }),
    )
  })

  it('let nobody but the owner cause an event', () => {
    fc.assert(
      fc.property(fc.array(arbitraryCommand), (commands) => {
        const others = commands.filter(({ actor_id }) => actor_id !== OWNER)
        expect(play([create, ...others]).events).to.deep.equal([created])
      }),
    )
  })
})
