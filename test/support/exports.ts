import { writeFile } from 'node:fs/promises'
import type { AuditEvent, StreamHead } from '../../src/app/ports/audit.ts'
import type { Recorded } from '../../src/app/ports/event-store.ts'
import type { TaskEvent } from '../../src/domain/task/events.ts'
import { auditEventOf } from '../../src/http/audit-schemas.ts'
import {
  decryptEvents,
  isEncrypted,
  TEXT_FIELDS,
} from '../../src/infra/encryption/encrypted-texts.ts'
import { textKey } from '../../src/infra/encryption/text-cipher.ts'
import { headDigest } from '../../src/infra/postgres/audit/seal-signer.ts'
import type { Seal } from '../../src/verifier/formats.ts'
import { historiesOf } from './histories.ts'
import type { SealedLog } from './sealed-log.ts'

type Change = { from: unknown; to: unknown }

/** A line of an export, to be forged. */
export type Line = ReturnType<typeof auditEventOf> & {
  changes: Record<string, Change>
  stored: {
    stream_id: string
    event_id: string
    schema_version: number
    data: Record<string, unknown>
    metadata: Record<string, unknown>
    prev_hash: string | null
  }
  text_keys: Record<string, string>
}

export type Trailer = {
  count: number
  position: number
  exported_at: string
  exported_by: number
  query: Record<string, unknown>
  parked: [string, number][]
  heads: [string, number, string][]
  seals: (Omit<Seal, 'heads'> & { heads: (StreamHead | string)[] })[]
}

export type Export = { lines: Line[]; trailer: Trailer }

const SEALS = `
  select number, position, events, encode(events_digest, 'hex') as events_digest, heads, sealed_at,
    encode(previous, 'hex') as previous, encode(hash, 'hex') as hash, key_id,
    encode(signature, 'hex') as signature, encode(records_digest, 'hex') as records_digest
  from seals order by number`

/** What an export holds of those events that `isAsked`; as the service writes it. */
export async function exportOf(
  log: SealedLog,
  query: Record<string, unknown> = {},
  isAsked: (event: AuditEvent) => boolean = () => true,
): Promise<Export> {
  const stored = await log.stored.readAll(0, 10_000)
  const shown = historiesOf(await decryptEvents(stored, log.keys))
  const lines: Line[] = []
  for (const [index, event] of shown.entries()) {
    const row = stored[index]
    if (row !== undefined && isAsked(event)) lines.push(await lineOf(log, event, row))
  }
  const ids = new Set(lines.map((line) => line.stored.stream_id))
  const heads = new Map<string, [string, number, string]>()
  for (const { stream_id, version, hash } of stored) {
    if (ids.has(stream_id)) heads.set(stream_id, [stream_id, version, hash])
  }
  const { rows } = await log.root.query(SEALS)
  const seals = (rows as Trailer['seals'])
    .map((seal) => ({
      ...seal,
      heads: (seal.heads as StreamHead[]).map((head) =>
        ids.has(head[0]) ? head : headDigest(head).toString('hex'),
      ),
    }))
    .filter(({ heads }) => heads.some((head) => typeof head !== 'string'))
  const trailer: Trailer = {
    count: lines.length,
    position: stored.at(-1)?.position ?? 0,
    exported_at: '2026-11-24T12:00:00.000Z',
    exported_by: 1,
    query,
    parked: [],
    heads: [...heads.values()].sort(([a], [b]) => (a < b ? -1 : 1)),
    seals,
  }
  return { lines, trailer }
}

async function lineOf(
  { keys }: SealedLog,
  event: AuditEvent,
  row: Recorded<TaskEvent>,
): Promise<Line> {
  const { stream_id, event_id, schema_version, data, metadata, prev_hash } = row
  const text_keys: Record<string, string> = {}
  for (const field of TEXT_FIELDS) {
    const text: unknown = Reflect.get(data, field)
    const key = isEncrypted(text) && (await keys.find([text.user])).get(text.user)
    if (isEncrypted(text) && key) text_keys[field] = textKey(key, text).toString('base64url')
  }
  const line = {
    ...auditEventOf(event),
    stored: { stream_id, event_id, schema_version, data, metadata, prev_hash },
    text_keys,
  }
  return structuredClone(line) as Line
}

export const textOf = ({ lines, trailer }: Export): string =>
  [...lines, { trailer }].map((line) => `${JSON.stringify(line)}\n`).join('')

export const writeExport = (file: string, made: Export): Promise<void> =>
  writeFile(file, textOf(made))
