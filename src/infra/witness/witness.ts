import { Mutex } from 'async-mutex'
import type { Log } from '../../app/ports/process.ts'
import type { Witness, WitnessAnswer } from '../../app/ports/witness.ts'
import { readAddCheckpoint } from '../../transparency-log/add-checkpoint.ts'
import { type Checkpoint, parseCheckpoint } from '../../transparency-log/checkpoint.ts'
import { type NoteSigners, names, type VerifierKey } from '../../transparency-log/keys.ts'
import { utf8 } from '../../transparency-log/lines.ts'
import { signatureLine } from '../../transparency-log/signature-line.ts'
import {
  type Note,
  readNote,
  signersAfter,
  verifiedBy,
  writeNote,
} from '../../transparency-log/signed-note.ts'
import { EMPTY_ROOT, isConsistent } from '../../transparency-log/tree.ts'
import type { CheckpointFiles } from './checkpoint-files.ts'

/** What is stored is not what this witness has cosigned. The message is one sentence. */
export class StoreRefused extends Error {}

/** A log, and how far it was when this witness last cosigned it. */
type KnownLog = {
  readonly origin: string
  /** More than one while a key is being replaced. */
  readonly keys: readonly VerifierKey[]
  readonly turn: Mutex
  last: Last
}

type Last = Pick<Checkpoint, 'size' | 'root'> & {
  /** As it is stored; null: nothing is. */
  readonly note: string | null
}

export type WitnessOptions = {
  readonly files: CheckpointFiles
  /** Of the logs that it cosigns; the name of a key is the origin of its log. */
  readonly logKeys: readonly VerifierKey[]
  /** A previous one cosigns a log as long as it has cosigned what is stored of that log. */
  readonly signers: NoteSigners
  readonly log: Log
}

/**
 * Reads what it has cosigned before. Error: `StoreRefused`: a file that is there is never taken for none, for then
 * it would cosign a log that was rolled back.
 */
export async function openWitness(options: WitnessOptions): Promise<Witness> {
  const { files, logKeys, signers, log } = options
  const logs = new Map<string, KnownLog>()
  for (const [origin, keys] of Map.groupBy(logKeys, ({ name }) => name)) {
    const last = await lastCosigned(files, origin, signers)
    logs.set(origin, { origin, keys, turn: new Mutex(), last })
  }
  const stored = [...logs.values()].map(({ last }) => last.note)

  const cosign = async (known: KnownLog, { note, next }: Submitted): Promise<WitnessAnswer> => {
    const signing = signersAfter([known.last.note], signers)
    const own = await Promise.all(signing.map(({ sign }) => sign(note.text)))
    const theirs = note.signatures.filter((line) => known.keys.some((key) => names(line, key)))
    const cosigned = writeNote(note.text, [...theirs.map(signatureLine), ...own])
    await files.replace(known.origin, known.last.note, cosigned)
    known.last = { ...next, note: cosigned }
    return { outcome: 'cosigned', signatures: own.join('') }
  }

  const judge = async (known: KnownLog, submitted: Submitted): Promise<WitnessAnswer> => {
    const { old, proof, next } = submitted
    const { size, root } = known.last
    if (old !== size) return { outcome: 'conflict', size }
    const claim = { from: size, fromRoot: root, to: next.size, toRoot: next.root, proof }
    if (isConsistent(claim)) return cosign(known, submitted)
    // The log's signature is part of it: this line can be shown to others.
    const facts = { origin: known.origin, size, root: root.toString('base64') }
    log.error(
      { ...facts, note: submitted.note.text, signatures: linesOf(submitted.note) },
      'a checkpoint does not extend the last one',
    )
    if (next.size === size && !next.root.equals(root)) return { outcome: 'conflict', size }
    return { outcome: 'not_consistent' }
  }

  return {
    keys: signersAfter(stored, signers).map(({ key }) => key.text),
    logs: () => [...logs.values()].map(({ origin, last }) => ({ origin, size: last.size })),
    async addCheckpoint(request) {
      const submitted = read(request)
      if (submitted === null) return { outcome: 'malformed' }
      const known = logs.get(submitted.next.origin)
      if (known === undefined) return { outcome: 'unknown_log' }
      if (!verifiedBy(submitted.note, known.keys)?.length) return { outcome: 'not_signed' }
      if (submitted.old > submitted.next.size) return { outcome: 'malformed' }
      // In turn: two that extend the same checkpoint may contradict each other.
      return known.turn.runExclusive(() => judge(known, submitted))
    },
  }
}

type Submitted = {
  readonly old: number
  readonly proof: readonly Buffer[]
  readonly note: Note
  readonly next: Checkpoint
}

function read(request: Uint8Array): Submitted | null {
  const parts = readAddCheckpoint(utf8(request) ?? '')
  const note = parts && readNote(parts.note)
  const next = note && parseCheckpoint(note.text)
  return next ? { old: parts.old, proof: parts.proof, note, next } : null
}

const linesOf = ({ signatures }: Note): string => signatures.map(signatureLine).join('')

async function lastCosigned(
  { read, place }: CheckpointFiles,
  origin: string,
  signers: NoteSigners,
): Promise<Last> {
  const note = await read(origin)
  if (note === null) return { size: 0, root: EMPTY_ROOT, note }
  const text = readNote(note)?.text
  const last = text === undefined ? null : parseCheckpoint(text)
  const keys = signers.map(({ key }) => key)
  if (last?.origin === origin && verifiedBy(note, keys)?.length) return { ...last, note }
  throw new StoreRefused(
    `${place(origin)} is damaged, or this is not the WITNESS_KEY or WITNESS_NAME that it was cosigned with.`,
  )
}
