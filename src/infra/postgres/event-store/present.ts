import { AppError } from '../../../app/errors.ts'
import type { CommandKey, Present } from '../../../app/ports/event-store.ts'
import { taskIdOf } from '../../../domain/task/view.ts'
import type { Database } from '../connection/database.ts'
import { sharedStatement } from '../connection/shared-statements.ts'
import { TASK_COLUMNS } from '../tasks/task-page.ts'
import { type Answered, answerOf } from './answers.ts'

// The owner by the row, or by the stream's first event when the row is gone.
const PRESENT = {
  name: 'present',
  text: `
    select s.version as stream_version, encode(s.head_hash, 'hex') as head_hash, s.event_types,
      s.schema_version, ${TASK_COLUMNS.replaceAll(/(\w+)/g, 't.$1')}, o.owner_id,
      k.wrapped_key, k.wrapped_by, k.destroyed_at is not null as erased,
      c.fingerprint = asked.fingerprint as same, c.stream_id as answer_stream,
      c.version as answer_version
    from unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::bytea[]) with ordinality
        as asked (stream_id, task_id, actor_id, key, fingerprint, n)
      left join streams s on s.stream_id = asked.stream_id
      left join tasks t on t.id = asked.task_id
      left join lateral (
        select coalesce(t.user_id, (
          select (data->>'user_id')::bigint from events
          where stream_id = asked.stream_id and version = 1)) as owner_id) o on true
      left join user_keys k on k.user_id = o.owner_id
      left join commands c
        on c.actor_id = asked.actor_id and c.key = asked.key and c.expires_at > now()
    order by n`,
}

type Asked = {
  readonly stream_id: string
  readonly actor_id: number
  readonly command: CommandKey | undefined
}

type Found = Answered & {
  readonly stream_version: number | null
  readonly head_hash: string | null
  readonly event_types: readonly string[] | null
  readonly schema_version: number | null
  readonly id: number | null
  readonly owner_id: number | null
  readonly erased: boolean
  readonly same: boolean | null
}

/** What commands are decided on. */
export function presents<Row>(db: Database) {
  const find = sharedStatement<Asked, Found>((asked) =>
    db.query<Found>(PRESENT, [
      asked.map(({ stream_id }) => stream_id),
      asked.map(({ stream_id }) => taskIdOf(stream_id)),
      asked.map(({ actor_id }) => actor_id),
      asked.map(({ command }) => command?.key),
      asked.map(({ command }) => command?.fingerprint),
    ]),
  )

  return async (
    stream_id: string,
    actor_id: number,
    command?: CommandKey,
  ): Promise<Present<Row>> => {
    const found = await find({ stream_id, actor_id, command })
    const { stream_version, head_hash, event_types, schema_version, owner_id, erased, ...rest } =
      found
    const { same, answer_stream, answer_version, ...row } = rest
    if (same === false) throw new AppError('idempotency_key_reused')
    return {
      version: stream_version ?? 0,
      head_hash,
      row: row.id === null ? null : (row as Row),
      owner_id,
      erased,
      event_types: event_types ?? [],
      schema_version: schema_version ?? 0,
      answer: answerOf(found),
    }
  }
}
