import type { Scene } from './scene.ts'

// Appends to a task through append_events, one command each, until it has `p_versions`. The status goes from one
// value to the next; from version `p_undone` on, the changes before it are taken back, the last one first.
const LENGTHEN = `
  create function pg_temp.lengthen(p_task bigint, p_versions bigint, p_undone bigint) returns void
  language plpgsql as $$
  declare
    stream streams;
    own tasks;
    target bigint;
    status text;
    appended text;
  begin
    select * into own from tasks where id = p_task;
    select * into stream from streams where stream_id = 'task-' || p_task;
    for n in stream.version + 1 .. p_versions loop
      target := case when n >= p_undone then 2 * p_undone - 1 - n end;
      status := (array['pending', 'in_progress', 'completed'])[
        1 + (case when target is null then n - 1 else target - 2 end) % 3];
      select outcome into appended from append_events(jsonb_build_array(jsonb_build_object(
        'stream_id', stream.stream_id, 'stream_type', 'task', 'expected_version', n - 1,
        'prev_hash', (select head_hash from streams where stream_id = stream.stream_id), 'schema_version', 1,
        'events', jsonb_build_array(jsonb_build_object('event_id', gen_random_uuid(),
          'type', case status when 'pending' then 'TaskReopened' when 'in_progress' then 'TaskStarted'
            else 'TaskCompleted' end,
          'data', '{"status":"' || status || '"'
            || case when target is null then '' else ',"undoes":[' || target || ']' end || '}')),
        'actor_id', own.user_id,
        'metadata', '{"causation_id":"' || gen_random_uuid() || '","correlation_id":"'
          || gen_random_uuid() || '","ip":"127.0.0.1","request_id":"' || gen_random_uuid()
          || '","session_id":null}',
        'row', jsonb_build_object('id', p_task, 'user_id', own.user_id, 'status', status,
          'priority', own.priority, 'due_date', own.due_date, 'created_at', own.created_at,
          'updated_at', 'time of append', 'version', n, 'deleted_at', null))), true);
      if appended is distinct from 'appended' then raise exception 'version %: %', n, appended; end if;
    end loop;
  end
  $$`

const AT_ONCE = 200

/** The status at a version of a task that was only changed. */
export const statusAt = (version: number): string =>
  ['pending', 'in_progress', 'completed'][(version - 1) % 3] ?? ''

/** Gives tasks that were just created a history up to a version. */
export async function lengthened({ sql }: Scene) {
  await sql.query(LENGTHEN)
  return async (task: number, versions: number, undoneFrom = versions + 1): Promise<void> => {
    // Each append of a transaction takes one more lock, and more time to find the row that it has updated before.
    for (let end = AT_ONCE; end < versions + AT_ONCE; end += AT_ONCE) {
      const asked = [task, Math.min(end, versions), undoneFrom]
      await sql.query('select pg_temp.lengthen($1, $2, $3)', asked)
    }
  }
}
