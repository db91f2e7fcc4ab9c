import { DomainError } from '../errors.ts'
import type { Changed, Changes, FieldValues } from './changes.ts'

/** One event as undo needs it; a linked list from the newest to the oldest. */
export type Step = {
  readonly version: number
  readonly causation_id: string | undefined
  readonly undoes: readonly number[] | undefined
  readonly changes: Changes
  readonly before: Step | null
}

/** The versions that undo and redo without a version act on; null: there is none. */
export type NextSteps = { readonly next_undo: number | null; readonly next_redo: number | null }

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

export type UndoHistory = NextSteps & {
  /** All versions of the command behind this version, and the values that undo it. */
  readonly take: (version: number) => {
    readonly undoes: readonly number[]
    readonly values: Partial<FieldValues>
  }
}

/**
 * Every field knows which change set it. A change can be undone while everything it set is still its own.
 * Undoing it returns the fields to the changes that had set them before, so that these can be undone next.
 * A new change leaves nothing to redo. While the task is deleted, only its deletion, or what would restore
 * it, comes next.
 */
export function undoHistory(last: Step): UndoHistory {
  const changes = changesUpTo(last)
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

/** The version that changed a field last. */
export function lastChangeOf(field: string, last: Step): number {
  for (let step: Step | null = last; step !== null; step = step.before) {
    if (Object.hasOwn(step.changes, field)) return step.version
  }
  return 1
}

/** Oldest first; consecutive events of one command are one change. */
function changesUpTo(last: Step): readonly Change[] {
  const steps: Step[] = []
  for (let step: Step | null = last; step !== null; step = step.before) steps.push(step)
  const all: Change[] = []
  for (const { version, causation_id, undoes, changes } of steps.reverse()) {
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
  // To undo the creation is to delete the task.
  const created = version === 1 && { deleted: { from: true, to: false } }
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
