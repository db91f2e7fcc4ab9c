/** Names an object. What it is made of means the same in a URL, on a disk, in a policy and in XML. */
export type ObjectKey = string & { readonly __brand: 'ObjectKey' }

/** Begins the keys of a whole branch, and ends in `/`: `users/1/` is not the beginning of `users/12/a`. */
export type KeyPrefix = string & { readonly __brand: 'KeyPrefix' }

// Lower case, for disks that do not tell it from upper case. A leading dot would lead elsewhere, or hide.
const SEGMENT = /^[a-z0-9_-][a-z0-9._-]{0,99}$/
const MOST_SEGMENTS = 8

/** `photos`, `17`, `0193-…` becomes `photos/17/0193-…`. Error: a RangeError, for that is a fault of the caller. */
export function objectKey(...segments: readonly string[]): ObjectKey {
  const key = segments.join('/')
  if (!isObjectKey(key)) throw new RangeError(`${JSON.stringify(key)} is no key of an object.`)
  return key
}

/** Of all keys that begin with these segments. Error: a RangeError. */
export const keyPrefix = (...segments: readonly string[]): KeyPrefix =>
  `${objectKey(...segments)}/` as KeyPrefix

export function isObjectKey(text: string): text is ObjectKey {
  const segments = text.split('/')
  return segments.length <= MOST_SEGMENTS && segments.every((segment) => SEGMENT.test(segment))
}
