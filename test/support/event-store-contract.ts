import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import fc from 'fast-check'
import { AppError } from '../../src/app/errors.ts'
import { handleCommand } from '../../src/app/handle-command.ts'
import type { EventStore, Recorded, StreamPlace } from '../../src/app/ports/event-store.ts'
import { taskAggregate } from '../../src/app/task-aggregate.ts'
import { DomainError } from '../../src/domain/errors.ts'
import type { TaskEvent } from '../../src/domain/task/events.ts'
import { type TaskView, taskStreamId, viewTask } from '../../src/domain/task/view.ts'
import { eventHash } from '../../src/verifier/formats.ts'
import { append, created, key, metadata, NEW, renamed } from './appends.ts'
import { load } from './load.ts'
import { arbitraryCommandWithoutPhotos, arbitraryFields } from './tasks.ts'

type Store = EventStore<TaskEvent, TaskView>

const WRITERS = 64
const codeOf = (error: unknown) => (error instanceof AppError ? error.code : error)
const many = <T>(work: (index: number) => Promise<T>) =>
  Promise.all(Array.from({ length: WRITERS }, (_, index) => work(index)))

let lastId = 0
const newId = () => ++lastId
let lastActor = 1_000
const newActor = () => (lastActor += 2)
const deleted: TaskEvent = { type: 'TaskDeleted', data: {} }

/**
 * The laws of the EventStore port; every implementation obeys all of them. `raw` is what stores the
 * events as they are hashed, when `store` shows them otherwise.
 */
export function eventStoreContract(store: () => Store, raw: () => Store = store): void {
  const head = async (id: number) => {
    const { version, head_hash } = await load(store(), taskStreamId(id))
    return { version, head_hash }
  }

  const appended = async (facts: Parameters<Store['append']>[0]) => {
    const result = await store().append(facts)
    if (result.outcome !== 'appended') throw new Error(result.outcome)
    return result
  }

  it('knows no events of a stream that was never written', async () => {
    const history = await load(store(), 'task-0')
    expect(history).to.deep.equal({ version: 0, head_hash: null, events: [] })
  })

  it('gives back what was appended, in order, with its origin', async () => {
    const id = newId()
    const first = append(id, [created(), renamed('Two'), renamed('Three')])
    expect(await store().append(first)).to.have.property('outcome', 'appended')
    const { version, events } = await load(store(), taskStreamId(id))
    expect(version).to.equal(3)
    expect(events.map(({ version }) => version)).to.deep.equal([1, 2, 3])
    expect(events.map(({ type, data }) => ({ type, data }))).to.deep.equal(first.events)
    for (const event of events) {
      const { stream_id, actor_id, metadata, schema_version } = first
      const origin = { stream_id, actor_id, metadata, schema_version }
      expect(event).to.deep.include(origin)
    }
    expect((await load(store(), taskStreamId(id), 2)).events).to.deep.equal(events.slice(2))
  })

  it('knows nothing of a stream that was never written', async () => {
    expect(await store().present('task-0', 1)).to.deep.equal({
      version: 0,
      head_hash: null,
      row: null,
      owner_id: null,
      erased: false,
      event_types: [],
      schema_version: 0,
      answer: null,
    })
  })

  it('knows of the present what follows from all that has happened, whatever it was', async () => {
    const handle = handleCommand(taskAggregate, store())
    const any = fc.array(arbitraryCommandWithoutPhotos, { maxLength: 8 })
    await fc.assert(
      fc.asyncProperty(arbitraryFields, any, async (fields, commands) => {
        const stream_id = taskStreamId(newId())
        for (const command of [{ type: 'CreateTask', actor_id: 1, fields } as const, ...commands]) {
          const own = { ...metadata, causation_id: randomUUID() }
          const context = {
            actor_id: 1,
            metadata: own,
            precondition: undefined,
            command: undefined,
          }
          await handle(stream_id, command, context).catch((error: unknown) => {
            if (!(error instanceof DomainError)) throw error
          })
        }
        const { events, version, head_hash } = await load(store(), stream_id)
        const { row, event_types, ...present } = await store().present(stream_id, 1)
        expect(present).to.deep.include({ version, head_hash, owner_id: 1, erased: false })
        expect(row).to.deep.include(events.reduce<TaskView | null>(viewTask, null))
        expect(new Set(event_types)).to.deep.equal(new Set(events.map(({ type }) => type)))
      }),
      { numRuns: 100 },
    )
  })

  it('chains each event to the one before it, whatever the texts, also when read back', async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryFields, arbitraryFields, async (one, two) => {
        const id = newId()
        await store().append(append(id, [created(one), renamed(two.title)]))
        const again = append(id, [renamed(one.title)], { expected: await head(id) })
        await store().append(again)
        const { events, head_hash } = await load(raw(), taskStreamId(id))
        let previous: string | null = null
        for (const event of events) {
          expect(event.prev_hash).to.equal(previous)
          expect(event.hash).to.equal(eventHash(event))
          previous = event.hash
        }
        expect(head_hash).to.equal(previous)
      }),
      { numRuns: 100 },
    )
  })

  it('gives all events of an append one time, which the row shows, and never an earlier one', async () => {
    const id = newId()
    let last = ''
    for (const events of [[created(), renamed('Two')], [renamed('Three')], [deleted]]) {
      const before = await head(id)
      const { occurred_at } = await appended(append(id, events, { expected: before }))
      const { row } = await store().present(taskStreamId(id), 1)
      if (row === null) throw new Error('no row')
      expect(row.updated_at).to.equal(occurred_at)
      const own = (await load(store(), taskStreamId(id), before.version)).events
      expect(new Set(own.map(({ occurred_at }) => occurred_at))).to.deep.equal(
        new Set([row.updated_at]),
      )
      for (const event of own) expect(event.recorded_at).to.equal(event.occurred_at)
      expect(row.updated_at >= last, `${last} ${row.updated_at}`).to.equal(true)
      expect(row.deleted_at).to.equal(events[0] === deleted ? row.updated_at : null)
      last = row.updated_at
    }
  })

  it('refuses an append at another version, and keeps nothing of it', async () => {
    const id = newId()
    await store().append(append(id, [created()]))
    const begun = await head(id)
    await store().append(append(id, [renamed('First')], { expected: begun }))
    const command = key(`late-${id}`, 'x')
    const late = append(id, [renamed('Late')], { expected: begun, command })
    expect(await store().append(late)).to.deep.equal({ outcome: 'conflict' })
    const { version, row, answer } = await store().present(taskStreamId(id), 1, command)
    expect(version).to.equal(2)
    expect(row).to.include({ title: 'First', version: 2 })
    expect(answer).to.equal(null)
  })

  it('refuses an append beyond the end, to a stream that is not there, and on another head', async () => {
    const id = newId()
    const nowhere = append(id, [renamed('x')], {
      expected: { version: 1, head_hash: 'ab'.repeat(32) },
    })
    expect(await store().append(nowhere)).to.have.property('outcome', 'conflict')
    await store().append(append(id, [created()]))
    const { head_hash } = await head(id)
    for (const expected of [
      { version: 2, head_hash },
      { version: 1, head_hash: 'ab'.repeat(32) },
    ]) {
      const result = await store().append(append(id, [renamed('x')], { expected }))
      expect(result).to.have.property('outcome', 'conflict')
    }
    expect(await head(id)).to.deep.equal({ version: 1, head_hash })
  })

  it(`lets exactly one of ${WRITERS} racing creators create a stream`, async () => {
    const id = newId()
    const results = await many(() => store().append(append(id, [created()])))
    expect(results.filter(({ outcome }) => outcome === 'appended')).to.have.length(1)
    expect(results.filter(({ outcome }) => outcome === 'conflict')).to.have.length(WRITERS - 1)
    expect(await head(id)).to.have.property('version', 1)
  })

  it(`loses none of ${WRITERS} racing changes that decide again after a conflict`, async () => {
    const id = newId()
    await store().append(append(id, [created()]))
    const handle = handleCommand(taskAggregate, store())
    const context = {
      actor_id: 1,
      metadata,
      precondition: undefined,
      command: undefined,
    }
    await many(async (index) => {
      const once = { ...context, command: key(`racing-${id}-${index}`, 'one') }
      const command = {
        type: 'ChangeTask',
        actor_id: 1,
        changes: { title: `Title ${index}` },
      } as const
      for (;;) {
        try {
          return await handle(taskStreamId(id), command, once)
        } catch (error) {
          // As its retryAfter asks of a client; on a busy machine connections are scarce, too.
          if (!['write_conflict', 'database_unavailable'].includes(codeOf(error) as string))
            throw error
        }
      }
    })
    const { events } = await load(store(), taskStreamId(id))
    const titles = events.slice(1).map(({ data }) => (data as { title: string }).title)
    expect(titles).to.have.length(WRITERS)
    expect(new Set(titles)).to.have.property('size', WRITERS)
  })

  it('answers the same command with the stored answer, and another one under its key with an error', async () => {
    const id = newId()
    const command = key(`k-${id}`, 'one')
    await appended(append(id, [created(), renamed('Two')], { command }))
    const answer = { stream_id: taskStreamId(id), version: 2 }
    const again = await store().append(append(newId(), [created()], { command }))
    expect(again).to.deep.equal({ outcome: 'replayed', answer })
    for (const stream of [id, newId()]) {
      const present = await store().present(taskStreamId(stream), 1, command)
      expect(present.answer).to.deep.equal(answer)
    }

    const other = key(`k-${id}`, 'two')
    const reused = await store()
      .append(append(newId(), [created()], { command: other }))
      .catch(codeOf)
    expect(reused).to.equal('idempotency_key_reused')
    const asked = await store().present(taskStreamId(id), 1, other).catch(codeOf)
    expect(asked).to.equal('idempotency_key_reused')
  })

  it('keeps the keys of two users apart', async () => {
    const id = newId()
    const command = key(`shared-${id}`, 'one')
    await store().append(append(id, [created()], { command }))
    const theirs = append(newId(), [created()], { command, actor_id: 2 })
    expect(await store().append(theirs)).to.have.property('outcome', 'appended')
  })

  it('keeps the answer of a command that changed nothing', async () => {
    const id = newId()
    await store().append(append(id, [created()]))
    const command = key(`nothing-${id}`, 'one')
    const nothing = append(id, [], { expected: await head(id), command })
    const kept = { outcome: 'appended', occurred_at: null }
    expect(await store().append(nothing)).to.deep.equal(kept)
    expect(await head(id)).to.have.property('version', 1)
    const { answer } = await store().present(taskStreamId(id), 1, command)
    expect(answer).to.deep.equal({ stream_id: taskStreamId(id), version: 1 })
  })

  it(`does one command once, ${WRITERS} times at the same moment`, async () => {
    const command = key(`race-${newId()}`, 'one')
    const results = await many(async () => {
      const id = newId()
      const result = await store()
        .append(append(id, [created()], { command }))
        .catch(codeOf)
      return {
        id,
        result: typeof result === 'object' ? (result as { outcome: string }).outcome : result,
      }
    })
    const done = results.filter(({ result }) => result === 'appended')
    expect(done).to.have.length(1)
    const others = results.filter(({ result }) => result !== 'appended')
    for (const { id, result } of others) {
      expect(result).to.be.oneOf(['replayed', 'idempotency_key_in_use'])
      expect(await head(id)).to.deep.equal(NEW)
    }
  })

  it('reads all streams in one order, page by page, each event once', async () => {
    const ids = Array.from({ length: 5 }, newId)
    for (const id of ids) await store().append(append(id, [created(), renamed('Two')]))
    const seen: { position: number; stream_id: string; version: number }[] = []
    for (let after = 0; ; ) {
      const page = await store().readAll(after, 3)
      const last = page.at(-1)
      if (last === undefined) break
      seen.push(...page)
      after = last.position
    }
    const positions = seen.map(({ position }) => position)
    expect(positions).to.deep.equal(positions.toSorted((a, b) => a - b))
    expect(new Set(positions)).to.have.property('size', positions.length)
    for (const id of ids) {
      const ofStream = seen.filter(({ stream_id }) => stream_id === taskStreamId(id))
      expect(ofStream.map(({ version }) => version)).to.deep.equal([1, 2])
    }
  })

  it('reads a stream page by page, in either order', async () => {
    const id = newId()
    const titles = ['Two', 'Three', 'Four', 'Five']
    await store().append(append(id, [created(), ...titles.map(renamed)]))
    const all = (await load(store(), taskStreamId(id))).events
    const page = (place: StreamPlace, limit: number) => store().page(taskStreamId(id), place, limit)
    for (let limit = 1; limit <= 6; limit++) {
      for (let at = 0; at <= 6; at++) {
        const after = all.slice(at)
        const before = all.slice(0, Math.max(0, at - 1)).toReversed()
        expect(await page({ after: at }, limit)).to.deep.equal({
          events: after.slice(0, limit),
          more: after.length > limit,
        })
        expect(await page({ before: at }, limit)).to.deep.equal({
          events: before.slice(0, limit),
          more: before.length > limit,
        })
      }
    }
    expect(await page({ after: Number.MAX_SAFE_INTEGER }, 1)).to.have.deep.property('events', [])
  })

  it('outlines the last events up to a version, newest first', async () => {
    const id = newId()
    const undone: TaskEvent = { type: 'TaskRenamed', data: { title: 'One', undoes: [2, 3] } }
    await store().append(append(id, [created(), renamed('Two'), deleted, undone]))
    const { causation_id } = (await load(store(), taskStreamId(id))).events[0]?.metadata ?? {}
    const all = [
      { version: 4, type: 'TaskRenamed', schema_version: 1, causation_id, undoes: [2, 3] },
      { version: 3, type: 'TaskDeleted', schema_version: 1, causation_id, undoes: null },
      { version: 2, type: 'TaskRenamed', schema_version: 1, causation_id, undoes: null },
      { version: 1, type: 'TaskCreated', schema_version: 1, causation_id, undoes: null },
    ]
    const outlines = (upTo: number, limit: number) =>
      store().outlines(taskStreamId(id), upTo, limit)
    expect(await outlines(9, 9)).to.deep.equal(all)
    expect(await outlines(3, 2)).to.deep.equal(all.slice(1, 3))
    expect(await outlines(0, 2)).to.deep.equal([])
  })

  it('knows the few events that the values at a version come from', async () => {
    const id = newId()
    const described = (description: string | null): TaskEvent => {
      return { type: 'TaskDescribed', data: { description } }
    }
    const moves: readonly TaskEvent[] = [
      created({ description: 'words' }),
      renamed('Two'),
      described(null),
      { type: 'TaskStarted', data: { status: 'in_progress' } },
      { type: 'TaskCompleted', data: { status: 'completed' } },
      deleted,
      { type: 'TaskRestored', data: {} },
      { type: 'TaskReopened', data: { status: 'pending' } },
      { type: 'TaskReprioritized', data: { priority: 'low' } },
      { type: 'TaskRescheduled', data: { due_date: '2030-01-01T00:00:00.000Z' } },
      described('more words'),
      deleted,
      renamed('Three'),
    ]
    for (const event of moves) {
      const at = await head(id)
      await store().append(append(id, [event], { expected: at }))
    }
    const all = (await load(store(), taskStreamId(id))).events
    const view = (events: readonly Recorded<TaskEvent>[]) => events.reduce(viewTask, null)
    for (let version = 0; version <= all.length + 1; version++) {
      const found = await store().inForce(taskStreamId(id), version)
      expect(view(found), `${version}`).to.deep.equal(view(all.slice(0, version)))
      for (const event of found) expect(all).to.deep.include(event)
    }
    const few = await store().inForce(taskStreamId(id), all.length)
    expect(few.map(({ version }) => version)).to.deep.equal([1, 8, 9, 10, 11, 12, 13])
    expect(await store().inForce('task-0', 1)).to.deep.equal([])
  })

  it('knows them in a stream of many versions, however long ago a field was set', async () => {
    const rare = fc.constantFrom<TaskEvent>(
      renamed('Two'),
      { type: 'TaskDescribed', data: { description: 'words' } },
      { type: 'TaskCompleted', data: { status: 'completed' } },
      { type: 'TaskRescheduled', data: { due_date: null } },
      deleted,
    )
    const often: TaskEvent = { type: 'TaskReprioritized', data: { priority: 'low' } }
    const course = fc.array(fc.tuple(fc.integer({ min: 1, max: 230 }), rare), { maxLength: 12 })
    await fc.assert(
      fc.asyncProperty(course, fc.integer({ min: 0, max: 40 }), async (course, back) => {
        const id = newId()
        const events: TaskEvent[] = [created(), ...Array(230).fill(often)]
        for (const [at, event] of course) events[at] = event
        await store().append(append(id, events))
        const all = (await load(store(), taskStreamId(id))).events
        const view = (events: readonly Recorded<TaskEvent>[]) => events.reduce(viewTask, null)
        const version = all.length - back
        const found = await store().inForce(taskStreamId(id), version)
        expect(view(found)).to.deep.equal(view(all.slice(0, version)))
        expect(found.length).to.be.at.most(7)
        const places = [{ stream_id: taskStreamId(id), version }]
        const summaries = await store().summariesInForce(places)
        expect(summaries).to.deep.equal(
          found.map((event) => ({ ...summary(event), as_of: version })),
        )
      }),
      { numRuns: 100 },
    )
  })

  it('knows which version a stream had at a time', async () => {
    const id = newId()
    for (const events of [[created(), renamed('Two')], [renamed('Three')], [deleted]]) {
      await store().append(append(id, events, { expected: await head(id) }))
    }
    const { events } = await load(store(), taskStreamId(id))
    for (const { occurred_at } of events) {
      for (const by of [-1, 0, 1]) {
        const time = new Date(Date.parse(occurred_at) + by).toISOString()
        const last = events.findLast((event) => event.occurred_at <= time)?.version ?? 0
        expect(await store().versionAt(taskStreamId(id), time), time).to.equal(last)
      }
    }
    expect(await store().versionAt(taskStreamId(id), '9999-12-31T23:59:59.999Z')).to.equal(4)
    expect(await store().versionAt('task-0', '9999-12-31T23:59:59.999Z')).to.equal(0)
  })

  it('reads one actor’s events alone as summaries, page by page, as far as it is told', async () => {
    const [ours, theirs] = [newActor(), newActor()]
    const ids = [newId(), newId(), newId()]
    for (const id of ids) {
      const first = created({ description: id === ids[0] ? null : 'words' })
      const done: TaskEvent = { type: 'TaskCompleted', data: { status: 'completed', undoes: [1] } }
      const events = [first, renamed('Two'), done, deleted]
      await store().append(append(id, events, { actor_id: id === ids[1] ? theirs : ours }))
    }
    const of = async (id = 0) => (await load(store(), taskStreamId(id))).events
    const [one, other] = [(await of(ids[0])).map(summary), (await of(ids[2])).map(summary)]
    const own = [...one, ...other]
    expect(await store().summariesOfActor(ours, 0, 100)).to.deep.equal(own)
    const after = one.at(2)?.position ?? 0
    expect(await store().summariesOfActor(ours, after, 2)).to.deep.equal(own.slice(3, 5))
    const until = other.at(0)?.position ?? 0
    expect(await store().summariesOfActor(ours, 0, 100, until)).to.deep.equal(own.slice(0, 5))
    const places = [ids[2], ids[0], ids[0]].map((id = 0, index) => {
      return { stream_id: taskStreamId(id), version: index + 1 }
    })
    expect(await store().summariesInForce(places)).to.have.deep.members([
      { ...other[0], as_of: 1 },
      ...one.slice(0, 2).map((event) => ({ ...event, as_of: 2 })),
      ...one.slice(0, 3).map((event) => ({ ...event, as_of: 3 })),
    ])
    const full = await store().readAt(own.map(({ position }) => position))
    expect(full).to.deep.equal([...(await of(ids[0])), ...(await of(ids[2]))])
  })

  it('knows how far an actor had come by a time', async () => {
    const actor_id = newActor()
    expect(await store().positionAt(actor_id, '9999-12-31T23:59:59.999Z')).to.equal(0)
    for (let n = 0; n < 5; n++) {
      await store().append(append(newId(), [created(), renamed('Two')], { actor_id }))
      await store().append(append(newId(), [created()], { actor_id: actor_id + 1 }))
    }
    const own = await store().summariesOfActor(actor_id, 0, 100)
    expect(own).to.have.length(10)
    const millisecond = 1
    for (const { occurred_at } of own) {
      for (const by of [-millisecond, 0, millisecond]) {
        const time = new Date(Date.parse(occurred_at) + by).toISOString()
        const last = own.findLast((event) => event.occurred_at <= time)?.position ?? 0
        expect(await store().positionAt(actor_id, time), time).to.equal(last)
      }
    }
    const last = own.at(-1)?.position
    expect(await store().positionAt(actor_id, '9999-12-31T23:59:59.999Z')).to.equal(last)
  })
}

/** The event without its texts. */
function summary(event: Recorded<TaskEvent>): Recorded<TaskEvent> {
  const data = Object.entries(event.data).map(([name, value]) => {
    const isText = (name === 'title' || name === 'description') && value !== null
    return [name, isText ? String(event.position) : value]
  })
  return { ...event, data: Object.fromEntries(data) }
}
