import { LRUCache } from 'lru-cache'
import type { TaskView } from '../../../domain/task/view.ts'

/** One write of a row. `revision` is the transaction that wrote it: whatever changes a row changes it. */
export type Stamp = { readonly id: number; readonly version: number; readonly revision: string }

type Kept = { readonly key: Buffer; readonly revision: string; readonly task: TaskView }

// What was read lately is likely to be read again, and a task at hand costs neither its texts' way out of the
// database nor their decryption, and its JSON is made once (src/http/task-schemas.ts). Bounded in characters,
// for all users together.
const KEPT = { maxSize: 4_000_000, ttl: 5 * 60_000, ttlResolution: 1_000 }
/** Of its other fields, and of what keeps it. */
const OVERHEAD = 700
/** A task with longer texts would push out many others. */
const LONGEST = 2_000

const lengthOf = ({ title, description }: TaskView): number =>
  title.length + (description?.length ?? 0)

/**
 * Tasks that were read lately, by the very key that decrypted them and the write that was read: whoever has
 * not both from the database, just now, gets nothing.
 */
export function recentTasks() {
  const kept = new LRUCache<number, Kept>({
    ...KEPT,
    // Its texts, and its JSON with them.
    sizeCalculation: ({ task }) => OVERHEAD + 2 * lengthOf(task),
  })
  return {
    find(key: Buffer, { id, version, revision }: Stamp): TaskView | undefined {
      const known = kept.get(id)
      const isIt = known?.key === key && known.revision === revision
      return isIt && known.task.version === version ? known.task : undefined
    },

    keep(key: Buffer, revision: string, task: TaskView): void {
      if (lengthOf(task) <= LONGEST) kept.set(task.id, { key, revision, task })
    },
  }
}
