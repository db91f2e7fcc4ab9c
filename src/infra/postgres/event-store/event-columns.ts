/** An event as it is read. */
export const EVENT_COLUMNS = `
  position, stream_id, version, event_id, type, schema_version, data, actor_id, metadata,
  occurred_at, recorded_at, encode(prev_hash, 'hex') as prev_hash, encode(hash, 'hex') as hash`

/** An event as a summary. Its texts are long and stored apart from their row: they are checked for null, not read. */
export const SUMMARY_COLUMNS = EVENT_COLUMNS.replace(
  ' data,',
  `
  (select coalesce(jsonb_object_agg(key, case
      when key in ('title', 'description') and value <> 'null' then to_jsonb(position::text)
      else value end), '{}')
    from jsonb_each(data)) as data,`,
)
