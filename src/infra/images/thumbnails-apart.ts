import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { Mutex } from 'async-mutex'
import type { Thumbnailer, Thumbnails } from '../../app/ports/images.ts'

/** What the program answers; `fault`: one of ours. */
export type Made = Awaited<ReturnType<Thumbnailer>> | { readonly fault: string }

/** A photo takes a second, the largest image that we take six. */
const PATIENCE_MS = 60_000

export type ApartOptions = {
  /** src/thumbnails.ts, or what became of it. */
  readonly program: string
  /** How long one image may take. */
  readonly patienceMs?: number
}

/** What it says; null: it was killed, by us, by the system or by a fault in native code. */
async function answerOf(child: ChildProcess, exit: Promise<unknown[]>): Promise<Made | null> {
  const ended = exit.then(([code, signal]): Made | null =>
    signal === null ? { fault: `it ended with code ${code}` } : null,
  )
  const said = once(child, 'message').then(([made]): Made => made)
  return Promise.race([said, ended])
}

/**
 * Each image in a process of its own, without environment and output: decoders are written in C, and an image that ends
 * or stops one, or takes all memory, ends that process alone. Its memory is the system's again afterwards. One image
 * at a time.
 */
export function thumbnailsApart({ program, patienceMs = PATIENCE_MS }: ApartOptions): Thumbnailer {
  const turn = new Mutex()

  async function make(
    image: Uint8Array,
  ): Promise<Thumbnails | 'not_decodable' | 'too_many_pixels'> {
    const child = fork(program, [], {
      env: {},
      execArgv: [],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    const exit = once(child, 'exit')
    const late = setTimeout(() => child.kill('SIGKILL'), patienceMs)
    try {
      // A program that has ended already is told of by `answerOf`.
      child.send(image, () => {})
      const made = await answerOf(child, exit)
      if (made === null) return 'not_decodable'
      if (typeof made === 'object' && 'fault' in made) {
        throw new Error(`no thumbnails: ${made.fault}`)
      }
      return made
    } finally {
      clearTimeout(late)
      child.kill('SIGKILL')
      await exit
    }
  }

  return (image) => turn.runExclusive(() => make(image))
}
