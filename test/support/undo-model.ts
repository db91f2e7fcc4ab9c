import type { TaskRequest } from '../../src/app/task-aggregate.ts'
import { DomainError } from '../../src/domain/errors.ts'
import {
  type Changed,
  type Changes,
  type FieldValues,
  NO_FIELD_VALUES,
  trackChanges,
} from '../../src/domain/task/changes.ts'
import { type TaskEvent, undoesOf } from '../../src/domain/task/events.ts'
import { task } from '../../src/domain/task/task.ts'
import type { NextSteps } from '../../src/domain/task/undo.ts'
import { type CausedEvent, stateAfter } from './task-rules.ts'

/** One event as undo needs it. */
type Step = {
  readonly version: number
  readonly causation_id: string | undefined
  readonly undoes: readonly number[] | undefined
  readonly changes: Changes
}

/** What one command did. An undo or redo sets values that an earlier change had set. */
type Change = {
  readonly versions: number[]
  readonly undoes: readonly number[] | undefined
  readonly causation_id: string | undefined
  readonly changes: Changes
  /** The change whose values this one sets, undoes or redoes: itself, unless it is an undo or redo. */
  origin: Change
  /** Whether the origin's values are in effect after it. */
  isForth: boolean
  /** The change that had set each field before the origin. */
  readonly replaced: Map<string, Change | undefined>
}

type UndoHistory = NextSteps & {
  /** All versions of the command behind this version, and the values that undo it. */
  readonly take: (version: number) => {
    readonly undoes: readonly number[]
    readonly values: Partial<FieldValues>
  }
}

/**
 * Undo as plainly as it can be said: by everything that ever happened to the task. The yardstick for
 * src/domain/task/undo.ts, which reads only what it needs.
 *
 * Every field knows which change set it. A change can be undone while everything it set is still its own.
 * Undoing it returns the fields to the changes that had set them before, so that these can be undone next.
 * A new change leaves nothing to redo. While the task is deleted, only its deletion, or what would restore
 * it, comes next.
 */
export function undoModel(events: readonly CausedEvent[]): UndoHistory {
  const changes = changesOf(stepsOf(events))
  const byVersion = new Map<number, Change>()
  const setBy = new Map<string, Change | undefined>()
  /** Which change, undo or redo has done that to each field last. */
  const movedBy = new Map<string, Change>()
  const done: Change[] = []
  const undone: Change[] = []
  let isDeleted = false

  for (const change of changes) {
    isDeleted = change.changes.deleted ? change.changes.deleted.to === true : isDeleted
    const target = change.undoes?.[0] === undefined ? undefined : byVersion.get(change.undoes[0])
    if (target === undefined) {
      for (const name of Object.keys(change.changes)) {
        change.replaced.set(name, setBy.get(name))
        setBy.set(name, change)
        movedBy.set(name, change)
      }
      undone.length = 0
    } else {
      change.origin = target.origin
      change.isForth = !target.isForth
      for (const [name, replaced] of change.origin.replaced) {
        setBy.set(name, change.isForth ? change.origin : replaced)
        movedBy.set(name, change)
      }
      remove(change.isForth ? undone : done, change.origin)
    }
    const stack = change.isForth ? done : undone
    stack.push(change)
    for (const version of change.versions) byVersion.set(version, change)
  }

  const fieldsSetSince = ({ origin, isForth }: Change): readonly string[] =>
    [...origin.replaced]
      .filter(([name, replaced]) => setBy.get(name) !== (isForth ? origin : replaced))
      .map(([name]) => name)
  const isNext = (change: Change): boolean =>
    (!isDeleted || change.origin.replaced.has('deleted')) && fieldsSetSince(change).length === 0

  return {
    next_undo: lastVersion(done.findLast(isNext)),
    next_redo: lastVersion(undone.findLast(isNext)),
    take(version) {
      const change = byVersion.get(version)
      if (change === undefined) throw new DomainError('change_not_found')
      const { origin, isForth, versions } = change
      const conflicts = fieldsSetSince(change).map((field) => {
        return { field, version: lastVersion(movedBy.get(field)) ?? 1 }
      })
      if (conflicts.length > 0) throw new DomainError('undo_conflict', conflicts)
      return { undoes: versions, values: valuesOf(origin, isForth ? 'from' : 'to') }
    },
  }
}

/** What a request yields, by the model. */
export function modelDecides(
  request: TaskRequest,
  events: readonly CausedEvent[],
  loaded = events,
): readonly TaskEvent[] {
  if (request.type !== 'UndoTask' && request.type !== 'RedoTask') {
    return task.decide(request, stateAfter(events))
  }
  const { actor_id } = request
  const restore = { type: 'RestoreTask', actor_id } as const
  task.decide(restore, stateAfter(events)) // Only its owner may.
  const { next_undo, next_redo } = undoModel(loaded)
  const isUndo = request.type === 'UndoTask'
  const version = isUndo ? (request.version ?? next_undo) : next_redo
  if (version === null) throw new DomainError(isUndo ? 'nothing_to_undo' : 'nothing_to_redo')
  const { undoes, values } = undoModel(events).take(version)
  const state = stateAfter(events)
  if (state.existence === 'deleted' && values.deleted !== false) {
    const deletion = stepsOf(events).findLast(({ changes }) => Object.hasOwn(changes, 'deleted'))
    const conflict = { field: 'deleted', version: deletion?.version ?? 1 }
    throw new DomainError('undo_conflict', [conflict])
  }
  return task.decide({ type: 'RevertChange', actor_id, undoes, values }, state)
}

function stepsOf(events: readonly CausedEvent[]): readonly Step[] {
  let before = NO_FIELD_VALUES
  return events.map((event, index) => {
    const { changes, values } = trackChanges(before, event)
    before = values
    const causation_id = event.metadata?.causation_id
    return { version: index + 1, causation_id, undoes: undoesOf(event), changes }
  })
}

/** Consecutive events of one command are one change. */
function changesOf(steps: readonly Step[]): readonly Change[] {
  const all: Change[] = []
  for (const { version, causation_id, undoes, changes } of steps) {
    const change = all.at(-1)
    const isSame = causation_id !== undefined && causation_id === change?.causation_id
    if (change && isSame && change.undoes?.[0] === undoes?.[0]) {
      change.versions.push(version)
      for (const [name, { from, to }] of Object.entries(changes)) {
        const first = change.changes[name as Changed] ?? { from }
        change.changes[name as Changed] = { from: first.from, to }
      }
    } else {
      all.push(newChange(version, causation_id, undoes, changes))
    }
  }
  return all
}

function newChange(
  version: number,
  causation_id: string | undefined,
  undoes: readonly number[] | undefined,
  changes: Changes,
): Change {
  // To undo the creation is to delete the task. A new task has no photos.
  const created = version === 1 && {
    photos: { from: null, to: [] },
    deleted: { from: true, to: false },
  }
  const change: Omit<Change, 'origin'> = {
    versions: [version],
    undoes,
    causation_id,
    changes: { ...changes, ...created },
    isForth: true,
    replaced: new Map(),
  }
  return Object.assign(change, { origin: change as Change })
}

/** For the creation, only that the task exists: a deleted task keeps its fields. */
function valuesOf({ versions, changes }: Change, which: 'from' | 'to'): Partial<FieldValues> {
  const set = versions[0] === 1 ? { deleted: changes.deleted } : changes
  return Object.fromEntries(Object.entries(set).map(([name, change]) => [name, change?.[which]]))
}

function remove(stack: Change[], origin: Change): void {
  const index = stack.findLastIndex((change) => change.origin === origin)
  if (index !== -1) stack.splice(index, 1)
}

const lastVersion = (change: Change | undefined): number | null => change?.versions.at(-1) ?? null
