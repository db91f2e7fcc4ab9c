import { createReadStream } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import {
  type ExportEvent,
  type ExportLine,
  eventOf,
  parse,
  type RecordsLine,
  requireSingleKeys,
  SHAPES,
  type Trailer,
} from './export-lines.ts'
import { Broken, type Place, placeOf, Unreadable } from './failures.ts'
import { faultInFilters } from './filters.ts'
import { faultIn, isObject } from './shapes.ts'
import { wrongFile } from './wrong-file.ts'

const NEWLINE = 10
const CHUNK = 65_536
/** Enough to recognise a file that is not an export. */
const HEAD = 4_096

const UTF_8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Without a byte order mark at the beginning of the file, and without the line ending. */
function textOf(bytes: Buffer, what: string): string {
  try {
    return UTF_8.decode(bytes)
      .replace(/^\uFEFF/, '')
      .trimEnd()
  } catch {
    throw new Unreadable(
      `${what} is not UTF-8: the file was saved in another encoding, or it is damaged.`,
    )
  }
}

type NumberedLine = readonly [number: number, text: string]

/** Lines that are not blank, some at a time. Only a newline ends one: a title may contain other line breaks. */
async function* linesOf(file: string): AsyncGenerator<readonly NumberedLine[]> {
  let number = 0
  let begun: Buffer[] = []
  const line = (end: Buffer): NumberedLine => {
    const bytes = begun.length === 0 ? end : Buffer.concat([...begun, end])
    begun = []
    number++
    return [number, textOf(bytes, `Line ${number}`)]
  }
  for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) {
    const lines: NumberedLine[] = []
    let start = 0
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      lines.push(line(chunk.subarray(start, end)))
      start = end + 1
    }
    if (start < chunk.length) begun.push(chunk.subarray(start))
    yield lines.filter(([, text]) => text !== '')
  }
  yield [line(Buffer.alloc(0))].filter(([, text]) => text !== '')
}

/** All lines but the last, the trailer, which has been read already and may be long. */
export async function* readLines(file: string): AsyncGenerator<readonly NumberedLine[]> {
  let last: readonly NumberedLine[] = []
  for await (const lines of linesOf(file)) {
    const all = [...last, ...lines]
    last = all.splice(-1)
    yield all
  }
}

/** Error: `Broken`, `Unreadable`. */
export function readLine([number, text]: NumberedLine): ExportEvent | RecordsLine {
  const line = parse(text)
  if (line === undefined) throw new Unreadable(`Line ${number} is not a line of an NDJSON export.`)
  return isObject(line) && Object.hasOwn(line, 'records')
    ? recordsIn(text, line, number)
    : eventIn(text, line, number)
}

/** Error: `Broken`. */
export function eventIn(text: string, line: unknown, number: number): ExportEvent {
  if (isObject(line) && line.stored === null) {
    const { task_id, version, position } = line
    const stream_id = task_id === null ? 'A user' : `task-${task_id}`
    const place = { stream_id, version: Number(version), position: Number(position) }
    throw new Broken(place, 'is shown, but the exported log does not hold it.')
  }
  const fault = faultIn(SHAPES.line, line)
  if (fault !== null)
    throw new Broken(placeIn(line, number), `is not an event of an export: ${fault}.`)
  const event = eventOf(line as ExportLine)
  requireSingleKeys(text, line, placeOf(event))
  return event
}

function recordsIn(text: string, line: object, number: number): RecordsLine {
  const fault = faultIn(SHAPES.records, line)
  if (fault !== null) {
    throw new Broken({ line: number }, `is not the line of accesses and security events: ${fault}.`)
  }
  const records = line as RecordsLine
  requireSingleKeys(text, line, { leaf: records.leaf })
  return records
}

/** The event of a line, if the line names it. */
function placeIn(line: unknown, number: number): Place {
  const { version, position, stored } = isObject(line) ? line : {}
  const { stream_id } = isObject(stored) ? stored : {}
  const isEvent =
    typeof stream_id === 'string' && Number.isSafeInteger(version) && Number.isSafeInteger(position)
  return isEvent
    ? { stream_id, version: Number(version), position: Number(position) }
    : { line: number }
}

/** Reads the trailer, the last line, before the first one: the checks need it. Error: `Unreadable`. */
export async function readTrailer(file: string): Promise<Trailer> {
  const unreadable = (error: NodeJS.ErrnoException) => {
    if (error.code === undefined) throw error
    throw new Unreadable(`${file} cannot be read (${error.code}).`)
  }
  const handle = await open(file).catch(unreadable)
  try {
    const size = await sizeOfExport(file, handle)
    const text = textOf(await lastLine(handle, size), 'Its last line')
    if (text === '') throw new Unreadable(`${file} is empty.`)
    const line = parse(text)
    if (!isObject(line) || !Object.hasOwn(line, 'trailer')) {
      throw new Unreadable(`${file} is cut off: its last line is not the trailer.`)
    }
    return trailerIn(text, line)
  } catch (error) {
    return unreadable(error as NodeJS.ErrnoException)
  } finally {
    await handle.close()
  }
}

/** Refuses a file whose beginning shows that it is something else. */
async function sizeOfExport(file: string, handle: FileHandle): Promise<number> {
  const stat = await handle.stat()
  // For a directory the read itself reports that.
  if (!stat.isFile() && !stat.isDirectory()) {
    throw new Unreadable(
      `${file} is not a regular file: an export is read twice, so save it first.`,
    )
  }
  const wrong = wrongFile(await bytesOf(handle, 0, Math.min(HEAD, stat.size)))
  if (wrong !== undefined) throw new Unreadable(`${file} ${wrong}`)
  return stat.size
}

/** The last line that is not blank; empty if there is none. */
async function lastLine(handle: FileHandle, size: number): Promise<Buffer> {
  for (let length = CHUNK; ; length *= 4) {
    const start = Math.max(0, size - length)
    const tail = await bytesOf(handle, start, size)
    const end = tail.toString('latin1').trimEnd().length
    const before = end === 0 ? -1 : tail.lastIndexOf(NEWLINE, end - 1)
    if (before !== -1 || start === 0) return tail.subarray(before + 1, end)
  }
}

async function bytesOf(handle: FileHandle, start: number, end: number): Promise<Buffer> {
  const bytes = Buffer.alloc(end - start)
  await handle.read(bytes, 0, bytes.length, start)
  return bytes
}

/** Its contents are printed, and decide what is required of the rest. */
function trailerIn(text: string, line: object): Trailer {
  requireSingleKeys(text, line, {})
  const fault = faultIn(SHAPES.trailer, line)?.replaceAll('trailer.', '') ?? null
  const { trailer } = line as { readonly trailer: Trailer }
  const why = fault ?? faultInFilters(trailer.query)
  if (why !== null) throw new Broken({}, `has a changed trailer: ${why}.`)
  return trailer
}
