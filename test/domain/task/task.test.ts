import { expect } from 'chai'
import fc from 'fast-check'
import type { TaskRequest } from '../../../src/app/task-aggregate.ts'
import { DomainError } from '../../../src/domain/errors.ts'
import type { TaskEvent, TaskFields } from '../../../src/domain/task/events.ts'
import type { Photo } from '../../../src/domain/task/photos.ts'
import { given } from '../../support/given.ts'
import { type CausedEvent, nextSteps, stateAfter, taskRules } from '../../support/task-rules.ts'
import {
  arbitraryChanges,
  arbitraryCommand,
  arbitraryFields,
  photoNumbered,
} from '../../support/tasks.ts'

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
const by = (command: string, ...events: readonly TaskEvent[]): readonly CausedEvent[] =>
  events.map((event) => ({ ...event, metadata: { causation_id: command } }))
const restore = (actor_id = OWNER) => ({ type: 'RestoreTask', actor_id }) as const
const undo = (version?: number, actor_id = OWNER) =>
  ({ type: 'UndoTask', actor_id, version }) as const
const redo = (actor_id = OWNER) => ({ type: 'RedoTask', actor_id }) as const
const remove = (actor_id = OWNER) => ({ type: 'DeleteTask', actor_id }) as const
const create = { type: 'CreateTask', actor_id: OWNER, fields } as const

const tasks = given(taskRules)

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
    expect(stateAfter([created, completed, deleted])).to.deep.include({
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
      const [change_] = taskRules.decide(change(field), [created])
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
    const loaded = [created, renamed]
    const apart = [...loaded, completed]
    const event = { type: 'TaskRenamed', data: { title: fields.title, undoes: [2] } }
    expect(taskRules.decide(undo(), apart, loaded)).to.deep.equal([event])
    const again: TaskEvent[] = [...loaded, { type: 'TaskRenamed', data: { title: 'Three' } }]
    expect(() => taskRules.decide(undo(), again, loaded)).to.throw('undo_conflict')
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
    const names = ['title', 'description', 'status', 'priority', 'due_date', 'photos']
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
    const loaded = [created, renamed, unrenamed]
    const again: TaskEvent = { type: 'TaskRenamed', data: { title: 'Two', undoes: [3] } }
    expect(taskRules.decide(redo(), loaded)).to.deep.equal([again])
    expect(() => taskRules.decide(redo(), [...loaded, again], loaded)).to.throw('undo_conflict')
  })

  it('is for the owner, and for a task that once was', () => {
    tasks(created, renamed, unrenamed).when(redo(STRANGER)).refuses('task_forbidden')
    tasks().when(redo()).refuses('task_not_found')
  })
})

type History = readonly CausedEvent[]

/** The history, and what is new in it, after a run of commands; refused commands change nothing. */
function play(commands: readonly TaskRequest[], begin: History = []) {
  let history = begin
  for (const command of commands) {
    try {
      history = [...history, ...by(`r-${requests++}`, ...taskRules.decide(command, history))]
    } catch (error) {
      if (!(error instanceof DomainError)) throw error
    }
  }
  return { events: history.slice(begin.length), history }
}
let requests = 100

const last = (histories: readonly History[]): History => histories.at(-1) ?? []

/** What is so of a task, however it came to be so. */
const now = (history: History) => {
  const state = stateAfter(history)
  if (state.existence === 'absent') return null
  const { existence, fields, photos } = state
  return { existence, ...fields, photos }
}

describe('The photos of a task', () => {
  const [one, two] = [photoNumbered(1), photoNumbered(2)]
  const add = (photo: Photo, actor_id = OWNER) => ({ type: 'AddPhoto', actor_id, photo }) as const
  const put = (photo: Photo) => ({ type: 'RestorePhoto', actor_id: OWNER, photo }) as const
  const take = (id: string) => ({ type: 'RemovePhoto', actor_id: OWNER, id }) as const
  const has = (type: 'PhotoAdded' | 'PhotoRemoved' | 'PhotoRestored', ...photos: Photo[]) =>
    ({ type, data: { photos } }) as const
  const added = [created, has('PhotoAdded', one), has('PhotoAdded', one, two)]

  it('are all in each event that is about one of them', () => {
    tasks(created).when(add(one)).yields(has('PhotoAdded', one))
    tasks(...added)
      .when(take(one.id))
      .yields(has('PhotoRemoved', two))
    tasks(...added, has('PhotoRemoved', two))
      .when(put(one))
      .yields(has('PhotoRestored', two, one))
  })

  it('come and stay once', () => {
    tasks(...added)
      .when(add(one))
      .yields()
    tasks(...added)
      .when(put(two))
      .yields()
    tasks(created).when(take(one.id)).refuses('photo_not_found')
  })

  it('are twenty at most', () => {
    const full = has('PhotoAdded', ...Array.from({ length: 20 }, (_, n) => photoNumbered(n)))
    tasks(created, full)
      .when(add(photoNumbered(20)))
      .refuses('too_many_photos')
    tasks(created, full)
      .when(put(photoNumbered(20)))
      .refuses('too_many_photos')
  })

  it("are the owner's, of a task that is there", () => {
    tasks(created).when(add(one, STRANGER)).refuses('task_forbidden')
    for (const command of [add(one), take(one.id), put(one)]) {
      tasks(created, deleted).when(command).refuses('task_not_found')
      tasks().when(command).refuses('task_not_found')
    }
  })

  it('are undone one by one, each to the list before it', () => {
    const undone = (...photos: Photo[]) => ({ photos, undoes: [3] })
    tasks(...added)
      .when(undo())
      .yields({ type: 'PhotoRemoved', data: undone(one) })
    tasks(...added, { type: 'PhotoRemoved', data: undone(one) })
      .when(redo())
      .yields({ type: 'PhotoRestored', data: { photos: [one, two], undoes: [4] } })
    tasks(...added)
      .when(undo(2))
      .refuses('undo_conflict', { field: 'photos', version: 3 })
  })
})

describe('The rules of a task', () => {
  it('make a change true, whatever the task was before', () => {
    fc.assert(
      fc.property(arbitraryFields, arbitraryChanges, (before, changes) => {
        const { history } = play([{ ...create, fields: before }, change(changes)])
        expect(now(history)).to.deep.equal({ existence: 'live', ...before, photos: [], ...changes })
      }),
    )
  })

  it('yield nothing for a command that was just obeyed', () => {
    fc.assert(
      fc.property(fc.array(arbitraryCommand), arbitraryChanges, (commands, changes) => {
        const { history } = play([create, ...commands, change(changes)])
        fc.pre(now(history)?.existence === 'live')
        expect(taskRules.decide(change(changes), history)).to.deep.equal([])
      }),
    )
  })

  it('never record an event that changes nothing', () => {
    fc.assert(
      fc.property(fc.array(arbitraryCommand), (commands) => {
        const { events } = play([create, ...commands])
        for (const index of events.keys()) {
          expect(now(events.slice(0, index + 1))).to.not.deep.equal(now(events.slice(0, index)))
        }
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
        const { history: before } = play([create, ...commands])
        const own = { ...last, actor_id: OWNER } as TaskRequest
        const { history: after, events } = play([own], before)
        fc.pre(events.length > 0)
        const { history: undone } = play([undo(after.length)], after)
        expect(now(undone)).to.deep.equal(now(before))
        const { history: redone } = play([undo(undone.length)], undone)
        expect(now(redone)).to.deep.equal(now(after))
      }),
      { numRuns: 300 },
    )
  })

  it('go back over a change that cannot be undone while the task is deleted', () => {
    const owner = { actor_id: OWNER } as const
    const { history } = play([
      create,
      { type: 'DeleteTask', ...owner },
      { type: 'RestoreTask', ...owner },
      { type: 'ChangeTask', ...owner, changes: { description: '' } },
      undo(3),
    ])
    expect(nextSteps(history)).to.deep.equal({ next_undo: 2, next_redo: 5 })
    const back = play([undo()], history).history
    expect(now(back)?.existence).to.equal('live')
    expect(nextSteps(back)).to.deep.equal({ next_undo: 4, next_redo: 6 })
  })

  it('let the latest change be undone and redone, step by step there and back', () => {
    fc.assert(
      fc.property(fc.array(arbitraryCommand), fc.nat(20), (commands, wanted) => {
        const own = commands.map((command) => ({ ...command, actor_id: OWNER }) as TaskRequest)
        const { history: begin } = play([create, ...own])
        const histories = [begin]
        while (histories.length <= wanted && nextSteps(last(histories)).next_undo !== null) {
          const { history, events } = play([undo()], last(histories))
          expect(events).to.not.have.length(0)
          histories.push(history)
        }
        for (let at = histories.length - 2, history = last(histories); at >= 0; at--) {
          const { history: redone, events } = play([redo()], history)
          expect(events).to.not.have.length(0)
          expect(now(redone)).to.deep.equal(now(histories[at] as History))
          history = redone
        }
      }),
      { numRuns: 300 },
    )
  })

  it('let every change be undone, back to before the creation', () => {
    fc.assert(
      fc.property(fc.array(arbitraryCommand), (commands) => {
        let { history } = play([create, ...commands])
        for (let steps = 0; nextSteps(history).next_undo !== null; steps++) {
          expect(steps).to.be.at.most(commands.length)
          history = play([undo()], history).history
        }
        expect(now(history)?.existence).to.equal('deleted')
        expect(now(history)).to.deep.include(fields)
      }),
    )
  })

  it('let a change be undone after changes of other fields, and change nothing else', () => {
    fc.assert(
      fc.property(arbitraryFields, arbitraryChanges, arbitraryChanges, (first, some, others) => {
        const apart = Object.entries(others).filter(([name]) => !(name in some))
        const { history: before } = play([{ ...create, fields: first }])
        const { history: changed, events } = play([change(some)], before)
        fc.pre(events.length > 0)
        const { history } = play([change(Object.fromEntries(apart)), undo(2)], changed)
        expect(now(history)).to.deep.equal({
          existence: 'live',
          ...first,
          photos: [],
          ...Object.fromEntries(apart),
        })
      }),
    )
  })

  it('restore a deleted task with the same fields', () => {
    fc.assert(
      fc.property(fc.array(arbitraryCommand), (commands) => {
        const { history: before } = play([create, ...commands, restore()])
        const { history } = play([remove(), restore()], before)
        expect(now(history)).to.deep.equal(now(before))
      }),
    )
  })
})
