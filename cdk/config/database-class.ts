// GiB of the size `large`; smaller and larger sizes are multiples of it.
const LARGE: Readonly<Record<string, number>> = { t: 8, m: 8, r: 16 }
const SHARE_OF_LARGE: Readonly<Record<string, number>> = {
  micro: 1 / 8,
  small: 1 / 4,
  medium: 1 / 2,
  large: 1,
  xlarge: 2,
}
/** The CPU credits that a class t earns in an hour. */
const CREDITS: Readonly<Record<string, number>> = {
  micro: 12,
  small: 24,
  medium: 24,
  large: 36,
  xlarge: 96,
  '2xlarge': 192,
}

const partsOf = (instanceType: string) => {
  const [, family = '', times = '', size = ''] =
    instanceType.match(/^([tmr])\d\w*\.(\d*)([a-z]+)$/) ?? []
  return { family, times, size }
}

/** Bytes, or undefined for a class other than t, m and r. */
export function memoryOf(instanceType: string): number | undefined {
  const { family, times, size } = partsOf(instanceType)
  const [large, share] = [LARGE[family], SHARE_OF_LARGE[size]]
  if (large === undefined || share === undefined) return undefined
  return large * share * Number(times || 1) * 2 ** 30
}

/** CPU credits that it earns in an hour, or undefined for a class without credits. */
export function creditsAnHour(instanceType: string): number | undefined {
  const { family, times, size } = partsOf(instanceType)
  return family === 't' ? CREDITS[times + size] : undefined
}

export function isOfAurora(instanceType: string): boolean {
  const { family, times, size } = partsOf(instanceType)
  return family === 'r' || (family === 't' && ['medium', 'large'].includes(times + size))
}
