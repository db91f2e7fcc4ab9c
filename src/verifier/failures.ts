/** Where something is broken; empty for the export as a whole. */
export type Place = {
  /** What it is instead, with a capital, as sentences begin. */
  readonly thing?: string
  readonly stream_id?: string
  readonly version?: number
  /** Unknown for an event that is missing. */
  readonly position?: number | undefined
  /** The index of a leaf of the log, if its event is unknown. */
  readonly leaf?: number
  /** In an export: the line, if its event is unknown. */
  readonly line?: number
  /** In the database: the table, if it is broken as a whole, or that of a row. */
  readonly table?: string
  readonly id?: number
}

/** An event or the whole is not as it was. */
export class Broken extends Error {
  readonly place: Place
  constructor(place: Place, why: string) {
    super(`${nameOf(place)} ${why}`)
    this.place = place
  }
}

/** It cannot be checked at all. */
export class Unreadable extends Error {}

export function nameOf(place: Place): string {
  const { thing, stream_id, version, position, leaf, line, table, id } = place
  if (thing !== undefined) return thing
  if (table !== undefined) return id === undefined ? `The table ${table}` : `${table} ${id}`
  if (line !== undefined) return `Line ${line}`
  if (stream_id === undefined) return leaf === undefined ? 'The export' : `Leaf ${leaf}`
  const event = version === undefined ? stream_id : `${stream_id} version ${version}`
  return position === undefined || position === null ? event : `${event} (position ${position})`
}

export const placeOf = ({
  stream_id,
  version,
  position,
}: Required<Pick<Place, 'stream_id' | 'version' | 'position'>>): Place => ({
  stream_id,
  version,
  position,
})
