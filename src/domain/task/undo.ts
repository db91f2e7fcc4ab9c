import { DomainError } from '../errors.ts'
import type { Changed } from './changes.ts'
import { type Change, changeAt, NAMES, type Origin, type Walk } from './steps.ts'

/** The versions that undo and redo without a version act on; null: there is none. */
export type NextSteps = { readonly next_undo: number | null; readonly next_redo: number | null }

/** To undo is to set these fields to what they were at version `asOf`; 0: before the task was created. */
export type Taken = {
  readonly undoes: readonly number[]
  readonly names: readonly Changed[]
  readonly asOf: number
}

type UndoHistory = {
  readonly nextUndo: () => Walk<number | null>
  readonly nextRedo: () => Walk<number | null>
  /** What undoes the command behind a version; an error if a field was set again since. */
  readonly take: (version: number) => Walk<Taken>
}

/**
 * Every field knows which change set it. A change can be undone while everything it set is still its own.
 * Undoing it returns the fields to the changes that had set them before, so that these can be undone next.
 * A new change leaves nothing to redo. While the task is deleted, only its deletion, or what would restore
 * it, comes next.
 *
 * Of a stream up to version `end`: walked backwards, and no further than an answer needs.
 */
export function undoHistory(end: number): UndoHistory {
  const originOf = origins(end)
  const { setBy, movedBy } = owners(end, originOf)

  function* isDeleted(): Walk<boolean> {
    return (yield { upTo: end, setting: 'deleted' })?.type === 'TaskDeleted'
  }

  /** The fields that were set again since they were as the origin and its direction say. */
  function* setSince({ origin, isForth }: Origin): Walk<readonly Changed[]> {
    const names: Changed[] = []
    for (const name of origin.names) {
      const expected = isForth ? origin : yield* setBy(name, origin.first - 1)
      if ((yield* setBy(name, end))?.first !== expected?.first) names.push(name)
    }
    return names
  }

  function* isNext(place: Origin): Walk<boolean> {
    if ((yield* isDeleted()) && !place.origin.names.includes('deleted')) return false
    return (yield* setSince(place)).length === 0
  }

  return {
    *nextUndo() {
      const next = new Set<number>()
      for (const name of NAMES) {
        const origin = yield* setBy(name, end)
        if (origin !== null && (yield* isNext({ origin, isForth: true }))) next.add(origin.first)
      }
      // The latest time that one of them was made or redone.
      for (let at = end; at > 0 && next.size > 0; ) {
        const change = yield* changeAt(at, end)
        if (next.has((yield* originOf(change)).origin.first)) return change.last
        at = change.first - 1
      }
      return null
    },

    *nextRedo() {
      for (let at = end; at > 0; ) {
        const change = yield* changeAt(at, end)
        if (change.target === undefined) return null
        const place = yield* originOf(change)
        if (!place.isForth && (yield* isNext(place))) return change.last
        at = change.first - 1
      }
      return null
    },

    *take(version) {
      if (version > end) throw new DomainError('change_not_found')
      const change = yield* changeAt(version, end)
      const { origin, isForth } = yield* originOf(change)
      const conflicts = []
      for (const field of yield* setSince({ origin, isForth })) {
        conflicts.push({ field, version: (yield* movedBy(field, end))?.last ?? 1 })
      }
      const names = origin.first === 1 ? (['deleted'] as const) : origin.names
      if (conflicts.length === 0 && !names.includes('deleted') && (yield* isDeleted())) {
        const deletion = yield { upTo: end, setting: 'deleted' }
        conflicts.push({ field: 'deleted', version: deletion?.version ?? 1 })
      }
      if (conflicts.length > 0) throw new DomainError('undo_conflict', conflicts)
      const { first, last } = change
      const undoes = Array.from({ length: last - first + 1 }, (_, index) => first + index)
      return { undoes, names, asOf: isForth ? origin.first - 1 : origin.last }
    },
  }
}

/** Follows what a change undoes to its origin; each step once. */
function origins(end: number): (change: Change) => Walk<Origin> {
  const known = new Map<number, Origin>()

  return function* originOf(change) {
    const passed: Change[] = []
    let at = change
    while (at.target !== undefined && !known.has(at.first)) {
      passed.push(at)
      at = yield* changeAt(at.target, end)
    }
    let { origin, isForth } = known.get(at.first) ?? { origin: at, isForth: true }
    for (const { first } of passed.toReversed()) {
      isForth = !isForth
      known.set(first, { origin, isForth })
    }
    return { origin, isForth }
  }
}

function owners(end: number, originOf: (change: Change) => Walk<Origin>) {
  const known = new Map<string, Change | null>()

  /** The last change, undo or redo that did anything to a field. */
  function* movedBy(name: Changed, upTo: number): Walk<Change | null> {
    const step = yield { upTo, setting: name }
    // An undone creation takes back all fields, although it only deletes the task.
    for (let at = upTo; at > 0; ) {
      const deletion = yield { upTo: at, setting: 'deleted' }
      if (deletion === null || deletion.version <= (step?.version ?? 0)) break
      const change = yield* changeAt(deletion.version, end)
      if ((yield* originOf(change)).origin.first === 1) return change
      at = change.first - 1
    }
    return step && (yield* changeAt(step.version, end))
  }

  /** The change whose value a field had at a version. */
  function* setBy(name: Changed, version: number): Walk<Change | null> {
    const passed: string[] = []
    let found: Change | null | undefined
    for (let upTo = version; found === undefined; ) {
      const change = upTo === 0 ? null : yield* movedBy(name, upTo)
      if (change === null) {
        found = null
        break
      }
      const place = `${name} ${change.first}`
      const { origin, isForth } = yield* originOf(change)
      found = isForth ? origin : known.get(place)
      passed.push(place)
      upTo = origin.first - 1
    }
    for (const place of passed) known.set(place, found)
    return found
  }

  return { movedBy, setBy }
}
