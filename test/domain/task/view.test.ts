import { expect } from 'chai'
import fc from 'fast-check'
import type { FieldValues } from '../../../src/domain/task/changes.ts'
import type { TaskEvent } from '../../../src/domain/task/events.ts'
import { type TaskView, taskStreamId, viewTask } from '../../../src/domain/task/view.ts'
import { taskRules, valuesAfter } from '../../support/task-rules.ts'
import { arbitraryChanges, arbitraryFields } from '../../support/tasks.ts'

const at = (version: number): string => new Date(Date.UTC(2026, 0, version)).toISOString()
const placed = (events: readonly TaskEvent[]) =>
  events.map((event, index) => {
    const version = index + 1
    return { ...event, stream_id: taskStreamId(17), version, occurred_at: at(version) }
  })
const rowOf = (events: readonly TaskEvent[]) =>
  placed(events).reduce<TaskView | null>(viewTask, null)

describe('The read-table row of a task', () => {
  it('shows the fields that the rules hold, for any course of events', () => {
    fc.assert(
      fc.property(arbitraryFields, fc.array(arbitraryChanges), (fields, changes) => {
        const create = { type: 'CreateTask', actor_id: 1, fields } as const
        const events: TaskEvent[] = []
        const commands = changes.map((some) => {
          return { type: 'ChangeTask', actor_id: 1, changes: some } as const
        })
        for (const command of [create, ...commands]) {
          events.push(...taskRules.decide(command, events))
        }
        const { deleted, ...values } = valuesAfter(events) as FieldValues
        expect(rowOf(events)).to.deep.equal({
          id: 17,
          ...values,
          created_at: at(1),
          updated_at: at(events.length),
          version: events.length,
          deleted_at: null,
        })
      }),
    )
  })

  it('says when the task was deleted, and keeps what it was', () => {
    const created: TaskEvent = {
      type: 'TaskCreated',
      data: {
        user_id: 1,
        title: 'Gone',
        description: null,
        status: 'pending',
        priority: 'low',
        due_date: null,
      },
    }
    const row = rowOf([created, { type: 'TaskDeleted', data: {} }])
    expect(row).to.include({ title: 'Gone', deleted_at: at(2), updated_at: at(2), version: 2 })
  })

  it('does not exist before the task is created', () => {
    expect(rowOf([{ type: 'TaskDeleted', data: {} }])).to.equal(null)
  })
})
