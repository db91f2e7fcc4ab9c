/** An event as it is read. */
export const EVENT_COLUMNS = `
  position, stream_id, version, event_id, type, schema_version, data, actor_id, metadata,
  occurred_at, recorded_at, encode(prev_hash, 'hex') as prev_hash, encode(hash, 'hex') as hash`
