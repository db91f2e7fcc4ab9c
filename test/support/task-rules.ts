import type { TaskRequest } from '../../src/app/task-aggregate.ts'
import { type FieldValues, NO_FIELD_VALUES, trackChanges } from '../../src/domain/task/changes.ts'
import { type TaskEvent, undoesOf } from '../../src/domain/task/events.ts'
import { type Step, sets, type Walk } from '../../src/domain/task/steps.ts'
import { stateOfRow, type TaskState, takenBy, task } from '../../src/domain/task/task.ts'
import { type NextSteps, undoHistory } from '../../src/domain/task/undo.ts'
import { viewTask } from '../../src/domain/task/view.ts'

/** An event of a task; those that were decided together have one causation id. */
export type CausedEvent = TaskEvent & { readonly metadata?: { readonly causation_id: string } }

type History = readonly CausedEvent[]

/** The rules of a task, with all of its events as its state. */
export const taskRules = {
  initialState: [] as History,
  evolve: (events: History, event: CausedEvent): History => [...events, event],

  decide(request: TaskRequest, events: History, loaded = events): readonly TaskEvent[] {
    const state = stateAfter(events)
    if (request.type !== 'UndoTask' && request.type !== 'RedoTask') {
      return task.decide(request, state)
    }
    const versions = { loaded: loaded.length, end: events.length }
    const { undoes, names, asOf } = walked(takenBy(request, state, versions), events)
    const before = valuesAfter(events.slice(0, asOf)) ?? { deleted: true }
    const values = Object.fromEntries(names.map((name) => [name, Reflect.get(before, name)]))
    return task.decide({ type: 'RevertChange', actor_id: request.actor_id, undoes, values }, state)
  },
}

export const stateAfter = (events: History): TaskState =>
  stateOfRow(
    events.reduce<ReturnType<typeof viewTask>>((row, event, index) => {
      const place = { stream_id: 'task-1', version: index + 1, occurred_at: 'now' }
      return viewTask(row, { ...event, ...place })
    }, null),
  )

export const valuesAfter = (events: History): FieldValues | null =>
  events.reduce<FieldValues | null>(
    (values, event) => trackChanges(values, event).values,
    NO_FIELD_VALUES,
  )

export function nextSteps(events: History): NextSteps {
  const { nextUndo, nextRedo } = undoHistory(events.length)
  return { next_undo: walked(nextUndo(), events), next_redo: walked(nextRedo(), events) }
}

function walked<T>(walk: Walk<T>, events: History): T {
  const steps = events.map((event, index): Step => {
    const causation_id = event.metadata?.causation_id
    return { version: index + 1, type: event.type, causation_id, undoes: undoesOf(event) }
  })
  let next = walk.next()
  while (!next.done) {
    const { upTo, setting } = next.value
    let step = steps[upTo - 1]
    while (step && setting && !sets(step, setting)) step = steps[step.version - 2]
    next = walk.next(step ?? null)
  }
  return next.value
}
