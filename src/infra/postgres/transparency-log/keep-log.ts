import { WitnessContradicts } from '../../witnesses/witness-contradicts.ts'
import type { Witnesses } from '../../witnesses/witnesses.ts'
import type { LeaderSession } from '../connection/leader.ts'
import type { Logged, LogWriter, StoredCheckpoint, Session as WriterSession } from './log-writer.ts'

type Session = WriterSession & Pick<LeaderSession, 'over'>

export type LogKeeper = {
  /** Writes all that there is to write, and publishes it. Error: `CheckpointRefused`, or that of `cosign`. */
  readonly round: (session: Session) => Promise<void>
}

/**
 * Each time that it comes to lead, it signs nothing before enough witnesses have said that what is stored extends
 * what they know: a database that was put back to an earlier state looks like an honest one to a worker that has
 * just started. When one of them contradicts, it signs nothing before they have said so again.
 */
export function logKeeper(
  writer: LogWriter,
  witnesses: Witnesses | null,
  onLogged: (logged: Logged) => void,
): LogKeeper {
  /** Of the session in which they have said so. */
  let confirmed: AbortSignal | undefined
  /** What this process has signed, and not enough of them have. */
  let unpublished: StoredCheckpoint | null = null

  const publish = async (session: Session, last: StoredCheckpoint): Promise<boolean> => {
    if (witnesses === null) return true
    const { size, position } = last
    const { note, met } = await witnesses.cosign(last.note, size, (from) =>
      writer.prove(session, from, size),
    )
    if (met) await writer.publish(session, { size, position, note })
    unpublished = met ? null : last
    return met
  }

  const write = async (session: Session): Promise<Logged | null> => {
    const logged = await writer.write(session)
    if (logged !== null) onLogged(logged)
    if (logged !== null && witnesses !== null) unpublished = logged
    return logged
  }

  const confirm = async (session: Session): Promise<boolean> => {
    const last = (await writer.last(session)) ?? (await write(session))
    return last !== null && publish(session, last)
  }

  return {
    async round(session) {
      if (witnesses !== null && confirmed !== session.over) {
        if (!(await confirm(session))) return
        confirmed = session.over
      }
      while (!session.over.aborted && (await write(session))?.isPart);
      if (unpublished === null) return
      try {
        await publish(session, unpublished)
      } catch (error) {
        if (error instanceof WitnessContradicts) confirmed = undefined
        throw error
      }
    },
  }
}
