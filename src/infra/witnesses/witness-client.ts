import type { Log } from '../../app/ports/process.ts'
import { writeAddCheckpoint } from '../../transparency-log/add-checkpoint.ts'
import { names, type VerifierKey, verifies } from '../../transparency-log/keys.ts'
import { decimal } from '../../transparency-log/lines.ts'
import { signatureLine } from '../../transparency-log/signature-line.ts'
import { readNote } from '../../transparency-log/signed-note.ts'
import { post, type Response } from './post.ts'
import { WitnessContradicts } from './witness-contradicts.ts'

/** A checkpoint that the log has signed. */
export type Submission = {
  readonly note: string
  /** Leaves. */
  readonly size: number
  /** That it extends a smaller tree of the log. */
  readonly prove: (from: number) => Promise<readonly Buffer[]>
  /** When it is aborted, the answer comes too late. */
  readonly signal: AbortSignal
}

export type WitnessClient = {
  readonly key: VerifierKey
  /** The witness's signature line; null: it is away, or refused for a reason of its own. Error: `WitnessContradicts`. */
  readonly submit: (submission: Submission) => Promise<string | null>
}

export type WitnessClientOptions = {
  readonly name: string
  readonly key: VerifierKey
  /** Of its submission prefix. */
  readonly url: string
  readonly log: Log
}

/** Remembers how far the witness is; 0 at first, which the witness corrects. */
export function witnessClient({ name, key, url, log }: WitnessClientOptions): WitnessClient {
  const target = `${url.replace(/\/+$/, '')}/add-checkpoint`
  let known = 0
  let trouble: string | null = null

  const send = async (old: number, { note, size, prove, signal }: Submission) => {
    const proof = old === 0 || old === size ? [] : await prove(old)
    signal.throwIfAborted()
    return post(target, writeAddCheckpoint({ old, proof, note }), signal)
  }

  const contradicts = (size: number, what: string) => new WitnessContradicts(name, size, what)

  /** Where the witness says to be, if that is not where we believed it. */
  const corrected = (answer: Response, old: number, size: number): number => {
    const stands = answer.type === 'text/x.tlog.size' ? sizeOf(answer.body) : null
    if (old === size && (stands === null || stands === size)) {
      throw contradicts(size, 'as many as this log has, but with another root')
    }
    if (stands === null || stands === old) throw new Error('it answered 409 without another size')
    if (stands > size) throw contradicts(stands, `but this log has ${size}`)
    if (stands < known)
      log.warn({ witness: name, known, stands }, 'a witness knows less than before')
    return stands
  }

  const ask = async (submission: Submission): Promise<string> => {
    const { note, size } = submission
    if (known > size) throw contradicts(known, `but this log has ${size}`)
    let answer = await send(known, submission)
    if (answer.status === 409) {
      known = corrected(answer, known, size)
      answer = await send(known, submission)
      if (answer.status === 409) known = corrected(answer, known, size)
    }
    if (answer.status === 422)
      throw contradicts(known, `and the ${size} of this log do not extend them`)
    if (answer.status !== 200) throw new Error(`it answered ${answer.status}`)
    const line = signatureIn(answer.body, note, key)
    if (line === null) throw new Error('what it answered is not its signature of this checkpoint')
    known = size
    return line
  }

  /** One line when it begins, not one for every checkpoint. */
  const report = (reason: string | null) => {
    if (reason === trouble) return
    trouble = reason
    if (reason === null) log.info({ witness: name }, 'a witness signs again')
    else log.warn({ witness: name, reason }, 'a witness does not sign')
  }

  return {
    key,
    async submit(submission) {
      try {
        const line = await ask(submission)
        report(null)
        return line
      } catch (error) {
        if (error instanceof WitnessContradicts) throw error
        report(error instanceof Error ? error.message : String(error))
        return null
      }
    },
  }
}

const sizeOf = (body: string): number | null =>
  body.endsWith('\n') ? decimal(body.slice(0, -1)) : null

/** The key's own line in an answer that may have lines of others; null unless it signs just this note. */
function signatureIn(answer: string, note: string, key: VerifierKey): string | null {
  const all = readNote(note + answer)
  const own = all?.signatures.find(
    (line) => names(line, key) && verifies(key, all.text, line.signature),
  )
  return own === undefined ? null : signatureLine(own)
}
