import { expect } from 'chai'
import fc from 'fast-check'
import { AppError } from '../../src/app/errors.ts'
import { type CommandContext, handleCommand } from '../../src/app/handle-command.ts'
import type { EventStore } from '../../src/app/ports/event-store.ts'
import { type TaskRequest, taskAggregate } from '../../src/app/task-aggregate.ts'
import { DomainError } from '../../src/domain/errors.ts'
import type { TaskEvent } from '../../src/domain/task/events.ts'
import { type TaskView, taskStreamId } from '../../src/domain/task/view.ts'
import { key, metadata } from '../support/appends.ts'
import { load } from '../support/load.ts'
import { memoryEventStore } from '../support/memory-event-store.ts'
import type { CausedEvent } from '../support/task-rules.ts'
import { arbitraryCommand, arbitraryFields } from '../support/tasks.ts'
import { modelDecides } from '../support/undo-model.ts'

const context: CommandContext<TaskView> = {
  actor_id: 1,
  metadata,
  precondition: undefined,
  command: undefined,
}
const fields = {
  title: 'A task',
  description: null,
  status: 'pending',
  priority: 'low',
  due_date: null,
} as const
const create = { type: 'CreateTask', actor_id: 1, fields } as const
const rename = (title: string) => ({ type: 'ChangeTask', actor_id: 1, changes: { title } }) as const
const stream = taskStreamId(1)
const codeOf = (error: unknown) => (error as AppError | DomainError).code

describe('Handling a command', () => {
  let store: EventStore<TaskEvent, TaskView>
  const handle = (command: TaskRequest, facts: Partial<CommandContext<TaskView>> = {}) =>
    handleCommand(taskAggregate, store)(stream, command, { ...context, ...facts })
  const version = async () => (await load(store, stream)).version

  beforeEach(() => {
    store = memoryEventStore()
  })

  it('answers with the row after it', async () => {
    const at = '2026-11-21T10:00:00.000Z'
    store = memoryEventStore(() => new Date(at))
    expect(await handle(create)).to.deep.equal({
      replayed: false,
      row: {
        id: 1,
        user_id: 1,
        ...fields,
        photos: [],
        created_at: at,
        updated_at: at,
        version: 1,
        deleted_at: null,
      },
    })
  })

  it('appends nothing when nothing changes', async () => {
    await handle(create)
    expect((await handle(rename('A task'))).row).to.have.property('version', 1)
    expect(await version()).to.equal(1)
  })

  const only =
    (...versions: number[]) =>
    (row: TaskView | null) =>
      versions.includes(row?.version ?? 0)

  it('changes a version that the client named, and no other', async () => {
    await handle(create)
    await handle(rename('Two'), { precondition: only(7, 1) })
    const late = await handle(rename('Three'), { precondition: only(1) }).catch((error) => error)
    expect(late).to.include({ code: 'version_mismatch', version: 2 })
    const unchanged = await handle(rename('Two'), { precondition: only(1) }).catch(codeOf)
    expect(unchanged).to.equal('version_mismatch')
    expect(await version()).to.equal(2)
  })

  it('refuses a stranger before it mentions versions', async () => {
    await handle(create)
    const stranger = { type: 'DeleteTask', actor_id: 2 } as const
    expect(await handle(stranger, { precondition: only(9) }).catch(codeOf)).to.equal(
      'task_forbidden',
    )
  })

  it('is done once per key, and answered as the first time, even if everything has changed', async () => {
    const command = key('k', 'rename')
    await handle(create)
    const first = await handle(rename('Two'), { command })
    await handle({ type: 'DeleteTask', actor_id: 1 })
    const again = await handle(rename('Two'), { command })
    expect(again).to.deep.equal({ row: first.row, replayed: true })
    expect(await version()).to.equal(3)
  })

  describe('sent again while the first request is running', () => {
    const remove = { type: 'DeleteTask', actor_id: 1 } as const
    type Precondition = CommandContext<TaskView>['precondition']
    const atVersion1: Precondition = (row) => row?.version === 1
    const requests: Record<string, [TaskRequest, Precondition]> = {
      'a change of one version': [rename('Two'), atVersion1],
      'a deletion': [remove, undefined],
      'an undo': [{ type: 'UndoTask', actor_id: 1, version: undefined }, undefined],
      'a deletion of one version': [remove, atVersion1],
    }

    // The first request commits right before one call of the second one to the store, whichever.
    for (const [what, [command, precondition]] of Object.entries(requests)) {
      for (const at of [1, 2, 3]) {
        it(`is answered as the first: ${what}, committed before call ${at}`, async () => {
          await handle(create)
          const plain = store
          const facts = { ...context, command: key('k', 'the same request'), precondition }
          const run = () => handleCommand(taskAggregate, plain)(stream, command, facts)
          let first: Awaited<ReturnType<typeof run>> | undefined
          let calls = 0
          const preceded =
            <Args extends unknown[], T>(call: (...args: Args) => Promise<T>) =>
            async (...args: Args) => {
              if (++calls === at) first = await run()
              return call(...args)
            }
          const { present, outlines, append } = plain
          const interrupted = {
            present: preceded(present),
            outlines: preceded(outlines),
            append: preceded(append),
          }
          store = { ...plain, ...interrupted }
          const second = await handle(command, facts)
          first ??= await run()
          expect(second.row).to.deep.equal(first.row)
          expect([first.replayed, second.replayed]).to.have.members([true, false])
          expect((await load(plain, stream)).version).to.equal(2)
        })
      }
    }

    it('is answered as the first, when that one commits after a conflict with another', async () => {
      await handle(create)
      const plain = store
      const command = key('k', 'the same request')
      let conflicts = 0
      store = {
        ...plain,
        append: async (appended) => {
          if (conflicts++ > 0) return plain.append(appended)
          await handleCommand(taskAggregate, plain)(stream, rename('Theirs'), context)
          const result = await plain.append(appended)
          const facts = { ...context, command }
          await handleCommand(taskAggregate, plain)(stream, remove, facts)
          expect(result).to.have.property('outcome', 'conflict')
          return result
        },
      }
      expect(await handle(remove, { command })).to.have.property('replayed', true)
    })
  })

  it('that changes nothing is still done once under its key', async () => {
    const command = key('k', 'complete')
    const complete = { type: 'ChangeTask', actor_id: 1, changes: { status: 'completed' } } as const
    await handle(create)
    await handle(complete)
    const unchanged = await handle(complete, { command })
    await handle({ type: 'ChangeTask', actor_id: 1, changes: { status: 'pending' } })
    expect(await handle(complete, { command })).to.deep.equal({ ...unchanged, replayed: true })
    expect(await version()).to.equal(3)
  })

  it('decides again on what others wrote meanwhile', async () => {
    await handle(create)
    const { present } = store
    let interrupted = false
    store = {
      ...store,
      present: async (...asked) => {
        const found = await present(...asked)
        if (!interrupted) {
          interrupted = true
          await handle({ type: 'ChangeTask', actor_id: 1, changes: { priority: 'high' } })
        }
        return found
      },
    }
    const { row } = await handle(rename('Mine'))
    expect(row).to.include({ title: 'Mine', priority: 'high', version: 3 })
  })

  it('without a version undoes the last change that it met, whatever others wrote meanwhile', async () => {
    const undo = { type: 'UndoTask', actor_id: 1, version: undefined } as const
    const by = (causation_id: string) => ({ metadata: { ...metadata, causation_id } })
    /** Undoes while another is first with this command. */
    const race = async (rival: TaskRequest) => {
      store = memoryEventStore()
      await handle(create, by('c-1'))
      await handle(rename('Two'), by('c-2'))
      const { append } = store
      let isFirst = true
      store = {
        ...store,
        append: async (appended) => {
          if (!isFirst) return append(appended)
          isFirst = false
          await handle(rival, by('c-3'))
          return append(appended)
        },
      }
      return handle(undo, by('c-4')).catch(codeOf)
    }
    expect(await race(undo)).to.equal('undo_conflict')
    expect(await race(rename('Theirs'))).to.equal('undo_conflict')
    expect((await load(store, stream)).events.at(-1)?.data).to.deep.equal({ title: 'Theirs' })
    const other = { type: 'ChangeTask', actor_id: 1, changes: { priority: 'high' } } as const
    const undone = { title: 'A task', priority: 'high', version: 4 }
    expect(await race(other))
      .to.have.property('row')
      .that.includes(undone)
  })

  it('gives up when others come first again and again', async () => {
    await handle(create)
    store = { ...store, append: async () => ({ outcome: 'conflict' }) }
    const refused = await handle(rename('Mine')).catch((error) => error)
    expect(refused).to.be.instanceOf(AppError).with.property('code', 'write_conflict')
  })

  it('finds nothing where texts were erased, and tells their owner that the session has ended', async () => {
    await handle(create)
    const { present } = store
    store = {
      ...store,
      present: async (...asked) => ({ ...(await present(...asked)), row: null, erased: true }),
    }
    for (const command of [rename('Two'), { type: 'DeleteTask', actor_id: 1 } as const]) {
      expect(await handle(command).catch(codeOf)).to.equal('session_ended')
      const theirs = { ...command, actor_id: 2 }
      expect(await handle(theirs, { actor_id: 2 }).catch(codeOf)).to.equal('task_not_found')
    }
    expect((await load(store, stream)).version).to.equal(1)
  })

  it('leaves in the store exactly what the rules decide, for any commands', async () => {
    await fc.assert(
      fc.asyncProperty(arbitraryFields, fc.array(arbitraryCommand), async (first, commands) => {
        store = memoryEventStore()
        let expected: readonly CausedEvent[] = []
        for (const [index, command] of [{ ...create, fields: first }, ...commands].entries()) {
          const request = { metadata: { ...metadata, causation_id: `c-${index}` } }
          try {
            const decided = modelDecides(command, expected)
            await handle(command, request)
            expected = [...expected, ...decided.map((event) => ({ ...event, ...request }))]
          } catch (error) {
            if (!(error instanceof DomainError)) throw error
            expect(await handle(command, request).catch(codeOf)).to.equal(error.code)
          }
        }
        const { events } = await load(store, stream)
        expect(events.map(({ type, data }) => ({ type, data }))).to.deep.equal(
          expected.map(({ type, data }) => ({ type, data })),
        )
      }),
    )
  })
})
