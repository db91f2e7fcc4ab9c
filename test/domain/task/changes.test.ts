import { expect } from 'chai'
import fc from 'fast-check'
import { type Facts, follow, NO_FACTS } from '../../../src/domain/task/changes.ts'
import type { TaskEvent } from '../../../src/domain/task/events.ts'
import { task } from '../../../src/domain/task/task.ts'
import { arbitraryCommand, arbitraryFields } from '../../support/tasks.ts'

const fields = {
  title: 'One',
  description: null,
  status: 'pending',
  priority: 'medium',
  due_date: null,
} as const
const created: TaskEvent = { type: 'TaskCreated', data: { ...fields, user_id: 7 } }

const factsAfter = (...events: readonly TaskEvent[]): Facts | null =>
  events.reduce((facts, event) => follow(facts, event).facts, NO_FACTS)

describe('What an event of a task changed', () => {
  it('is every field when the task is created, from nothing', () => {
    const { changes, facts } = follow(NO_FACTS, created)
    expect(changes).to.deep.equal({
      title: { from: null, to: 'One' },
      description: { from: null, to: null },
      status: { from: null, to: 'pending' },
      priority: { from: null, to: 'medium' },
      due_date: { from: null, to: null },
    })
    expect(facts).to.deep.equal({ ...fields, deleted: false, user_id: 7 })
  })

  it('is the field that it names, from what was so before; what it undoes is no field', () => {
    const event: TaskEvent = { type: 'TaskRenamed', data: { title: 'Two', undoes: [3] } }
    const { changes, facts } = follow(factsAfter(created), event)
    expect(changes).to.deep.equal({ title: { from: 'One', to: 'Two' } })
    expect(facts).to.deep.equal({ ...fields, title: 'Two', deleted: false, user_id: 7 })
  })

  it('is whether the task is there, when it is deleted or comes back', () => {
    const deleted: TaskEvent = { type: 'TaskDeleted', data: {} }
    const restored: TaskEvent = { type: 'TaskRestored', data: { undoes: [2] } }
    expect(follow(factsAfter(created), deleted).changes).to.deep.equal({
      deleted: { from: false, to: true },
    })
    expect(follow(factsAfter(created, deleted), restored).changes).to.deep.equal({
      deleted: { from: true, to: false },
    })
  })

  it('is not known of a task that was never created', () => {
    const renamed: TaskEvent = { type: 'TaskRenamed', data: { title: 'Two' } }
    expect(() => follow(NO_FACTS, renamed)).to.throw('TaskRenamed of a task that was never created')
  })

  it('carries values untouched, also those that are no texts', () => {
    const cipher = { user: 7, cipher: 'abc' }
    const encrypted = { type: 'TaskRenamed', data: { title: cipher } } as unknown as TaskEvent
    const { facts, changes } = follow(factsAfter(created), encrypted)
    expect(changes.title?.to).to.equal(cipher)
    expect(facts.title).to.equal(cipher)
  })

  it('leads from each state that the rules hold to the next, for any course of commands', () => {
    fc.assert(
      fc.property(arbitraryFields, fc.array(arbitraryCommand), (first, commands) => {
        let state = task.initialState
        let facts = NO_FACTS
        for (const command of [
          { type: 'CreateTask', actor_id: 1, fields: first } as const,
          ...commands.map((command) => ({ ...command, actor_id: 1 })),
        ]) {
          for (const event of decided(command)) {
            const before: Facts | null = facts
            const step = follow(before, event)
            for (const [name, { from, to }] of Object.entries(step.changes)) {
              expect(from).to.equal(before === null ? null : Reflect.get(before, name))
              expect(to).to.equal(Reflect.get(step.facts, name))
              if (before !== null) expect(from).to.not.equal(to)
            }
            facts = step.facts
            state = task.evolve(state, event)
          }
          if (state.existence === 'absent') throw new Error('the task is there')
          expect(facts).to.deep.equal({
            ...state.fields,
            user_id: 1,
            deleted: state.existence === 'deleted',
          })
        }
        function decided(command: Parameters<typeof task.decide>[0]): readonly TaskEvent[] {
          try {
            return task.decide(command, state)
          } catch {
            return []
          }
        }
      }),
    )
  })
})
