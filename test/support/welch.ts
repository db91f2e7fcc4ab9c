/** The slowest are mostly the machine's, not the program's (as in dudect, Reparaz et al., 2017). */
const KEPT = [0.5, 0.75, 0.9, 0.95]

type Sample = readonly number[]

const mean = (values: Sample): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length

function variance(values: Sample): number {
  const middle = mean(values)
  const squares = values.reduce((sum, value) => sum + (value - middle) ** 2, 0)
  return squares / (values.length - 1)
}

/** Welch's t: how far two means are apart, in standard errors of their difference. */
export function welchT(one: Sample, other: Sample): number {
  const error = Math.sqrt(variance(one) / one.length + variance(other) / other.length)
  return (mean(one) - mean(other)) / error
}

/** Without the slowest of both together. `kept`: the share that stays. */
export function cropped(one: Sample, other: Sample, kept: number): readonly [Sample, Sample] {
  const all = [...one, ...other].toSorted((a, b) => a - b)
  const last = all[Math.ceil(all.length * kept) - 1] ?? 0
  const isKept = (value: number) => value <= last
  return [one.filter(isKept), other.filter(isKept)]
}

/** Welch's t that is furthest from 0, of half of both together to nearly all. */
export function furthestT(one: Sample, other: Sample): number {
  const all = KEPT.map((kept) => welchT(...cropped(one, other, kept)))
  return all.reduce((furthest, t) => (Math.abs(t) > Math.abs(furthest) ? t : furthest))
}

export const median = (values: Sample): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
