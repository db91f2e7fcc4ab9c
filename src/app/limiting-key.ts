/**
 * The key by which limits count an address. IPv4: the address, also when it is mapped into IPv6. IPv6: its
 * first 64 bits, because whoever has one address of such a network has all of them.
 */
export function limitingKey(address: string): string {
  if (!address.includes(':')) return address
  const groups = groupsOf(address)
  const [high = 0, low = 0] = groups.slice(6)
  if (groups.slice(0, 6).join(':') === '0:0:0:0:0:65535') {
    return [high >> 8, high & 255, low >> 8, low & 255].join('.')
  }
  return `${groups
    .slice(0, 4)
    .map((group) => group.toString(16))
    .join(':')}::/64`
}

/** The eight groups of an IPv6 address. The URL parser knows all of its notations. */
function groupsOf(address: string): readonly number[] {
  const [withoutZone] = address.split('%')
  const { hostname } = new URL(`http://[${withoutZone}]`)
  const [before = [], after = []] = hostname
    .slice(1, -1)
    .split('::')
    .map((part) => (part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16))))
  return [...before, ...Array(8 - before.length - after.length).fill(0), ...after]
}
