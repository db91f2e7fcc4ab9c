import { LRUCache } from 'lru-cache'
import { decryptText, type EncryptedText, type TextPlace, textKey } from './text-cipher.ts'

// What was decrypted lately is likely to be read again, and decrypting costs more than everything else that
// a read does to a text. Kept by the very key, text and place that decrypted it: whoever has not the key at
// hand gets nothing. Bounded in characters, for every user together.
const KEPT = { maxSize: 2_000_000, ttl: 5 * 60_000 }
/** A longer text would push out many others. */
const LONGEST = 2_000

const kept = new LRUCache<string, string>({
  ...KEPT,
  sizeCalculation: (text, name) => text.length + name.length,
})
const numbers = new WeakMap<Buffer, number>()
let lastNumber = 0

/** Throws if it is not the text that was encrypted in this place with this key. */
export function decryptedText(dataKey: Buffer, text: EncryptedText, place: TextPlace): string {
  const { cipher } = text
  if (cipher.length > LONGEST) return decryptText(textKey(dataKey, text), text, place)
  const number = numbers.get(dataKey) ?? ++lastNumber
  numbers.set(dataKey, number)
  const name = `${number} ${place.stream_id} ${place.field} ${cipher}`
  const known = kept.get(name)
  if (known !== undefined) return known
  const decrypted = decryptText(textKey(dataKey, text), text, place)
  kept.set(name, decrypted)
  return decrypted
}
