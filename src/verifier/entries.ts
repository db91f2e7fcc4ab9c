import { canonical } from './formats.ts'

export type EventPlace = {
  readonly position: number
  readonly stream_id: string
  readonly version: number
}

/** How far the log covers accesses and security events, and the digest of those since the leaf before. */
export type Records = {
  readonly audit_accesses: number
  /** Lower-case hex. */
  readonly digest: string
  readonly security_events: number
}

/** What the leaf of an event is the hash of. Canonical JSON; the event's hash is lower-case hex. */
export const eventEntry = ({
  hash,
  position,
  stream_id,
  version,
}: EventPlace & { readonly hash: string }): string =>
  // Canonical without sorting names: there is one for each event of a log.
  `{"hash":${canonical(hash)},"position":${canonical(position)},` +
  `"stream_id":${canonical(stream_id)},"version":${canonical(version)}}`

/** What the leaf of accesses and security events is the hash of. Canonical JSON. */
export const recordsEntry = ({ audit_accesses, digest, security_events }: Records): string =>
  canonical({ audit_accesses, digest, security_events })
