import { type Changed, SETTERS } from './changes.ts'
import type { TaskEvent } from './events.ts'

/** An event as undo needs it. `type` is null if a newer version wrote it: to this one it set nothing. */
export type Step = {
  readonly version: number
  readonly type: TaskEvent['type'] | null
  readonly causation_id: string | undefined
  readonly undoes: readonly number[] | undefined
}

/** Asks for a stream's last step up to a version, or for the last one up to there that set a field. */
export type Ask = { readonly upTo: number; readonly setting?: Changed }

/** Finds something out from the steps that it asks for; null: there is none. */
export type Walk<T> = Generator<Ask, T, Step | null>

/** What one command did: its consecutive events. */
export type Change = {
  readonly first: number
  readonly last: number
  readonly names: readonly Changed[]
  /** A version of the change that this one undoes. */
  readonly target: number | undefined
}

/**
 * An undo or redo sets values that an earlier change had set: its origin. That of any other change is itself.
 * `isForth`: these values are in effect after it.
 */
export type Origin = { readonly origin: Change; readonly isForth: boolean }

export const NAMES = Object.keys(SETTERS) as readonly Changed[]

export const sets = ({ type }: Pick<Step, 'type'>, name: Changed): boolean =>
  SETTERS[name].some((setter) => setter === type)

/** The change that a version belongs to, in a stream that ends at version `end`. */
export function* changeAt(version: number, end: number): Walk<Change> {
  const step = yield* stepAt(version)
  const names = new Set<Changed>()
  let first = version
  for (let before = step; isOfOneCommand(before, step); before = yield* stepAt(first - 1)) {
    first = before.version
    if (first === 1) break
  }
  let last = first
  for (let after = yield* stepAt(first); isOfOneCommand(after, step); ) {
    last = after.version
    for (const name of NAMES) if (sets(after, name)) names.add(name)
    if (last === end) break
    after = yield* stepAt(last + 1)
  }
  const target = step.undoes?.[0] ?? 0
  const isUndo = target > 0 && target < first
  return { first, last, names: [...names], target: isUndo ? target : undefined }
}

const isOfOneCommand = (one: Step, other: Step): boolean =>
  one.version === other.version ||
  (one.causation_id !== undefined &&
    one.causation_id === other.causation_id &&
    one.undoes?.[0] === other.undoes?.[0])

function* stepAt(version: number): Walk<Step> {
  const step = yield { upTo: version }
  if (step?.version !== version) throw new Error(`there is no version ${version} to undo`)
  return step
}
