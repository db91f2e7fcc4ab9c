import { expect } from 'chai'
import fc from 'fast-check'
import { DomainError } from '../../../src/domain/errors.ts'
import type { TaskEvent, TaskFields } from '../../../src/domain/task/events.ts'
import {
  type Causation,
  nextSteps,
  type TaskCommand,
  type TaskState,
  task,
} from '../../../src/domain/task/task.ts'
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
const restored: TaskEvent = { type: 'TaskRestored', data: {} }
const renamed: TaskEvent = { type: 'TaskRenamed', data: { title: 'Two' } }
const unrenamed: TaskEvent = { type: 'TaskRenamed', data: { title: fields.title, undoes: [2] } }
const prioritized: TaskEvent = { type: 'TaskReprioritized', data: { priority: 'high' } }
/** The events as decided for one command. */
const by = (command: string, ...events: readonly TaskEvent[]): readonly (TaskEvent & Causation)[] =>
  events.map((event) => ({ ...event, metadata: { causation_id: command } }))
const restore = (actor_id = OWNER) => ({ type: 'RestoreTask', actor_id }) as const
const undo = (version?: number, actor_id = OWNER) =>
  ({ type: 'UndoTask', actor_id, version }) as const
const redo = (actor_id = OWNER) => ({ type: 'RedoTask', actor_id }) as const
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

  it('has an event of its own for each change', () => {
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

  it('loses its description and due date by null, and nothing by omission', () => {
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
    expect(state).to.deep.include({
      existence: 'deleted',
      user_id: OWNER,
      fields: { ...fields, status: 'completed' },
    })
  })
})

describe('Restoring a task', () => {
  it('restores a deleted one', () => {
    tasks(created, deleted).when(restore()).yields(restored)
    tasks(created, deleted, restored, deleted).when(restore()).yields(restored)
  })

  it('changes nothing of an existing one', () => {
    tasks(created).when(restore()).yields()
    tasks(created, deleted, restored).when(restore()).yields()
  })

  it('is for its owner, and for a task that once was', () => {
    tasks(created, deleted).when(restore(STRANGER)).refuses('task_forbidden')
    tasks().when(restore()).refuses('task_not_found')
  })
})

describe('Undoing a change of a task', () => {
  const changes: readonly [Partial<TaskFields>, TaskEvent][] = [
    [{ title: 'Two' }, { type: 'TaskRenamed', data: { title: fields.title, undoes: [2] } }],
    [{ description: 'x' }, { type: 'TaskDescribed', data: { description: null, undoes: [2] } }],
    [{ status: 'completed' }, { type: 'TaskReopened', data: { status: 'pending', undoes: [2] } }],
    [
      { priority: 'high' },
      { type: 'TaskReprioritized', data: { priority: 'medium', undoes: [2] } },
    ],
    [
      { due_date: '2026-12-24T18:00:00.000Z' },
      { type: 'TaskRescheduled', data: { due_date: null, undoes: [2] } },
    ],
  ]
  for (const [field, compensation] of changes) {
    it(`puts the ${Object.keys(field)} back`, () => {
      const [change_] = task.decide(change(field), [created].reduce(task.evolve, task.initialState))
      if (change_ === undefined) throw new Error('nothing was changed')
      tasks(created, change_).when(undo()).yields(compensation)
      tasks(created, change_).when(undo(2)).yields(compensation)
    })
  }

  it('undoes a deletion and a restoration', () => {
    tasks(created, deleted)
      .when(undo())
      .yields({ type: 'TaskRestored', data: { undoes: [2] } })
    tasks(created, deleted, restored)
      .when(undo())
      .yields({ type: 'TaskDeleted', data: { undoes: [3] } })
  })

  it('deletes what was created, if nothing followed', () => {
    tasks(created)
      .when(undo())
      .yields({ type: 'TaskDeleted', data: { undoes: [1] } })
    tasks(created, renamed).when(undo(1)).refuses('undo_conflict', { field: 'title', version: 2 })
    tasks(created, deleted, restored).when(undo(1)).refuses('undo_conflict')
  })

  it('is undone like any other change, when its version is named', () => {
    tasks(created, renamed, unrenamed)
      .when(undo(3))
      .yields({ type: 'TaskRenamed', data: { title: 'Two', undoes: [3] } })
    tasks(created, { type: 'TaskDeleted', data: { undoes: [1] } })
      .when(undo(2))
      .yields({ type: 'TaskRestored', data: { undoes: [2] } })
  })

  it('without a version goes back one more step each time, to the creation and no further', () => {
    const begun = [created, renamed, completed]
    const reopened: TaskEvent = { type: 'TaskReopened', data: { status: 'pending', undoes: [3] } }
    const back: TaskEvent = { type: 'TaskRenamed', data: { title: fields.title, undoes: [2] } }
    const uncreated: TaskEvent = { type: 'TaskDeleted', data: { undoes: [1] } }
    tasks(...begun)
      .when(undo())
      .yields(reopened)
    tasks(...begun, reopened)
      .when(undo())
      .yields(back)
    tasks(...begun, reopened, back)
      .when(undo())
      .yields(uncreated)
    tasks(...begun, reopened, back, uncreated)
      .when(undo())
      .refuses('nothing_to_undo')
  })

  it('may name a change below one that was itself undone', () => {
    const third: TaskEvent = { type: 'TaskRenamed', data: { title: 'Three' } }
    const second: TaskEvent = { type: 'TaskRenamed', data: { title: 'Two', undoes: [3] } }
    tasks(created, renamed, third, second)
      .when(undo(2))
      .yields({ type: 'TaskRenamed', data: { title: fields.title, undoes: [2] } })
    tasks(created, renamed, third, second).when(undo(3)).refuses('undo_conflict')
  })

  it('undoes everything that one request changed, whichever of its changes is named', () => {
    const request = [created, ...by('c-1', renamed, completed), ...by('c-2', prioritized)]
    const compensation: TaskEvent[] = [
      { type: 'TaskRenamed', data: { title: fields.title, undoes: [2, 3] } },
      { type: 'TaskReopened', data: { status: 'pending', undoes: [2, 3] } },
    ]
    for (const version of [2, 3]) {
      tasks(...request)
        .when(undo(version))
        .yields(...compensation)
    }
    tasks(...request)
      .when(undo())
      .yields({ type: 'TaskReprioritized', data: { priority: 'medium', undoes: [4] } })
  })

  it('without a version undoes the last change of the loaded state, not what others did since', () => {
    const loaded = [created, renamed].reduce(task.evolve, task.initialState)
    const apart = task.evolve(loaded, completed)
    const event = { type: 'TaskRenamed', data: { title: fields.title, undoes: [2] } }
    expect(task.decide(undo(), apart, loaded)).to.deep.equal([event])
    const again = task.evolve(loaded, { type: 'TaskRenamed', data: { title: 'Three' } })
    expect(() => task.decide(undo(), again, loaded)).to.throw('undo_conflict')
  })

  it('undoes a request that changed a field and deleted the task', () => {
    tasks(created, ...by('c-1', renamed, deleted))
      .when(undo())
      .yields(
        { type: 'TaskRestored', data: { undoes: [2, 3] } },
        { type: 'TaskRenamed', data: { title: fields.title, undoes: [2, 3] } },
      )
  })

  it('is refused when one of the fields was changed again since, and then undoes none', () => {
    const again: TaskEvent = { type: 'TaskRenamed', data: { title: 'Three' } }
    tasks(created, renamed, again)
      .when(undo(2))
      .refuses('undo_conflict', { field: 'title', version: 3 })
    tasks(created, ...by('c-1', renamed, completed), again)
      .when(undo(3))
      .refuses('undo_conflict')
    // Also when it was changed to what it was before.
    const back: TaskEvent = { type: 'TaskRenamed', data: { title: fields.title } }
    tasks(created, renamed, back).when(undo(2)).refuses('undo_conflict')
  })

  it('sees a change by another between two that look like one command', () => {
    const [one, two] = by('c-1', renamed, prioritized)
    if (!one || !two) throw new Error('two changes')
    const between: TaskEvent = { type: 'TaskRenamed', data: { title: 'Between' } }
    tasks(created, one, between, two).when(undo(2)).refuses('undo_conflict')
  })

  it('leaves alone other fields that were changed since', () => {
    tasks(created, renamed, completed)
      .when(undo(2))
      .yields({ type: 'TaskRenamed', data: { title: fields.title, undoes: [2] } })
  })

  it('is refused while the task is deleted, unless it brings the task back', () => {
    tasks(created, renamed, deleted)
      .when(undo(2))
      .refuses('undo_conflict', { field: 'deleted', version: 3 })
    tasks(created, deleted, restored, deleted).when(undo(2)).refuses('undo_conflict')
    tasks(created, renamed, deleted, restored)
      .when(undo(2))
      .yields({ type: 'TaskRenamed', data: { title: fields.title, undoes: [2] } })
  })

  it('names what is in the way, also when that is an undo: undo that first', () => {
    const uncreated: TaskEvent = { type: 'TaskDeleted', data: { undoes: [1] } }
    const names = ['title', 'description', 'status', 'priority', 'due_date']
    const by2 = [...names, 'deleted'].map((field) => ({ field, version: 2 }))
    tasks(created, uncreated)
      .when(undo(1))
      .refuses('undo_conflict', ...by2)
    tasks(created, renamed, unrenamed, uncreated)
      .when(undo(3))
      .refuses('undo_conflict', { field: 'title', version: 4 })
  })

  it('is for the owner, of tasks and changes that there are', () => {
    tasks(created, renamed).when(undo(undefined, STRANGER)).refuses('task_forbidden')
    tasks().when(undo()).refuses('task_not_found')
    tasks(created, renamed).when(undo(3)).refuses('change_not_found')
  })
})

describe('Redoing what was undone', () => {
  it('reverts the latest undo, one after another', () => {
    const untitled = { type: 'TaskRenamed', data: { title: fields.title, undoes: [2] } } as const
    const reopened = { type: 'TaskReopened', data: { status: 'pending', undoes: [3] } } as const
    const log = [created, renamed, completed, reopened, untitled]
    const again: TaskEvent = { type: 'TaskRenamed', data: { title: 'Two', undoes: [5] } }
    const done: TaskEvent = { type: 'TaskCompleted', data: { status: 'completed', undoes: [4] } }
    tasks(...log)
      .when(redo())
      .yields(again)
    tasks(...log, again)
      .when(redo())
      .yields(done)
    tasks(...log, again, done)
      .when(redo())
      .refuses('nothing_to_redo')
    tasks(...log, again, done)
      .when(undo())
      .yields({ type: 'TaskReopened', data: { status: 'pending', undoes: [7] } })
  })

  it('restores a task whose creation was undone', () => {
    tasks(created, { type: 'TaskDeleted', data: { undoes: [1] } })
      .when(redo())
      .yields({ type: 'TaskRestored', data: { undoes: [2] } })
  })

  it('is over with a new change', () => {
    tasks(created, renamed).when(redo()).refuses('nothing_to_redo')
    tasks(created, renamed, unrenamed, completed).when(redo()).refuses('nothing_to_redo')
  })

  it('reverts the undo that it loaded, or nothing if another came first', () => {
    const loaded = [created, renamed, unrenamed].reduce(task.evolve, task.initialState)
    const again: TaskEvent = { type: 'TaskRenamed', data: { title: 'Two', undoes: [3] } }
    expect(task.decide(redo(), loaded)).to.deep.equal([again])
    expect(() => task.decide(redo(), task.evolve(loaded, again), loaded)).to.throw('undo_conflict')
  })

  it('is for the owner, and for a task that once was', () => {
    tasks(created, renamed, unrenamed).when(redo(STRANGER)).refuses('task_forbidden')
    tasks().when(redo()).refuses('task_not_found')
  })
})

/** The state and the events after a run of commands; refused commands change nothing. */
function play(commands: readonly TaskCommand[], begin: TaskState = task.initialState) {
  const events: TaskEvent[] = []
  let state = begin
  for (const command of commands) {
    try {
      const decided = by(`r-${requests++}`, ...task.decide(command, state))
      events.push(...decided)
      state = decided.reduce(task.evolve, state)
    } catch (error) {
      if (!(error instanceof DomainError)) throw error
    }
  }
  return { events, state }
}
let requests = 100

const last = (states: readonly TaskState[]): TaskState => states.at(-1) ?? task.initialState
const versionOf = (state: TaskState) =>
  state.existence === 'absent' ? undefined : state.last?.version

/** What is so of a task, however it came to be so. */
const now = (state: TaskState) =>
  state.existence === 'absent' ? null : { existence: state.existence, ...state.fields }

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
          expect(now(next)).to.not.deep.equal(now(state))
          return next
        }, task.initialState)
      }),
    )
  })

  it('let nobody but the owner cause an event', () => {
    fc.assert(
      fc.property(fc.array(arbitraryCommand), (commands) => {
        const others = commands.filter(({ actor_id }) => actor_id !== OWNER)
        expect(play([create, ...others]).events.map(({ type }) => type)).to.deep.equal([
          'TaskCreated',
        ])
      }),
    )
  })

  it('let whatever was just done be undone, and that be undone again, by version', () => {
    fc.assert(
      fc.property(fc.array(arbitraryCommand), arbitraryCommand, (commands, last) => {
        const { state: before } = play([create, ...commands])
        const { state: after, events } = play([{ ...last, actor_id: OWNER } as TaskCommand], before)
        fc.pre(events.length > 0)
        const { state: undone } = play([undo(versionOf(after))], after)
        expect(now(undone)).to.deep.equal(now(before))
        const { state: redone } = play([undo(versionOf(undone))], undone)
        expect(now(redone)).to.deep.equal(now(after))
      }),
      { numRuns: 300 },
    )
  })

  it('go back over a change that cannot be undone while the task is deleted', () => {
    const owner = { actor_id: OWNER } as const
    const { state } = play([
      create,
      { type: 'DeleteTask', ...owner },
      { type: 'RestoreTask', ...owner },
      { type: 'ChangeTask', ...owner, changes: { description: '' } },
      undo(3),
    ])
    expect(nextSteps(state)).to.deep.equal({ next_undo: 2, next_redo: 5 })
    const back = play([undo()], state).state
    expect(back.existence).to.equal('live')
    expect(nextSteps(back)).to.deep.equal({ next_undo: 4, next_redo: 6 })
  })

  it('let the latest change be undone and redone, step by step there and back', () => {
    fc.assert(
      fc.property(fc.array(arbitraryCommand), fc.nat(20), (commands, wanted) => {
        const own = commands.map((command) => ({ ...command, actor_id: OWNER }) as TaskCommand)
        const { state: begin } = play([create, ...own])
        const states = [begin]
        while (states.length <= wanted && nextSteps(last(states)).next_undo !== null) {
          const { state, events } = play([undo()], last(states))
          expect(events).to.not.have.length(0)
          states.push(state)
        }
        for (let at = states.length - 2, state = last(states); at >= 0; at--) {
          const { state: redone, events } = play([redo()], state)
          expect(events).to.not.have.length(0)
          expect(now(redone)).to.deep.equal(now(states[at] as TaskState))
          state = redone
        }
      }),
      { numRuns: 300 },
    )
  })

  it('let every change be undone, back to before the creation', () => {
    fc.assert(
      fc.property(fc.array(arbitraryCommand), (commands) => {
        let { state } = play([create, ...commands])
        for (let steps = 0; nextSteps(state).next_undo !== null; steps++) {
          expect(steps).to.be.at.most(commands.length)
          state = play([undo()], state).state
        }
        expect(state.existence).to.equal('deleted')
        expect(now(state)).to.deep.include(fields)
      }),
    )
  })

  it('let a change be undone after changes of other fields, and change nothing else', () => {
    fc.assert(
      fc.property(arbitraryFields, arbitraryChanges, arbitraryChanges, (first, some, others) => {
        const apart = Object.entries(others).filter(([name]) => !(name in some))
        const { state: before } = play([{ ...create, fields: first }])
        const { state: changed, events } = play([change(some)], before)
        fc.pre(events.length > 0)
        const { state } = play([change(Object.fromEntries(apart)), undo(2)], changed)
        expect(now(state)).to.deep.equal({
          existence: 'live',
          ...first,
          ...Object.fromEntries(apart),
        })
      }),
    )
  })

  it('restore a deleted task with the same fields', () => {
    fc.assert(
      fc.property(fc.array(arbitraryCommand), (commands) => {
        const { state: before } = play([create, ...commands, restore()])
        const { state } = play([remove(), restore()], before)
        expect(now(state)).to.deep.equal(now(before))
      }),
    )
  })
})
