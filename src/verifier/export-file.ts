import { createReadStream } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import {
  type ExportEvent,
  type ExportLine,
  eventOf,
  faultInLine,
  faultInSeal,
  faultInTrailer,
  parse,
  requireFields,
  requireSingleKeys,
  SEAL,
  TRAILER,
  type Trailer,
} from './export-lines.ts'
import { Broken, type Place, placeOf, Unreadable } from './failures.ts'
import { requireFilters } from './filters.ts'
import { isObject } from './shapes.ts'
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

/** Lines that are not blank, by number. Only a newline ends one: a title may contain other line breaks. */
async function* linesOf(file: string): AsyncGenerator<readonly [number: number, text: string]> {
  let number = 0
  let begun: Buffer[] = []
  const line = (end: Buffer): readonly [number, string] => {
    const bytes = begun.length === 0 ? end : Buffer.concat([...begun, end])
    begun = []
    number++
    return [number, textOf(bytes, `Line ${number}`)]
  }
  for await (const chunk of createReadStream(file) as AsyncIterable<Buffer>) {
    let start = 0
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      const [at, text] = line(chunk.subarray(start, end))
      if (text !== '') yield [at, text]
      start = end + 1
    }
    if (start < chunk.length) begun.push(chunk.subarray(start))
  }
  const [at, text] = line(Buffer.alloc(0))
  if (text !== '') yield [at, text]
}

/** All lines but the last, the trailer, which has been read already and may be long. */
export async function* readEvents(file: string): AsyncGenerator<readonly ExportEvent[]> {
  let before: readonly [number: number, text: string] | undefined
  for await (const line of linesOf(file)) {
    if (before !== undefined) yield [readEvent(...before)]
    before = line
  }
}

function readEvent(number: number, text: string): ExportEvent {
  const line = parse(text)
  if (line === undefined) throw new Unreadable(`Line ${number} is not a line of an NDJSON export.`)
  if (isObject(line) && line.stored === null) {
    const { task_id, version, position } = line
    const stream_id = task_id === null ? 'A user' : `task-${task_id}`
    const place = { stream_id, version: Number(version), position: Number(position) }
    throw new Broken(place, 'is shown, but the exported log does not hold it.')
  }
  const fault = faultInLine(line)
  if (fault !== null)
    throw new Broken(placeIn(line, number), `is not an event of an export: ${fault}.`)
  const event = eventOf(line as ExportLine)
  requireSingleKeys(text, line, placeOf(event))
  return event
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
    const end = await requireExport(file, handle)
    const text = textOf(await lastLine(handle, end), 'Its last line')
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

/** Refuses a file whose beginning shows that it is something else; returns where its last line ends. */
async function requireExport(file: string, handle: FileHandle): Promise<number> {
  const stat = await handle.stat()
  // For a directory the read itself reports that.
  if (!stat.isFile() && !stat.isDirectory()) {
    throw new Unreadable(
      `${file} is not a regular file: an export is read twice, so save it first.`,
    )
  }
  const head = Buffer.alloc(HEAD)
  const { bytesRead } = await handle.read(head, 0, HEAD, 0)
  const end = await contentEnd(handle, stat.size)
  if (end === 0) throw new Unreadable(`${file} is empty.`)
  const wrong = wrongFile(head.subarray(0, bytesRead))
  if (wrong !== undefined) throw new Unreadable(`${file} ${wrong}`)
  return end
}

/** Where the last line that is not blank ends. */
async function contentEnd(handle: FileHandle, size: number): Promise<number> {
  for (let end = size; end > 0; end -= CHUNK) {
    const start = Math.max(0, end - CHUNK)
    const text = (await bytesOf(handle, start, end)).toString('latin1').trimEnd()
    if (text !== '') return start + text.length
  }
  return 0
}

async function lastLine(handle: FileHandle, lineEnd: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  for (let end = lineEnd; end > 0; end -= CHUNK) {
    const chunk = await bytesOf(handle, Math.max(0, end - CHUNK), end)
    const before = chunk.lastIndexOf(NEWLINE)
    chunks.unshift(chunk.subarray(before + 1))
    if (before !== -1) break
  }
  return Buffer.concat(chunks)
}

async function bytesOf(handle: FileHandle, start: number, end: number): Promise<Buffer> {
  const bytes = Buffer.alloc(end - start)
  await handle.read(bytes, 0, bytes.length, start)
  return bytes
}

/** Its contents are printed, and decide what is required of the rest. */
function trailerIn(text: string, line: Readonly<Record<string, unknown>>): Trailer {
  const broken = (why: string) => new Broken({}, `has a changed trailer: ${why}.`)
  requireSingleKeys(text, line, {})
  requireFields(line, ['trailer'], broken)
  const fault = faultInTrailer(line.trailer)
  if (fault !== null) throw broken(fault)
  const trailer = line.trailer as Trailer
  requireFields(trailer, Object.keys(TRAILER), broken)
  requireFilters(trailer.query, broken)
  for (const seal of trailer.seals) {
    const fault = faultInSeal(seal)
    if (fault !== null && Number.isSafeInteger(seal.number)) {
      throw new Broken({ seal: seal.number }, `is changed: ${fault}.`)
    }
    if (fault !== null) throw broken(`a seal is malformed: ${fault}`)
    requireFields(seal, Object.keys(SEAL), broken)
  }
  return trailer
}
