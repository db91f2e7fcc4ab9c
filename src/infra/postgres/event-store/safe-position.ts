import type { Query } from '../projections/projection.ts'

const SAFE_POSITION = { name: 'safe_position', text: 'select safe_position() as position' }

/**
 * The position up to which the log is complete: no event will be added at or below it. A statement of its
 * own, because the events up to it must be read in a later snapshot. Zero: none yet.
 */
export async function safePosition(query: Query): Promise<number> {
  const [safe] = await query<{ position: number }>(SAFE_POSITION, [])
  return safe?.position ?? 0
}
