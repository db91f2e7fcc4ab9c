import { isUtf8 } from 'node:buffer'
import { createReadStream } from 'node:fs'
import { open, readFile } from 'node:fs/promises'
import { Unreadable } from './failures.ts'

/** Enough to recognise what a file is. */
const HEAD_BYTES = 1_024
/** No export has longer lines. */
const MOST_BYTES = 2 ** 26
const CHUNK_BYTES = 2 ** 18
const NEWLINE = 0x0a

/** In hexadecimal digits, how files begin that are to be unpacked first. */
const COMPRESSED = { gzip: '1f8b', zstd: '28b52ffd', zip: '504b0304' }
const AGAIN = 'export again with "Accept: application/x-ndjson"'
/** How texts begin that are something else. */
const WRONG: readonly (readonly [begins: RegExp, is: string])[] = [
  [
    /^(\xff\xfe|\xfe\xff)|^.{0,1}\0/,
    'is encoded in UTF-16, as ">" in Windows PowerShell writes it: save the answer unchanged, in UTF-8',
  ],
  [/^(\xef\xbb\xbf)?"?(position|id)"?[,;\t]/, `is CSV, which cannot be verified: ${AGAIN}`],
  [/^\s*</, 'is a page of HTML: something answered in place of the service'],
  [/^\{\s*"(events|security_events|accesses)"/, `is a page of JSON: ${AGAIN}`],
  [/^\{\s*"(error|title|status|code|message|type)"/, 'is an error message, not an export: read it'],
]

/** By its beginning; whatever else it may be is checked as an export. Error: `Unreadable`. */
export async function kindOf(file: string): Promise<'export' | 'records' | 'proof' | 'checkpoint'> {
  const head = await beginningOf(file).catch(rethrow(file))
  for (const [name, begins] of Object.entries(COMPRESSED)) {
    if (!head.toString('hex').startsWith(begins)) continue
    throw new Unreadable(`${file} is compressed with ${name}: unpack it first.`)
  }
  const [, wrong] = WRONG.find(([begins]) => begins.test(head.toString('latin1'))) ?? []
  if (wrong !== undefined) throw new Unreadable(`${file} ${wrong}.`)
  const text = head.toString()
  if (text.startsWith('c2sp.org/tlog-proof@')) return 'proof'
  if (/^\uFEFF?\{"(trailer":\{")?table":/.test(text)) return 'records'
  return /\n\n\u2014 /.test(text) ? 'checkpoint' : 'export'
}

async function beginningOf(file: string): Promise<Buffer> {
  const handle = await open(file)
  try {
    const stat = await handle.stat()
    if (stat.isFIFO()) throw new Unreadable(`${file} is not a file: save it first.`)
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0)
    return buffer.subarray(0, bytesRead)
  } finally {
    await handle.close()
  }
}

/** `what`: what it is, as a sentence begins. Error: `Unreadable`. */
export const textIn = (file: string, what: string): Promise<string> =>
  readFile(file, 'utf8').catch(rethrow(`${what} ${file}`))

/** What reading failed with, in a sentence. */
const rethrow = (what: string) => (error: NodeJS.ErrnoException) => {
  throw error.syscall === undefined
    ? error
    : new Unreadable(`${what} cannot be read (${error.code}).`)
}

/**
 * Some lines at a time, without byte order mark, line endings and blanks behind them. Only a newline ends one: a
 * title may contain other line breaks. Error: `Unreadable`.
 */
export async function* linesOf(file: string): AsyncGenerator<readonly string[]> {
  const textOf = (bytes: Buffer) => {
    if (isUtf8(bytes)) return bytes.toString()
    const why = 'it was saved in another encoding, or it is damaged'
    throw new Unreadable(`${file} is not UTF-8: ${why}.`)
  }
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of createReadStream(file, { highWaterMark: CHUNK_BYTES })) {
    const bytes = Buffer.concat([rest, chunk])
    const end = bytes.lastIndexOf(NEWLINE) + 1
    rest = bytes.subarray(end)
    if (rest.length > MOST_BYTES) throw new Unreadable(`${file} has a line that is too long.`)
    if (end > 0)
      yield textOf(bytes.subarray(0, end - 1))
        .split('\n')
        .map(trimmed)
  }
  yield [trimmed(textOf(rest))]
}

const trimmed = (line: string): string => line.replace(/^\uFEFF/, '').trimEnd()

/** Undefined: not JSON. */
export function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

export const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
