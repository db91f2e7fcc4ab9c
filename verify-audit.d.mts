import type { KeyObject } from 'node:crypto'

/** Where something is broken; without any, the export as a whole. */
export type Place = {
  readonly stream_id?: string
  readonly version?: number
  /** Unknown for what is missing and was not sealed. */
  readonly position?: number | undefined
  /** The number of a seal that is broken itself. */
  readonly seal?: number
  /** In the database, of a table as a whole. */
  readonly table?: string
}

export class Broken extends Error {
  constructor(place: Place, why: string)
  readonly place: Place
}

export class Unreadable extends Error {}
export class Incomplete extends Error {}

export type SealKey = { readonly key: KeyObject; readonly id: string }

export type TrailEvent = {
  readonly position: number
  readonly stream_id: string
  readonly version: number
  readonly event_id: string
  readonly type: string
  readonly schema_version: number
  readonly data: unknown
  readonly actor_id: number
  readonly metadata: unknown
  readonly occurred_at: string
  readonly recorded_at: string
  readonly prev_hash: string | null
  readonly hash: string
}

/** Digests and hashes are lower-case hex. */
export type Seal = {
  readonly number: number
  readonly position: number
  readonly events: number
  readonly events_digest: string
  /** A head that is not shown is its digest. */
  readonly heads: readonly (readonly [stream_id: string, version: number, hash: string] | string)[]
  readonly heads_digest?: string
  readonly sealed_at: string
  readonly previous: string | null
  readonly hash: string
  readonly key_id: string
  readonly signature: string
  /** As the database keeps them; an export has none. */
  readonly marks?: Buffer
}

/** Hashes of seals by number, as somebody noted them elsewhere. */
export type KeptSeals = ReadonlyMap<number, string>

export type Report = {
  readonly events: number
  readonly streams: number
  /** How many of the events a seal proves. */
  readonly sealed: number
  readonly gaps: number
  readonly seals: number
  readonly lastSeal: {
    readonly number: number
    readonly position: number
    readonly sealed_at: string
    readonly hash: string
  } | null
  /** Which key signed which seals, from the first number to the last. */
  readonly signers: readonly {
    readonly key_id: string
    readonly first: number
    readonly last: number
  }[]
  /** Of the last event. */
  readonly position: number
}

export type Trail = {
  readonly streams: ReadonlyMap<
    string,
    { readonly version: number; readonly hash: string; readonly position: number }
  >
  readonly begin: (seal: Seal) => void
  readonly add: (event: TrailEvent) => void
  readonly end: () => void
  readonly requireKept: () => void
  readonly report: () => Report
}

export function follow(options: {
  readonly keys: readonly SealKey[]
  readonly complete: boolean
  readonly whole: boolean
  /** Versions from which on events of these streams may be missing. */
  readonly parked?: ReadonlyMap<string, number>
  readonly kept?: KeptSeals
}): Trail

export function walk(
  trail: Trail,
  pages: AsyncIterable<readonly TrailEvent[]>,
  seals: AsyncIterable<Seal>,
): Promise<void>

export function canonical(value: unknown): string
export function eventHash(event: Omit<TrailEvent, 'position' | 'recorded_at' | 'hash'>): string
export function eventDigest(event: Pick<TrailEvent, 'position' | 'recorded_at' | 'hash'>): Buffer
export function readKey(pem: string): SealKey
export function readKeys(args: readonly string[]): Promise<{
  readonly keys: readonly SealKey[]
  readonly kept: KeptSeals
  readonly others: readonly string[]
}>
export function verifyExport(
  file: string,
  keys: readonly SealKey[],
  kept?: KeptSeals,
): Promise<
  Report & {
    readonly whole: boolean
    readonly erased: number
    /** Accounts that are said to be erased, without their UserErased. */
    readonly doubtful: number
    /** How many values in `from` nothing proves. */
    readonly unproven: number
  }
>
export function describe(report: Report): string[]
export function conclude(check: () => Promise<readonly string[]>): Promise<number>
