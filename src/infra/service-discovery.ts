import { lookup as systemLookup, Resolver } from 'node:dns/promises'
import { isIP } from 'node:net'
import type { Log } from '../app/ports.ts'

export type Addresses = readonly [string, ...string[]]

/**
 * The addresses of all instances behind a host name (IPv6 without brackets), never none, each call
 * beginning with the next one. Rejects when there is no instance or DNS never answered.
 */
export type Discovery = (hostname: string) => Promise<Addresses>

type Answer = { readonly addresses: Addresses; readonly until: number }
type Host = { turn: number; answer: Answer | undefined; query: Promise<Answer> | undefined }

const MAX_AGE = 10_000
const STALE_AGE = 1000

/** Two tries of 300 ms, so that a dead name server leaves time to call with the stale answer. */
const boundedResolver = () => new Resolver({ timeout: 300, tries: 2, maxTimeout: 300 })

const codeOf = (error: unknown): unknown => (error as { code?: unknown } | null)?.code
const isLocalhost = (name: string): boolean => /(^|\.)localhost\.?$/i.test(name)
/** The name server says that there is no such name or that it has no address. */
const saysNone = (error: unknown): boolean => /^(ENOTFOUND|ENODATA)$/.test(String(codeOf(error)))
/** Then /etc/hosts may know better; a refused connection means that there is no name server. */
const mayBeLocal = (error: unknown): boolean => saysNone(error) || codeOf(error) === 'ECONNREFUSED'

/** Sorted, because name servers shuffle their records and the rotation must not notice. */
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
  resolver = boundedResolver(),
  lookup = systemLookup,
  now = () => performance.now(),
}: {
  readonly log: Log
  readonly resolver?: Pick<Resolver, 'resolve4'>
  readonly lookup?: (name: string, options: { all: true }) => ReturnType<typeof bothFamilies>
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

  // IPv4 alone if there is any: the services listen on 0.0.0.0, and localhost is ::1 too.
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

  // While DNS fails the last answer stands, asked again once a second. When DNS says that there is
  // no instance it does not: another machine may get the address, and with it tokens and our key.
  async function refresh(name: string, stale: Answer | undefined): Promise<Answer> {
    try {
      return await ask(name)
    } catch (error) {
      if (stale === undefined || saysNone(error)) throw error
      log.warn({ hostname: name, code: codeOf(error) }, 'DNS fails, the last answer stands')
      return { addresses: stale.addresses, until: now() + STALE_AGE }
    }
  }

  async function answerOf(name: string, host: Host): Promise<Answer> {
    if (host.answer !== undefined && now() < host.answer.until) return host.answer
    host.query ??= refresh(name, host.answer).finally(() => {
      host.query = undefined
    })
    try {
      host.answer = await host.query
      return host.answer
    } catch (error) {
      host.answer = undefined
      throw error
    }
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
