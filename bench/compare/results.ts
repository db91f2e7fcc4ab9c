import { percentile } from '../percentile.ts'
import type { Operation } from './operations.ts'
import type { Slot } from './rounds.ts'

/** What one system did in one operation. */
export type Figures = {
  /** Requests per second, one a round. */
  readonly rates: readonly number[]
  /** Their median. */
  readonly rate: number
  /** Microseconds per request, by process; medians over the rounds. */
  readonly cpu: Readonly<Record<string, number>>
  /** At 70 % of the peak, in milliseconds. */
  readonly steady: { readonly rate: number; readonly median: number; readonly p99: number } | null
}

/** How many times as much as the other; 1 is equal. */
export type Ratio = {
  readonly what: string
  readonly against: string
  /** Of the medians. */
  readonly ratio: number
  /** The lowest and the highest of the ratios round by round. */
  readonly spread: readonly [low: number, high: number]
  /** At least this much is wanted; null: nothing is promised. */
  readonly wanted: number | null
}

/** By operation and system. */
export type Compared = Readonly<Partial<Record<Operation, Readonly<Record<string, Figures>>>>>

export type Results = {
  readonly date: string
  readonly versions: Readonly<Record<string, string>>
  readonly machine: Readonly<Record<string, string | number>>
  readonly settings: Readonly<Record<string, string | number>>
  /** What each system is, in words. */
  readonly systems: Readonly<Record<string, string>>
  readonly operations: Compared
  readonly ratios: readonly Ratio[]
  /** Most resident memory in MB, by system and process. */
  readonly memory: Readonly<Record<string, Readonly<Record<string, number>>>>
  /** What could not be measured here, and why. */
  readonly skipped: readonly string[]
}

export const median = (values: readonly number[]): number => percentile(values, 0.5)

export function figures(slots: readonly Slot[], steady: Slot | null): Figures {
  const rates = slots.map(({ rate }) => rate)
  const names = Object.keys(slots[0]?.cpu ?? {})
  const cpu = names.map((name) => [name, median(slots.map((slot) => slot.cpu[name] ?? 0))] as const)
  return {
    rates,
    rate: median(rates),
    cpu: Object.fromEntries(cpu),
    steady: steady && { rate: steady.rate, median: steady.median, p99: steady.p99 },
  }
}

export function ratio(
  what: string,
  against: string,
  ours: readonly number[],
  theirs: readonly number[],
  wanted: number | null,
): Ratio {
  const each = ours.map((rate, round) => rate / (theirs[round] ?? Number.NaN))
  const spread = [Math.min(...each), Math.max(...each)] as const
  return { what, against, ratio: median(ours) / median(theirs), spread, wanted }
}

export const misses = ({ ratio, wanted }: Ratio): boolean => wanted !== null && !(ratio >= wanted)
