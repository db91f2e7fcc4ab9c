import { parse } from './export-lines.ts'
import { isObject } from './shapes.ts'

const COMPRESSED: Readonly<Record<string, readonly number[]>> = {
  gzip: [0x1f, 0x8b],
  zstd: [0x28, 0xb5, 0x2f, 0xfd],
  zip: [0x50, 0x4b, 0x03, 0x04],
  bzip2: [0x42, 0x5a, 0x68],
  xz: [0xfd, 0x37, 0x7a, 0x58, 0x5a],
}

// Recognised by the byte order mark, or by the zero bytes around the first letter. UTF-32 begins as UTF-16
// does.
const ENCODED: Readonly<Record<string, readonly (readonly number[])[]>> = {
  'UTF-32': [
    [0xff, 0xfe, 0, 0],
    [0, 0, 0xfe, 0xff],
  ],
  'UTF-16': [
    [0xff, 0xfe],
    [0xfe, 0xff],
    [0x7b, 0],
    [0, 0x7b],
  ],
}

const AGAIN = 'export it again with "Accept: application/x-ndjson"'

/** Why a file that begins like this is not an export; undefined if it may be one. */
export function wrongFile(head: Buffer): string | undefined {
  const begins = (bytes: readonly number[]) => bytes.every((byte, index) => head[index] === byte)
  for (const [name, bytes] of Object.entries(COMPRESSED)) {
    if (begins(bytes)) return `is compressed with ${name}: unpack it first.`
  }
  for (const [name, marks] of Object.entries(ENCODED)) {
    if (marks.some(begins)) {
      return (
        `is encoded in ${name}, as ">" in Windows PowerShell writes it: save the answer unchanged ` +
        '(curl --output), in UTF-8.'
      )
    }
  }
  return wrongText(
    head
      .toString()
      .replace(/^\uFEFF/, '')
      .trimStart(),
  )
}

function wrongText(text: string): string | undefined {
  if (/^("?position"?)[,;\t]/.test(text)) {
    return `is not an NDJSON export. A CSV export cannot be verified: ${AGAIN}.`
  }
  if (text.startsWith('<')) {
    return `is a page of HTML or XML, not an export: something answered in the service's place.`
  }
  if (/^\{\s*"events"\s*:/.test(text)) return `is a page of JSON, not an export: ${AGAIN}.`
  if (/^\{\s*"(error|title|status|code|message)"\s*:/.test(text) || isProblem(text)) {
    return `is not an export but a refusal of one${reasonIn(text)}.`
  }
  if (text !== '' && !text.startsWith('{'))
    return `is not an NDJSON export: it does not begin with "{".`
  return undefined
}

/** RFC 9457; an event has a type too, but that is not a URI. */
const isProblem = (text: string): boolean => /^\{\s*"type"\s*:\s*"(about:|https?:|\/)/.test(text)

function reasonIn(text: string): string {
  const answer = parse(text)
  if (!isObject(answer)) return ''
  const reason = answer.message ?? answer.detail ?? answer.error ?? answer.title
  return typeof reason === 'string' ? `: "${reason}"` : ''
}
