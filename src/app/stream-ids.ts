const KINDS: readonly string[] = ['task', 'user']
const DIGITS = 16
const CHUNK = 1_000

export type StreamIds = {
  readonly add: (stream_id: string) => void
  /** In the order of their UTF-8 bytes, which is that of PostgreSQL's collation "C". */
  readonly inOrder: () => Iterable<readonly string[]>
}

/**
 * A set of stream ids that takes eight bytes for each: an export of millions must not need hundreds of
 * megabytes. An id is kept as a number that sorts like its text: its kind, its digits padded with zeros,
 * and how many digits it had.
 */
export function streamIds(): StreamIds {
  let numbers = new BigUint64Array(CHUNK)
  let count = 0
  let isSorted = true

  const sort = () => {
    if (isSorted) return
    const sorted = numbers.subarray(0, count).sort()
    let kept = 0
    for (const number of sorted) {
      if (kept === 0 || sorted[kept - 1] !== number) sorted[kept++] = number
    }
    count = kept
    isSorted = true
  }

  return {
    add(stream_id) {
      const number = numberOf(stream_id)
      // An export has long runs of events of one stream.
      if (count > 0 && numbers[count - 1] === number) return
      if (count === numbers.length) {
        sort()
        if (count > numbers.length / 2) {
          const grown = new BigUint64Array(numbers.length * 2)
          grown.set(numbers.subarray(0, count))
          numbers = grown
        }
      }
      numbers[count++] = number
      isSorted = false
    },
    *inOrder() {
      sort()
      for (let from = 0; from < count; from += CHUNK) {
        yield Array.from(numbers.subarray(from, Math.min(count, from + CHUNK)), streamIdOf)
      }
    },
  }
}

function numberOf(stream_id: string): bigint {
  const [kind = '', digits = ''] = stream_id.split('-', 2)
  const place = KINDS.indexOf(kind)
  if (place === -1 || !/^[1-9]\d{0,15}$/.test(digits))
    throw new Error(`not a stream id: ${stream_id}`)
  return (BigInt(place) << 60n) | (BigInt(digits.padEnd(DIGITS, '0')) << 5n) | BigInt(digits.length)
}

function streamIdOf(number: bigint): string {
  const digits = ((number >> 5n) & ((1n << 55n) - 1n)).toString()
  return `${KINDS[Number(number >> 60n)]}-${digits.slice(0, Number(number & 31n))}`
}
