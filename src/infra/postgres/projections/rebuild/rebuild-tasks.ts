import { taskIdOf, taskStreamId } from '../../../../domain/task/view.ts'
import { userId } from '../../../../domain/user.ts'
import type { UserKeys } from '../../../encryption/user-keys.ts'
import type { Database } from '../../connection/database.ts'
import { type TimedEvent, taskRowsProjection } from '../../tasks/task-rows-projection.ts'
import { driftOfKeys, driftOfTasks } from '../drift/drift.ts'
import {
  LEFT_AT_MOST,
  note,
  type Plan,
  type RebuildOptions,
  type Run,
  restAfter,
  take,
} from './rebuild-run.ts'

const COMPARED_AT_ONCE = 5_000

// Also those above the safe position: for callers that know that their writes go to the new table.
const READ_VISIBLE = {
  name: 'read_visible',
  text: `
    select position, stream_id, version, type, schema_version, data, occurred_at from events
    where position > $1 order by position limit $2`,
}
// From the last id of the previous chunk to the first beyond this chunk in both tables.
const CHUNK_OF_TASKS = {
  name: 'chunk_of_tasks',
  text: `
    select max(id) as last from (
      (select id from tasks where id > $1 order by id limit ${COMPARED_AT_ONCE})
      union all
      (select id from tasks_rebuild where id > $1 order by id limit ${COMPARED_AT_ONCE})) ids`,
}
const UNEQUAL_TASKS = {
  name: 'unequal_tasks',
  text: `
    select id, coalesce(l.version = s.version, false) as at_same_version
    from (select * from tasks where id > $1 and id <= $2) l
      full join (select * from tasks_rebuild where id > $1 and id <= $2) s using (id)
    where l is distinct from s order by id`,
}
const UNEQUAL_STILL = {
  name: 'unequal_still',
  text: `
    select l.id from tasks l join tasks_rebuild s using (id, version)
    where l.id = any ($1) and l is distinct from s`,
}
const REMOVE_ERASED = {
  name: 'remove_erased_in_rebuild',
  text: `
    delete from tasks_rebuild t using user_keys k
    where k.user_id = t.user_id and k.destroyed_at is not null and exists (
      select from events where stream_id = 'user-' || k.user_id and type = 'UserErased')`,
}
const REMOVE_OF_USERS = {
  name: 'remove_of_users_in_rebuild',
  text: `
    delete from tasks_rebuild where id in (
      select id from tasks_rebuild where user_id = any ($1) and deleted_at is null
      union all
      select id from tasks_rebuild where user_id = any ($1) and deleted_at is not null)`,
}

/**
 * Written in the transaction that writes the events: the rebuild ends where the log ends, at any moment.
 */
export function tasksPlan({ db, keys }: RebuildOptions): Plan {
  const projectRows = taskRowsProjection('tasks_rebuild', keys)
  let indexed = false
  return {
    tables: ['tasks'],
    parks: false,

    // An erased user's rows were written while there was a key. None of their events come after UserErased,
    // so the rows are deleted with it: as soon as there is an index, those of all earlier ones at once.
    async project(events, read) {
      const writes = await projectRows(events, read)
      const erased = events.filter(({ type }) => type === 'UserErased')
      if (!indexed || erased.length === 0) return writes
      const users = erased.map(({ stream_id }) => userId(stream_id))
      return [...writes, { statement: REMOVE_OF_USERS, values: [users] }]
    },

    async compare(run) {
      indexed = true
      await run.query(REMOVE_ERASED, [])
      for (let from = 0; ; ) {
        const began = performance.now()
        const [chunk] = await run.query<{ last: number | null }>(CHUNK_OF_TASKS, [from])
        if (chunk === undefined || chunk.last === null) return
        const unequal = await run.query<Unequal>(UNEQUAL_TASKS, [from, chunk.last])
        await explain(run, { db, keys }, unequal)
        from = chunk.last
        await restAfter(run, began)
      }
    },

    // Transactions that have written to the table have ended once we hold the lock, so their events are
    // visible to the next statement. Those that have appended but not yet written to it wait for the lock
    // and then find the new table under the name. Events of both are read if they are visible.
    async finish(run, lock) {
      await lock()
      const events = await run.query<TimedEvent>(READ_VISIBLE, [run.position, LEFT_AT_MOST + 1])
      if (events.length > LEFT_AT_MOST) return false
      await take(run, events, events.at(-1)?.position ?? run.position)
      return true
    },
  }
}

type Unequal = { readonly id: number; readonly at_same_version: boolean }

const EXPLAINED_AT_ONCE = 200

/** Some unequal rows have only been written since: the log tells which are wrong. */
async function explain(
  run: Run,
  ports: { readonly db: Database; readonly keys: UserKeys },
  unequal: readonly Unequal[],
): Promise<void> {
  for (let from = 0; from < unequal.length; from += EXPLAINED_AT_ONCE) {
    const some = unequal.slice(from, from + EXPLAINED_AT_ONCE)
    const drifts = await driftOfTasks(
      ports,
      some.map(({ id }) => id),
    )
    note(run, drifts)
    const keys = await driftOfKeys(
      ports,
      some.map(({ id }) => taskStreamId(id)),
    )
    // Without the key the new table would lack rows that hold the only copy of the texts.
    const lost = keys.find(({ kind }) => kind === 'missing')
    if (lost !== undefined) {
      throw new Error(`The key of ${lost.stream_id} is gone, but the log has no erasure.`)
    }
    const wrong = new Set(drifts.map(({ stream_id }) => taskIdOf(stream_id)))
    const doubtful = some.filter(({ id, at_same_version }) => at_same_version && !wrong.has(id))
    const [still] = await run.query<{ id: number }>(UNEQUAL_STILL, [doubtful.map(({ id }) => id)])
    if (still !== undefined)
      throw new Error(`The rebuild produced a different row for task ${still.id}.`)
  }
}
