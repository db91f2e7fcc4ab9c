const LONGEST = 40
const TRIES = 5

/** Names like one that somebody has elsewhere, or like what stands before the @ of an address; then with something after it. */
export function usernamesFor(like: string, newSecret: () => string): readonly string[] {
  const local = (like.split('@')[0] ?? '').replace(/[^A-Za-z0-9_.-]/g, '').slice(0, LONGEST)
  const name = local.length >= 3 ? local : `user-${local}`
  const another = () => `${name}-${newSecret().replace(/[_-]/g, '').slice(0, 6).toLowerCase()}`
  return [...(local.length >= 3 ? [name] : []), ...Array.from({ length: TRIES }, another)]
}
