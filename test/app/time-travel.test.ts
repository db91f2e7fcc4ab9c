import { expect } from 'chai'
import type { EventStore } from '../../src/app/ports/event-store.ts'
import { timeTravel } from '../../src/app/time-travel.ts'
import type { TaskEvent } from '../../src/domain/task/events.ts'
import type { TaskView } from '../../src/domain/task/view.ts'
import { append, created } from '../support/appends.ts'
import { memoryEventStore } from '../support/memory-event-store.ts'

const NOW = '9999-12-31T23:59:59.999Z'
const NEWEST_FIRST = { user_id: 1, sort: 'created_at', descending: true } as const
const staying = new AbortController().signal

describe('The list as of a time', () => {
  let store: EventStore<TaskEvent, TaskView>
  let read: number
  beforeEach(() => {
    const memory = memoryEventStore<TaskEvent, TaskView>()
    read = 0
    store = {
      ...memory,
      readAt: (positions) => {
        read += positions.length
        return memory.readAt(positions)
      },
    }
  })

  const given = async (count: number, description: string) => {
    for (let id = 1; id <= count; id++) await store.append(append(id, [created({ description })]))
  }
  const idsOf = (tasks: readonly TaskView[]) => tasks.map(({ id }) => id)

  it('ends once its texts fill 8 MiB, and goes on from there', async () => {
    // Of each character there are four bytes: 40,000 a description.
    await given(300, '🙂'.repeat(10_000))
    const query = { ...NEWEST_FIRST, limit: 10_000 }
    const first = await timeTravel(store).listAt(query, NOW, staying)
    expect(first.tasks).to.have.length(Math.ceil((8 * 1024 * 1024) / (40_000 + 'A task'.length)))
    if (first.next === null) throw new Error('some are left')
    const rest = await timeTravel(store).listAt({ ...query, after: first.next }, NOW, staying)
    expect(rest.next).to.equal(null)
    const all = Array.from({ length: 300 }, (_, n) => 300 - n)
    expect([...idsOf(first.tasks), ...idsOf(rest.tasks)]).to.deep.equal(all)
  })

  it('reads no texts but those of its page', async () => {
    await given(50, 'words')
    const { tasks } = await timeTravel(store).listAt({ ...NEWEST_FIRST, limit: 3 }, NOW, staying)
    expect(tasks).to.have.length(3)
    expect(tasks[0]).to.include({ id: 50, title: 'A task', description: 'words' })
    // One more tells whether there is another page.
    expect(read).to.equal(4)
  })

  it('searches the texts of all, until the page is full', async () => {
    await given(250, 'words')
    await store.append(append(251, [created({ description: 'Needle' })]))
    const query = { ...NEWEST_FIRST, descending: false, limit: 1, q: 'needle' }
    const { tasks, next } = await timeTravel(store).listAt(query, NOW, staying)
    expect([idsOf(tasks), next]).to.deep.equal([[251], null])
    read = 0
    await timeTravel(store).listAt({ ...query, q: 'words' }, NOW, staying)
    expect(read).to.equal(100)
  })

  it('is refused when the user is erased meanwhile', async () => {
    await given(1, 'words')
    const { readAt } = store
    store = {
      ...store,
      readAt: async (positions) =>
        (await readAt(positions)).map((event) => {
          const data = { ...event.data, title: null, description: null }
          return { ...event, data, erased: true } as unknown as typeof event
        }),
    }
    const list = timeTravel(store).listAt({ ...NEWEST_FIRST, limit: 3 }, NOW, staying)
    expect(await list.catch(({ code }) => code)).to.equal('session_ended')
  })

  it('stops for a client that has left', async () => {
    await given(1_001, 'words')
    const leaving = new AbortController()
    const { summariesOfActor } = store
    let pages = 0
    store = {
      ...store,
      summariesOfActor: (...page) => {
        pages++
        leaving.abort()
        return summariesOfActor(...page)
      },
    }
    await timeTravel(store).listAt({ ...NEWEST_FIRST, limit: 10 }, NOW, leaving.signal)
    expect([pages, read]).to.deep.equal([1, 0])
  })
})
