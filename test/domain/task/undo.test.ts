import { expect } from 'chai'
import fc from 'fast-check'
import type { TaskRequest } from '../../../src/app/task-aggregate.ts'
import { DomainError } from '../../../src/domain/errors.ts'
import type { TaskFields } from '../../../src/domain/task/events.ts'
import { type CausedEvent, nextSteps, taskRules } from '../../support/task-rules.ts'
import { arbitraryFields, arbitraryPhoto } from '../../support/tasks.ts'
import { modelDecides, undoModel } from '../../support/undo-model.ts'

type History = readonly CausedEvent[]

const actor_id = 1
const change = (changes: Partial<TaskFields>) =>
  ({ type: 'ChangeTask', actor_id, changes }) as const
const undo = (version?: number) => ({ type: 'UndoTask', actor_id, version }) as const
const redo = { type: 'RedoTask', actor_id } as const
const remove = { type: 'DeleteTask', actor_id } as const
const restore = { type: 'RestoreTask', actor_id } as const

/** Few values, so that they come again, and most often an undo or redo, of any version. */
const arbitraryRequest = (version: fc.Arbitrary<number>): fc.Arbitrary<TaskRequest> =>
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc
        .record(
          {
            title: fc.constantFrom('One', 'Two', 'Three'),
            status: fc.constantFrom('pending', 'in_progress', 'completed'),
            priority: fc.constantFrom('low', 'high'),
          },
          { requiredKeys: [] },
        )
        .map((changes) => change(changes as Partial<TaskFields>)),
    },
    { weight: 1, arbitrary: fc.constantFrom(remove, restore) },
    {
      weight: 3,
      arbitrary: fc.tuple(arbitraryPhoto, fc.nat(2)).map(([photo, kind]): TaskRequest => {
        if (kind === 0) return { type: 'AddPhoto', actor_id, photo }
        if (kind === 1) return { type: 'RemovePhoto', actor_id, id: photo.id }
        return { type: 'RestorePhoto', actor_id, photo }
      }),
    },
    { weight: 3, arbitrary: fc.constant(undo()) },
    { weight: 3, arbitrary: fc.constant(redo) },
    { weight: 4, arbitrary: version.map((one) => undo(one)) },
  )

const outcome = <T>(decide: () => T) => {
  try {
    return decide()
  } catch (error) {
    if (!(error instanceof DomainError)) throw error
    return { refused: error.code, conflicts: error.conflicts }
  }
}

let commands = 0

/** The history after a run of commands by the model; refused ones change nothing. */
function play(requests: readonly TaskRequest[]): History {
  const history: CausedEvent[] = []
  for (const request of requests) {
    const events = outcome(() => modelDecides(request, history))
    const metadata = { causation_id: `c-${++commands}` }
    if (!('refused' in events)) history.push(...events.map((event) => ({ ...event, metadata })))
  }
  return history
}

const arbitraryHistory = fc
  .tuple(
    arbitraryFields,
    fc.array(arbitraryRequest(fc.integer({ min: 1, max: 40 })), { maxLength: 40 }),
  )
  .map(([fields, requests]) => play([{ type: 'CreateTask', actor_id, fields }, ...requests]))

const numRuns = 1_000

describe('Undo by the events that it needs', () => {
  it('decides the same as by the whole history', () => {
    const request = arbitraryRequest(fc.integer({ min: 1, max: 50 }))
    fc.assert(
      fc.property(arbitraryHistory, request, (history, asked) => {
        const decided = outcome(() => taskRules.decide(asked, history))
        expect(decided).to.deep.equal(outcome(() => modelDecides(asked, history)))
      }),
      { numRuns },
    )
  })

  it('decides the same where others wrote since it was first asked', () => {
    const asked = fc.constantFrom(undo(), redo)
    fc.assert(
      fc.property(arbitraryHistory, fc.nat(5), asked, (history, since, asked) => {
        const done = [...new Set(history.map(({ metadata }) => metadata?.causation_id))]
        const later = done.slice(1).slice(-since - 1)
        const loaded = history.filter(({ metadata }) => !later.includes(metadata?.causation_id))
        const decided = outcome(() => taskRules.decide(asked, history, loaded))
        expect(decided).to.deep.equal(outcome(() => modelDecides(asked, history, loaded)))
      }),
      { numRuns },
    )
  })

  it('says the same of what is next', () => {
    fc.assert(
      fc.property(arbitraryHistory, (history) => {
        const { next_undo, next_redo } = undoModel(history)
        expect(nextSteps(history)).to.deep.equal({ next_undo, next_redo })
      }),
      { numRuns },
    )
  })
})
