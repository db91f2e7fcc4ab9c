import { expect } from 'chai'
import fc from 'fast-check'
import type { TaskRequest } from '../../../src/app/task-aggregate.ts'
import {
  type FieldValues,
  NO_FIELD_VALUES,
  trackChanges,
} from '../../../src/domain/task/changes.ts'
import type { TaskEvent } from '../../../src/domain/task/events.ts'
import { type CausedEvent, stateAfter, taskRules } from '../../support/task-rules.ts'
import { arbitraryCommand, arbitraryFields, photoNumbered } from '../../support/tasks.ts'

const fields = {
  title: 'One',
  description: null,
  status: 'pending',
  priority: 'medium',
  due_date: null,
} as const
const created: TaskEvent = { type: 'TaskCreated', data: { ...fields, user_id: 7 } }

const valuesAfter = (...events: readonly TaskEvent[]): FieldValues | null =>
  events.reduce((values, event) => trackChanges(values, event).values, NO_FIELD_VALUES)

describe('What an event of a task changed', () => {
  it('is every field when the task is created, from nothing', () => {
    const { changes, values } = trackChanges(NO_FIELD_VALUES, created)
    expect(changes).to.deep.equal({
      title: { from: null, to: 'One' },
      description: { from: null, to: null },
      status: { from: null, to: 'pending' },
      priority: { from: null, to: 'medium' },
      due_date: { from: null, to: null },
    })
    expect(values).to.deep.equal({ ...fields, photos: [], deleted: false, user_id: 7 })
  })

  it('is the field that it names, from the value before; what it undoes is not a field', () => {
    const event: TaskEvent = { type: 'TaskRenamed', data: { title: 'Two', undoes: [3] } }
    const { changes, values } = trackChanges(valuesAfter(created), event)
    expect(changes).to.deep.equal({ title: { from: 'One', to: 'Two' } })
    expect(values).to.deep.equal({
      ...fields,
      title: 'Two',
      photos: [],
      deleted: false,
      user_id: 7,
    })
  })

  it('is whether the task exists, when it is deleted or restored', () => {
    const deleted: TaskEvent = { type: 'TaskDeleted', data: {} }
    const restored: TaskEvent = { type: 'TaskRestored', data: { undoes: [2] } }
    expect(trackChanges(valuesAfter(created), deleted).changes).to.deep.equal({
      deleted: { from: false, to: true },
    })
    expect(trackChanges(valuesAfter(created, deleted), restored).changes).to.deep.equal({
      deleted: { from: true, to: false },
    })
  })

  it('is the list of photos, which was empty before there were any', () => {
    const added: TaskEvent = { type: 'PhotoAdded', data: { photos: [photoNumbered(1)] } }
    const { photos, ...older } = valuesAfter(created) as FieldValues
    for (const before of [valuesAfter(created), older as FieldValues]) {
      expect(trackChanges(before, added).changes).to.deep.equal({
        photos: { from: [], to: [photoNumbered(1)] },
      })
    }
  })

  it('is not known of a task that was never created', () => {
    const renamed: TaskEvent = { type: 'TaskRenamed', data: { title: 'Two' } }
    expect(() => trackChanges(NO_FIELD_VALUES, renamed)).to.throw(
      'TaskRenamed of a task that was never created',
    )
  })

  it('carries values untouched, also those that are no texts', () => {
    const cipher = { user: 7, cipher: 'abc' }
    const encrypted = { type: 'TaskRenamed', data: { title: cipher } } as unknown as TaskEvent
    const { values, changes } = trackChanges(valuesAfter(created), encrypted)
    expect(changes.title?.to).to.equal(cipher)
    expect(values.title).to.equal(cipher)
  })

  it('leads from each state that the rules hold to the next, for any course of commands', () => {
    fc.assert(
      fc.property(arbitraryFields, fc.array(arbitraryCommand), (first, commands) => {
        const events: CausedEvent[] = []
        let values = NO_FIELD_VALUES
        for (const command of [
          { type: 'CreateTask', actor_id: 1, fields: first } as const,
          ...commands.map((command) => ({ ...command, actor_id: 1 })),
        ]) {
          for (const event of decided(command)) {
            const before: FieldValues | null = values
            const step = trackChanges(before, event)
            for (const [name, { from, to }] of Object.entries(step.changes)) {
              expect(from).to.equal(before === null ? null : Reflect.get(before, name))
              expect(to).to.equal(Reflect.get(step.values, name))
              if (before !== null) expect(from).to.not.equal(to)
            }
            values = step.values
            events.push(event)
          }
          const state = stateAfter(events)
          if (state.existence === 'absent') throw new Error('the task is there')
          expect(values).to.deep.equal({
            ...state.fields,
            photos: state.photos,
            user_id: 1,
            deleted: state.existence === 'deleted',
          })
        }
        function decided(command: TaskRequest): readonly TaskEvent[] {
          try {
            return taskRules.decide(command, events)
          } catch {
            return []
          }
        }
      }),
    )
  })
})
