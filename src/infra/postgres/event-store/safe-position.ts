import type { Query } from '../projections/projection.ts'

const SAFE_POSITION = { name: 'safe_position', text: 'select safe_position() as position' }

/**
 * Up to where the log is complete: no event at or below it will be added any more. A statement of its
 * own, because the events up to it must be read in a snapshot that is younger. Zero: none yet.
 */
export async function safePosition(query: Query): Promise<number> {
  const [safe] = await query<{ position: number }>(SAFE_POSITION, [])
  return safe?.position ?? 0
}
