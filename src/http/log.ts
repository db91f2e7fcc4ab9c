import type { Context } from 'koa'
import { z } from 'zod'
import type { LoggedEvent, TransparencyLog } from '../app/ports/transparency-log.ts'
import { writeBundle } from '../transparency-log/entry-bundle.ts'
import { writeProofFile } from '../transparency-log/proof-file.ts'
import {
  bundlePath,
  parseBundlePath,
  parseTilePath,
  TILE_WIDTH,
} from '../transparency-log/tiles.ts'
import { type RecordAccess, visibleUser } from './audit-access.ts'
import type { Endpoint, routes } from './endpoint.ts'
import { HttpError } from './errors.ts'
import { id } from './fields.ts'
import { inPlace, places } from './places.ts'

const TEXT = 'text/plain'
const BYTES = 'application/octet-stream'

const bytes = z.string().meta({ format: 'binary' })

const checkpoint = {
  method: 'get',
  path: '/log/checkpoint',
  summary: 'How long the log is, and its root, signed',
  description:
    'The log of all events is a Merkle tree (RFC 6962) that is served as C2SP tlog-tiles describes. Its ' +
    'checkpoint is a signed note: origin, size and root, the signature of the log and those of its ' +
    'witnesses. Sizes above that of this one do not exist yet.',
  access: 'token',
  answers: {
    200: { description: 'A checkpoint (C2SP tlog-checkpoint)', type: TEXT, body: z.string() },
  },
  errors: ['checkpoint_not_found'],
} as const satisfies Endpoint

const key = {
  method: 'get',
  path: '/log/key',
  summary: 'The keys that sign the log',
  description:
    'As the log names them itself: keep them where you trust them, and compare. A second line is there ' +
    'while a key is being replaced.',
  access: 'token',
  answers: {
    200: {
      description: 'Verifier keys (C2SP signed-note), a line each',
      type: TEXT,
      body: z.string(),
    },
  },
  errors: ['checkpoint_not_found'],
} as const satisfies Endpoint

const entries = {
  method: 'get',
  path: '/log/tile/entries/*path',
  summary: 'What 256 leaves of the log are',
  description:
    'The access is recorded. Each entry after its length in two bytes, big-endian; it is ' +
    'canonical JSON: hash, position, stream_id and version of an event, or what a leaf covers of ' +
    'accesses and security events.',
  access: 'token',
  roles: ['auditor', 'admin'],
  params: {
    path: z
      .string()
      .transform((text, { addIssue }) => {
        const bundle = parseBundlePath(`entries/${text}`)
        if (bundle !== null) return bundle
        addIssue({ code: 'custom', message: 'must be a number such as x001/067 or x001/067.p/8' })
        return z.NEVER
      })
      .meta({ description: 'Number in groups of three digits, .p/ and width unless it is full' }),
  },
  answers: { 200: { description: 'An entry bundle (C2SP tlog-tiles)', type: BYTES, body: bytes } },
  errors: ['tile_not_found'],
} as const satisfies Endpoint

const tile = {
  method: 'get',
  path: '/log/tile/*path',
  summary: 'Up to 256 hashes of the log',
  description:
    'A full tile never changes. One that still grows can be asked for in every width that it had.',
  access: 'token',
  params: {
    path: z
      .string()
      .transform((text, { addIssue }) => {
        const found = parseTilePath(text)
        if (found !== null) return found
        const message = 'must be level and number, such as 0/x001/067 or 0/x001/067.p/8'
        addIssue({ code: 'custom', message })
        return z.NEVER
      })
      .meta({
        description: 'Level, number in groups of three digits, .p/ and width unless it is full',
      }),
  },
  answers: { 200: { description: '32 bytes for each hash', type: BYTES, body: bytes } },
  errors: ['tile_not_found'],
} as const satisfies Endpoint

const size = z
  .string()
  .regex(/^(?:0|[1-9]\d{0,15})$/, 'must be a whole number')
  .transform(Number)
  .refine(Number.isSafeInteger, 'must be at most 9007199254740991')

const consistency = {
  method: 'get',
  path: '/log/consistency',
  summary: 'That the log at one size extends the log at another',
  access: 'token',
  query: {
    from: size.meta({ description: 'The smaller size' }),
    to: size.meta({ description: 'The larger one' }),
  },
  answers: {
    200: {
      description:
        'The consistency proof of RFC 6962, 2.1.2; no hashes if from is 0 or the same as to',
      body: z.strictObject({
        from: z.int(),
        to: z.int(),
        hashes: z.array(z.string().meta({ description: 'base64' })),
      }),
    },
  },
  errors: ['size_not_found'],
} as const satisfies Endpoint

const proof = {
  method: 'get',
  path: '/audit/events/:position/proof',
  summary: 'That an event is in the log',
  description:
    'For the owner of the task, or the user whose event it is, and for auditors, whose access is recorded. ' +
    'A file that can be checked without this service (C2SP tlog-proof, .tlog-proof): index of the leaf, ' +
    'hashes, checkpoint; extra is the leaf’s entry, which names hash, position, stream and version of the ' +
    'event. Just after a write it waits up to 2 seconds for a checkpoint that covers the event.',
  access: 'token',
  params: { position: id.meta({ description: 'Place among all events' }) },
  answers: {
    200: {
      description: 'The proof',
      type: TEXT,
      body: z.string(),
      headers: { 'Content-Disposition': 'File name' },
    },
  },
  errors: ['event_not_found', 'proof_not_ready'],
} as const satisfies Endpoint

/** In the order in which paths are looked for. */
export const LOG_ENDPOINTS: readonly Endpoint[] = [
  checkpoint,
  key,
  entries,
  tile,
  consistency,
  proof,
] as readonly Endpoint[]

export type LogRoutes = {
  readonly log: TransparencyLog
  /** Records that an auditor has seen of others' events. */
  readonly look: RecordAccess
  /** How long a proof waits for its checkpoint, in milliseconds. @default 2 s */
  readonly proofMs?: number
}

const PROOF_MS = 2_000
const READING = { all: 16, each: 4, waiting: 100, ms: 5_000, retryAfter: 1 }
/** They mostly wait. */
const PROVING = { all: 64, each: 4, waiting: 20, ms: 5_000, retryAfter: 1 }

const FOREVER = 'max-age=31536000, immutable'
const MOMENT = 'max-age=1'

/** The log for those who check it: hashes are for everybody, entries are for auditors and for whom they concern. */
export function logRoutes(on: ReturnType<typeof routes>, dependencies: LogRoutes): void {
  const { log, look, proofMs = PROOF_MS } = dependencies
  const reading = places(READING)
  const proving = places(PROVING)

  on(checkpoint, async (_, ctx) => {
    const found = await log.checkpoint()
    if (found === null) throw new HttpError('checkpoint_not_found')
    ctx.set('Cache-Control', `public, ${MOMENT}`)
    answerText(ctx, found.note)
  })

  on(key, async (_, ctx) => {
    const keys = await log.verifierKeys()
    if (keys === null) throw new HttpError('checkpoint_not_found')
    ctx.set('Cache-Control', `public, ${MOMENT}`)
    answerText(ctx, keys)
  })

  on(entries, async ({ params: { path } }, ctx, caller) => {
    await look(ctx, caller, { log: bundlePath(path) })
    const found = await inPlace(reading, caller.user_id, () => log.entries(path))
    if (found === null) throw new HttpError('tile_not_found')
    ctx.set('Cache-Control', `private, ${lifeOf(path)}`)
    answerBytes(ctx, writeBundle(found.map((entry) => Buffer.from(entry))))
  })

  on(tile, async ({ params: { path } }, ctx, caller) => {
    const found = await inPlace(reading, caller.user_id, () => log.tile(path))
    if (found === null) throw new HttpError('tile_not_found')
    ctx.set('Cache-Control', `public, ${lifeOf(path)}`)
    answerBytes(ctx, found)
  })

  on(consistency, async ({ query: { from, to } }, ctx, caller) => {
    if (from > to) {
      const message = 'from must not be larger than to'
      throw new HttpError('validation_failed', { faults: [{ field: 'from', message }] })
    }
    const found = await inPlace(reading, caller.user_id, () => log.consistency(from, to))
    if (found === null) throw new HttpError('size_not_found')
    ctx.set('Cache-Control', `public, ${FOREVER}`)
    ctx.body = { from, to, hashes: found.map((hash) => hash.toString('base64')) }
  })

  on(proof, async ({ params: { position } }, ctx, caller) => {
    const found = await log.eventAt(position)
    const visible = visibleUser(caller)
    if (found === null || (visible !== null && visible !== found.owner_id)) {
      throw new HttpError('event_not_found')
    }
    const prove = async () => {
      return proofFile(log, found.logged ?? (await whenLogged(log, position, proofMs)))
    }
    const isOwn = found.owner_id === caller.user_id
    const [file] = await Promise.all([
      inPlace(proving, caller.user_id, prove),
      isOwn ? null : look(ctx, caller, { position, proof: true }),
    ])
    ctx.attachment(`tasktrail-event-${position}.tlog-proof`)
    answerText(ctx, file)
  })
}

/** Errors: `proof_not_ready`, and those of the log. */
async function whenLogged(
  log: TransparencyLog,
  position: number,
  ms: number,
): Promise<LoggedEvent> {
  const checkpoint = await log.checkpointAt(position, ms)
  if (checkpoint === null || checkpoint.position < position) {
    throw new HttpError('proof_not_ready', { retryAfter: 1 })
  }
  const found = await log.eventAt(position)
  if (!found?.logged) throw new Error(`no leaf of the log has position ${position}`)
  return found.logged
}

async function proofFile(
  log: TransparencyLog,
  { index, entry, checkpoint }: LoggedEvent,
): Promise<string> {
  const proof = await log.inclusion(index, checkpoint.size)
  return writeProofFile({ extra: Buffer.from(entry), index, proof, checkpoint: checkpoint.note })
}

const lifeOf = ({ width }: { readonly width: number }): string =>
  width === TILE_WIDTH ? FOREVER : MOMENT

function answerText(ctx: Context, text: string): void {
  ctx.type = TEXT
  ctx.body = text
}

function answerBytes(ctx: Context, body: Buffer): void {
  ctx.type = BYTES
  ctx.body = body
}
