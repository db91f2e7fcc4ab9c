import type { Addresses } from './service-discovery.ts'

/**
 * Leaves an address that failed alone for `rest` ms if there is another: DNS keeps naming a dead instance
 * until its TTL expires. Then one call tries it, and the next only if that one succeeded.
 */
export function addressCooldowns(rest: number, now: () => number) {
  const restsUntil = new Map<string, number>()
  const fail = (address: string) => void restsUntil.set(address, now() + rest)
  const work = (address: string) => void restsUntil.delete(address)

  const pick = (addresses: Addresses): string => {
    for (const gone of restsUntil.keys()) if (!addresses.includes(gone)) work(gone)
    const awake = addresses.find((address) => (restsUntil.get(address) ?? 0) <= now())
    const picked = awake ?? addresses[0]
    if (restsUntil.has(picked)) fail(picked)
    return picked
  }
  return { pick, fail, work }
}
