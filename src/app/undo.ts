import type { FieldValues } from '../domain/task/changes.ts'
import { readTaskEvent, type TaskEvent, undoesOf } from '../domain/task/events.ts'
import { type Ask, type Step, sets, type Walk } from '../domain/task/steps.ts'
import { type TaskCommand, type TaskState, takenBy, type UndoCommand } from '../domain/task/task.ts'
import { type NextSteps, type Taken, undoHistory } from '../domain/task/undo.ts'
import { type TaskView, taskStreamId } from '../domain/task/view.ts'
import { AppError } from './errors.ts'
import type { Versions } from './handle-command.ts'
import { valuesOf } from './history.ts'
import type { EventOutline, EventStore } from './ports/event-store.ts'

type Store = EventStore<TaskEvent, TaskView>

/** Steps are read in blocks, in which a walk may go back and forth; small ones at first, which mostly suffice. */
const BLOCK = { first: 16, most: 512 }
/** Steps that are kept at most when a block is read. */
const KEPT = 4_096

/** What an undo or redo of a stream comes to, at its present version. */
export async function reverted(
  store: Store,
  stream_id: string,
  command: UndoCommand,
  state: TaskState,
  versions: Versions,
): Promise<TaskCommand> {
  const taken = await walked(takenBy(command, state, versions), stepsOf(store, stream_id))
  const values = await valuesAt(store, stream_id, taken)
  return { type: 'RevertChange', actor_id: command.actor_id, undoes: taken.undoes, values }
}

/** What an undo or redo did, and what comes next. */
export type UndoSteps = NextSteps & {
  /** The version that was undone. */
  readonly undone: number
  /** For a redo: the version whose undo was reverted. It is in effect again. */
  readonly redone: number | null
}

/**
 * Read from the log up to the version that the undo or redo produced, so that a replayed answer equals the
 * first one. Error: `database_unavailable`.
 */
export const undoSteps =
  (store: Store) =>
  ({ id, version }: TaskView): Promise<UndoSteps> =>
    walked(stepsAt(version), stepsOf(store, taskStreamId(id)))

function* stepsAt(version: number): Walk<UndoSteps> {
  const undone = (yield { upTo: version })?.undoes?.at(-1)
  if (undone === undefined) throw new Error(`version ${version} undoes nothing`)
  const redone = (yield { upTo: undone })?.undoes?.at(-1) ?? null
  const { nextUndo, nextRedo } = undoHistory(version)
  return { undone, redone, next_undo: yield* nextUndo(), next_redo: yield* nextRedo() }
}

type FindStep = (ask: Ask) => Promise<Step | null>

async function walked<T>(walk: Walk<T>, find: FindStep): Promise<T> {
  let next = walk.next()
  while (!next.done) next = walk.next(await find(next.value))
  return next.value
}

/** Reads a stream's steps backwards as a walk asks for them, and forgets those that it has passed. */
function stepsOf(store: Store, stream_id: string): FindStep {
  const kept = new Map<number, Step>()
  const setters = new Map<number, readonly Step[]>()

  let size = BLOCK.first

  const keep = async (version: number) => {
    if (kept.has(version)) return
    if (kept.size > KEPT) kept.clear()
    const end = kept.size === 0 ? version : Math.ceil(version / size) * size
    for (const outline of await store.outlines(stream_id, end, size)) {
      kept.set(outline.version, stepOf(outline))
    }
    size = Math.min(2 * size, BLOCK.most)
  }

  const settersAt = async (version: number): Promise<readonly Step[]> => {
    const known = setters.get(version)
    if (known !== undefined) return known
    if (setters.size > KEPT) setters.clear()
    const events = await store.inForce(stream_id, version)
    const steps = events.map(({ metadata: { causation_id }, ...event }) => {
      return stepOf({ ...event, causation_id, undoes: undoesOf(event) ?? null })
    })
    setters.set(version, steps)
    return steps
  }

  return async ({ upTo, setting }) => {
    await keep(upTo)
    if (setting === undefined) return kept.get(upTo) ?? null
    let version = upTo
    for (let step = kept.get(version); step !== undefined; step = kept.get(--version)) {
      if (sets(step, setting)) return step
    }
    if (version === 0) return null
    return (await settersAt(version)).findLast((step) => sets(step, setting)) ?? null
  }
}

function stepOf({ version, causation_id, undoes, ...stored }: EventOutline): Step {
  const event = readTaskEvent({ ...stored, data: undoes === null ? {} : { undoes } })
  return {
    version,
    type: event?.type ?? null,
    causation_id,
    undoes: (event && undoesOf(event)) ?? undefined,
  }
}

/** The values to set. A text that cannot be read is not set, and neither is what it belongs to. */
async function valuesAt(
  store: Store,
  stream_id: string,
  { names, asOf }: Taken,
): Promise<Partial<FieldValues>> {
  if (asOf === 0) return { deleted: true }
  const events = await store.inForce(stream_id, asOf)
  const origins = names.map((name) => events.findLast((event) => sets(event, name)))
  if (origins.some((event) => event?.unreadable)) throw new AppError('texts_unavailable')
  // The actor's own: their account was erased after the request was validated.
  if (origins.some((event) => event?.erased)) throw new AppError('session_ended')
  const values = valuesOf(events)
  return Object.fromEntries(names.map((name) => [name, values?.[name]]))
}
