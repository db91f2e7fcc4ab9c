import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

/** A request, ready to be sent, with the only answer that is right. */
export type Request = {
  readonly method: 'GET' | 'POST' | 'PUT'
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
  readonly expects: { readonly status: number } & (
    | { readonly text: string }
    | { readonly task: Readonly<Record<string, unknown>> }
  )
}

export type Job = {
  readonly url: string
  readonly seconds: number
  /** What each connection sends, again and again. */
  readonly connections: readonly (readonly Request[])[]
  /** Requests per second. @default as many as are answered */
  readonly rate?: number
}

/** Times are in milliseconds. */
export type Load = {
  readonly rate: number
  readonly requests: number
  readonly median: number
  readonly p99: number
  readonly cpuSeconds: number
}

type Answer = Load & {
  readonly error?: string
  readonly wrong: number
  readonly complaints: readonly string[]
}

export type LoadGenerator = {
  readonly pid: number
  /** Rejects if a single answer is wrong. */
  readonly run: (job: Job) => Promise<Load>
  readonly stop: () => void
}

const SCRIPT = fileURLToPath(new URL('../peers/load.js', import.meta.url))

export function loadGenerator(): LoadGenerator {
  const child = fork(SCRIPT)
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`the load generator ended with ${code}`)
  })
  ended.catch(() => {}) // It also ends when it is told to.
  return {
    pid: child.pid ?? -1,
    async run(job) {
      child.send(job)
      const [answer] = (await Promise.race([once(child, 'message'), ended])) as [Answer]
      if (answer.error !== undefined) throw new Error(answer.error)
      if (answer.wrong > 0 || answer.requests === 0) {
        throw new Error(
          [`${job.url}: ${answer.wrong} of ${answer.requests} answers are wrong`]
            .concat(answer.complaints)
            .join('\n  '),
        )
      }
      return answer
    },
    stop: () => child.disconnect(),
  }
}
