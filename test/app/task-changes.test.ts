import { expect } from 'chai'
import fc from 'fast-check'
import type { AuditEvent } from '../../src/app/ports/audit.ts'
import type { EventStore } from '../../src/app/ports/event-store.ts'
import { taskChanges } from '../../src/app/task-changes.ts'
import type { TaskEvent } from '../../src/domain/task/events.ts'
import { type TaskView, taskStreamId } from '../../src/domain/task/view.ts'
import { append, created, renamed } from '../support/appends.ts'
import { historiesOf } from '../support/histories.ts'
import { load } from '../support/load.ts'
import { memoryEventStore } from '../support/memory-event-store.ts'

const described = (description: string | null): TaskEvent => ({
  type: 'TaskDescribed',
  data: { description },
})

describe('The changes of a user, page by page', () => {
  let store: EventStore<TaskEvent, TaskView>
  beforeEach(() => {
    store = memoryEventStore<TaskEvent, TaskView>()
  })

  const add = async (id: number, events: readonly TaskEvent[]) => {
    const { version, head_hash } = await load(store, taskStreamId(id))
    await store.append(append(id, events, { expected: { version, head_hash } }))
  }
  const pages = async (limit: number) => {
    const all: (readonly AuditEvent[])[] = []
    for (let after = 0; ; ) {
      const { events, more } = await taskChanges(store)(1, after, limit)
      all.push(events)
      if (!more) return all
      after = events.at(-1)?.position ?? after
    }
  }

  it('are what the histories of the tasks say, whatever happened', async () => {
    const step = fc.oneof(
      fc.constantFrom('Two', 'Three').map(renamed),
      fc.constantFrom('words', null).map(described),
      fc.constant<TaskEvent>({ type: 'TaskCompleted', data: { status: 'completed' } }),
      fc.constant<TaskEvent>({ type: 'TaskDeleted', data: {} }),
    )
    const steps = fc.array(fc.tuple(fc.integer({ min: 1, max: 3 }), step), { maxLength: 20 })
    await fc.assert(
      fc.asyncProperty(steps, fc.integer({ min: 1, max: 30 }), async (course, limit) => {
        store = memoryEventStore<TaskEvent, TaskView>()
        for (const id of [1, 2, 3]) await add(id, [created()])
        for (const [id, event] of course) await add(id, [event])
        const whole = historiesOf(await store.readAll(0, 100))
        expect((await pages(limit)).flat()).to.deep.equal(whole)
      }),
    )
  })

  it('end early when their texts are long, and say that there are more', async () => {
    for (let id = 1; id <= 100; id++) await add(id, [created({ description: 'x'.repeat(40_000) })])
    const [first = [], ...rest] = await pages(100)
    expect(first).to.have.length(40)
    expect([first, ...rest].flat()).to.have.length(100)
  })

  it('take few events of tasks with many, and none that came later', async () => {
    const LONG = 3_000
    for (const id of [1, 2, 3]) {
      await add(id, [created(), ...Array.from({ length: LONG }, (_, n) => renamed(`${n}`))])
    }
    const end = await store.end()
    for (const id of [1, 2, 3]) await add(id, [renamed('Last')])
    for (const id of [1, 2, 3]) await add(id, [renamed('Later')])
    const taken: number[] = []
    const { summariesInForce } = store
    store = {
      ...store,
      summariesInForce: async (places) => {
        const events = await summariesInForce(places)
        taken.push(events.length)
        return events
      },
    }
    const { events } = await taskChanges(store)(1, end, 3)
    expect(events.map(({ changes }) => changes)).to.deep.equal(
      Array(3).fill({ title: { from: `${LONG - 1}`, to: 'Last' } }),
    )
    expect(taken).to.deep.equal([3 * 2])
  })
})
