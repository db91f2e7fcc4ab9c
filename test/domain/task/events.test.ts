import { expect } from 'chai'
import fc from 'fast-check'
import { NO_FIELD_VALUES, trackChanges } from '../../../src/domain/task/changes.ts'
import {
  readTaskEvent,
  TASK_EVENT_SCHEMA_VERSION,
  type TaskEvent,
} from '../../../src/domain/task/events.ts'
import { type TaskView, viewTask } from '../../../src/domain/task/view.ts'
import { created, renamed } from '../../support/appends.ts'

const V = TASK_EVENT_SCHEMA_VERSION
const stored = (type: string, data: object, schema_version = V) =>
  ({ type, data, schema_version }) as unknown as TaskEvent
const placed = (event: TaskEvent, version: number) => {
  return {
    ...event,
    stream_id: 'task-1',
    version,
    occurred_at: `2026-01-0${version}T00:00:00.000Z`,
  }
}
const view = (...events: readonly TaskEvent[]): TaskView | null =>
  events.map((event, index) => placed(event, index + 1)).reduce(viewTask, null)

describe('A stored event', () => {
  it('is read as it was decided, when this version wrote it', () => {
    for (const event of [created(), renamed('Two'), stored('TaskDeleted', { undoes: [1] })]) {
      const { type, data } = event
      expect(readTaskEvent({ type, data, schema_version: V })).to.deep.equal({ type, data })
      expect(readTaskEvent({ type, data })).to.deep.equal({ type, data })
    }
  })

  it('of an older schema version is brought up to this one, step by step', () => {
    const upcasters = {
      [V - 2]: ({ type, data }: { type: string; data: object }) => ({
        type,
        data: { title: Reflect.get(data, 'name') },
      }),
      [V - 1]: ({ type, data }: { type: string; data: object }) => ({
        type,
        data: { title: `${Reflect.get(data, 'title')}!` },
      }),
    }
    const old = { type: 'TaskRenamed', data: { name: 'Old' }, schema_version: V - 2 }
    expect(readTaskEvent(old, upcasters)).to.deep.equal(renamed('Old!'))
  })

  const future = {
    'of an unknown type': stored('TaskSnoozed', { title: 'Wrong', until: 'tomorrow' }),
    'of a higher schema version': stored('TaskRenamed', { title: 'Wrong' }, V + 1),
  }
  for (const [what, event] of Object.entries(future)) {
    it(`${what} moves the version and the time, and nothing else`, () => {
      expect(readTaskEvent(event)).to.equal(null)
      const before = view(created())
      const after = view(created(), event)
      const time = '2026-01-02T00:00:00.000Z'
      expect(after).to.deep.equal({ ...before, version: 2, updated_at: time })
      const { values } = trackChanges(NO_FIELD_VALUES, created())
      expect(trackChanges(values, event)).to.deep.equal({ changes: {}, values })
    })
  }

  it('yields only what this version knows, whatever fields it has', () => {
    const extra = fc.dictionary(
      fc.string({ minLength: 1 }).map((name) => `x${name}`),
      fc.jsonValue(),
    )
    const events = fc.constantFrom(created(), renamed('Two'), stored('TaskDeleted', {}))
    fc.assert(
      fc.property(events, extra, (event, more) => {
        const widened = stored(event.type, { ...more, ...event.data })
        expect(readTaskEvent(widened)).to.deep.equal({ type: event.type, data: event.data })
        const first = event.type === 'TaskCreated'
        const [plain, wide] = [event, widened].map((e) => (first ? view(e) : view(created(), e)))
        expect(wide).to.deep.equal(plain)
      }),
    )
  })
})
