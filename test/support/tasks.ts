import fc from 'fast-check'
import type { TaskRequest } from '../../src/app/task-aggregate.ts'
import { TASK_PRIORITIES, TASK_STATUSES, type TaskFields } from '../../src/domain/task/events.ts'
import type { Photo } from '../../src/domain/task/photos.ts'

const text = (maxLength: number) =>
  fc.string({ unit: 'grapheme', maxLength }).filter((value) => !/[^\P{Cc}\t\n\r]/u.test(value))

const UNSEEN = /^[\s\p{Cf}\p{Default_Ignorable_Code_Point}\u2800]*$/u

const dueDate = fc
  .date({ min: new Date('0001-01-01T00:00:00Z'), max: new Date('9999-12-31T23:59:59.999Z') })
  .filter((date) => !Number.isNaN(date.getTime()))
  .map((date) => date.toISOString())

/** What a client may set: any title of one line, trimmed, in which there is something to see. */
export const arbitraryFields: fc.Arbitrary<TaskFields> = fc.record({
  title: text(60)
    .map((value) => value.trim())
    .filter((value) => !/[\p{Cc}\u2028\u2029]/u.test(value) && !UNSEEN.test(value)),
  description: fc.option(text(200)),
  status: fc.constantFrom(...TASK_STATUSES),
  priority: fc.constantFrom(...TASK_PRIORITIES),
  due_date: fc.option(dueDate),
})

/** Any subset of the fields. */
export const arbitraryChanges: fc.Arbitrary<Partial<TaskFields>> = fc
  .tuple(arbitraryFields, fc.subarray(['title', 'description', 'status', 'priority', 'due_date']))
  .map(([fields, names]) =>
    Object.fromEntries(Object.entries(fields).filter(([name]) => names.includes(name))),
  )

/** One of a few, so that it comes again. */
export const arbitraryPhoto: fc.Arbitrary<Photo> = fc.integer({ min: 1, max: 3 }).map(photoNumbered)

export function photoNumbered(n: number): Photo {
  const id = `00000000-0000-7000-8000-${String(n).padStart(12, '0')}`
  const sha256 = String(n % 10).repeat(64)
  const pixels = { width: 40 + n, height: 30 }
  return { id, content_type: 'image/jpeg', size: 100 + n, sha256, version: `v${n}`, ...pixels }
}

/** Commands of users 1 to 3 on one task; those from the `kind` 15 on are about photos. */
const arbitraryCommandUpTo = (kinds: number): fc.Arbitrary<TaskRequest> =>
  fc
    .tuple(
      fc.integer({ min: 1, max: 3 }),
      arbitraryFields,
      arbitraryChanges,
      fc.nat(kinds),
      fc.option(fc.integer({ min: 1, max: 9 }), { nil: undefined }),
      arbitraryPhoto,
    )
    .map(([actor_id, fields, changes, kind, version, photo]): TaskRequest => {
      if (kind < 3) return { type: 'CreateTask', actor_id, fields }
      if (kind < 9) return { type: 'ChangeTask', actor_id, changes }
      if (kind < 10) return { type: 'DeleteTask', actor_id }
      if (kind < 11) return { type: 'RestoreTask', actor_id }
      if (kind < 14) return { type: 'UndoTask', actor_id, version }
      if (kind < 15) return { type: 'RedoTask', actor_id }
      if (kind < 17) return { type: 'AddPhoto', actor_id, photo }
      if (kind < 19) return { type: 'RemovePhoto', actor_id, id: photo.id }
      return { type: 'RestorePhoto', actor_id, photo }
    })

export const arbitraryCommand = arbitraryCommandUpTo(19)

/** For a database, which knows of no photos. */
export const arbitraryCommandWithoutPhotos = arbitraryCommandUpTo(14)
