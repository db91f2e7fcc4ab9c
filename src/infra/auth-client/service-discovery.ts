import type { LookupAddress } from 'node:dns'
import { Resolver, lookup as systemLookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import type { Log } from '../../app/ports/process.ts'

export type Addresses = readonly [string, ...string[]]

/**
 * The addresses of all instances behind a host name (IPv6 without brackets), at least one. Each call begins
 * with the next one. Rejects if there is no instance or DNS has never answered.
 */
export type Discovery = (hostname: string) => Promise<Addresses>

type Answer = { readonly addresses: Addresses; readonly until: number }
type Host = { turn: number; answer: Answer | undefined; query: Promise<Answer> | undefined }

type Lookup = (name: string, options: { all: true }) => Promise<readonly LookupAddress[]>

const MAX_AGE = 10_000
const STALE_AGE = 1000

/**
 * Two attempts. Node checks c-ares' timeouts so coarsely that these take 450 to 600 ms (measured; 300 ms
 * each would take 900 to 1200), which leaves time to call with the stale answer.
 */
export const RESOLVER_LIMITS = { timeout: 150, maxTimeout: 150, tries: 2 }

const codeOf = (error: unknown): unknown => (error as { code?: unknown } | null)?.code
const isLocalhost = (name: string): boolean => /(^|\.)localhost\.?$/i.test(name)
/** The name server says that the name does not exist or has no address. */
const saysNone = (error: unknown): boolean => /^(ENOTFOUND|ENODATA)$/.test(String(codeOf(error)))
/** Then /etc/hosts may have it; a refused connection means that there is no name server. */
const mayBeLocal = (error: unknown): boolean => saysNone(error) || codeOf(error) === 'ECONNREFUSED'

/** Sorted, because name servers shuffle their records, which must not disturb the rotation. */
function addressList(addresses: readonly string[]): Addresses {
  const sorted = [...new Set(addresses)].sort()
  if (sorted.length > 0) return sorted as [string, ...string[]]
  throw Object.assign(new Error('the answer holds no address'), { code: 'ENODATA' })
}

const rotated = (addresses: Addresses, turn: number): Addresses => {
  const first = turn % addresses.length
  return [...addresses.slice(first), ...addresses.slice(0, first)] as [string, ...string[]]
}

/** A records are cached for their TTL, 10 s at most; see `Discovery`. */
export function serviceDiscovery({
  log,
  resolver = new Resolver(RESOLVER_LIMITS),
  lookup = systemLookup,
  now = () => performance.now(),
}: {
  readonly log: Log
  readonly resolver?: Pick<Resolver, 'resolve4'>
  readonly lookup?: Lookup
  /** Milliseconds. */
  readonly now?: () => number
}): Discovery {
  const hosts = new Map<string, Host>()

  async function fromDns(name: string, asked: number): Promise<Answer> {
    const records = await resolver.resolve4(name, { ttl: true })
    const addresses = addressList(records.map((record) => record.address))
    const ttl = Math.min(...records.map((record) => record.ttl)) * 1000
    return { addresses, until: asked + Math.min(ttl, MAX_AGE) }
  }

  // Only IPv4 if there is any: the services listen on 0.0.0.0, and localhost is ::1 too.
  async function fromSystem(name: string, asked: number): Promise<Answer> {
    const found = await lookup(name, { all: true })
    const v4 = found.filter((entry) => entry.family === 4)
    const addresses = addressList((v4.length > 0 ? v4 : found).map((entry) => entry.address))
    return { addresses, until: asked + MAX_AGE }
  }

  async function ask(name: string): Promise<Answer> {
    const asked = now()
    if (isLocalhost(name)) return fromSystem(name, asked)
    return fromDns(name, asked).catch((error) => {
      if (!mayBeLocal(error)) throw error
      return fromSystem(name, asked).catch(() => Promise.reject(error))
    })
  }

  // While DNS fails, the last answer is used, and DNS is asked again once a second. If DNS says that there
  // is no instance, it is not: another machine may get the address, and with it tokens and our key.
  async function refresh(name: string, host: Host): Promise<Answer> {
    const stale = host.answer
    host.answer = undefined
    try {
      host.answer = await ask(name)
    } catch (error) {
      if (stale === undefined || saysNone(error)) throw error
      log.warn({ hostname: name, code: codeOf(error) }, 'DNS fails, using its last answer')
      host.answer = { addresses: stale.addresses, until: now() + STALE_AGE }
    }
    return host.answer
  }

  function answerOf(name: string, host: Host): Promise<Answer> | Answer {
    if (host.answer !== undefined && now() < host.answer.until) return host.answer
    host.query ??= refresh(name, host).finally(() => {
      host.query = undefined
    })
    return host.query
  }

  return async (hostname) => {
    const literal = hostname.replace(/^\[(.*)\]$/, '$1')
    if (isIP(literal) !== 0) return [literal]
    const host = hosts.get(hostname) ?? { turn: 0, answer: undefined, query: undefined }
    hosts.set(hostname, host)
    const { addresses } = await answerOf(hostname, host)
    return rotated(addresses, host.turn++)
  }
}
