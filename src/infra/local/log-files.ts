import { mkdir } from 'node:fs/promises'
import { createStream, type RotatingFileStream } from 'rotating-file-stream'

export type LogFiles = {
  /** Adds a line to the file of that name. */
  readonly write: (name: string, line: string) => void
  /** Resolves when everything is written to the files. */
  readonly close: () => Promise<void>
}

// At most 60 MB per process.
const SIZE = '10M'
const OLDER_FILES = 5

/** The full logs, `<name>.log` with older ones beside it, readable only by their owner. */
export async function openLogFiles(directory: string, size: string = SIZE): Promise<LogFiles> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const streams = new Map<string, RotatingFileStream>()
  const open = (name: string) => {
    const place = { path: directory, mode: 0o600 }
    const stream = createStream(fileName(name), { ...place, size, rotate: OLDER_FILES })
    // A full disk must not end the process that is being logged.
    stream.on('error', () => {})
    streams.set(name, stream)
    return stream
  }
  return {
    write: (name, line) => void (streams.get(name) ?? open(name)).write(`${line}\n`),
    close: async () => {
      const ends = [...streams.values()].map(
        (stream) => new Promise<void>((resolve) => stream.end(resolve)),
      )
      await Promise.all(ends)
    },
  }
}

/** `worker.log`, `worker.1.log`, ...; the highest number is the oldest. */
const fileName =
  (name: string) =>
  (index: number | Date | null): string =>
    index === null ? `${name}.log` : `${name}.${index}.log`
