import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { Semaphore } from 'async-mutex'
import type { Context } from 'koa'
import type { AuditEvent } from '../app/ports/audit.ts'
import type { Caller, TokenValidator } from '../app/ports/authorization.ts'
import type { AppendNotifier } from '../app/ports/event-store.ts'
import type { Log } from '../app/ports/process.ts'
import type { TaskChanges } from '../app/task-changes.ts'
import { logFailure } from './answer-errors.ts'
import { auditEventOf } from './audit-schemas.ts'
import { accessToken } from './authenticate.ts'
import { HttpError } from './errors.ts'
import type { RequireKnownPosition } from './known-position.ts'
import { byAddress } from './rate-limit.ts'
import { sessionRounds, type WatchSession } from './session-rounds.ts'
import { whenGone } from './when-gone.ts'

export type TaskStreamDependencies = {
  readonly changes: TaskChanges
  readonly notifier: AppendNotifier
  readonly tokens: TokenValidator
  readonly log: Log
  /** Where a client begins that names no position. */
  readonly end: () => Promise<number>
  readonly requireKnownPosition: RequireKnownPosition
  /** Aborted when the service stops: clients reconnect to another instance. */
  readonly stopping: AbortSignal
  /** A stream ends if its client reads nothing for this long, not even the end. @default 30 s */
  readonly drainMs?: number
  /** @default 5 s */
  readonly sessionCheckMs?: number
}

const PAGE = 100
const PER_USER = 10
/** Someone with many accounts has few addresses. */
const PER_ADDRESS = 100
const PER_PROCESS = 1_000
/** Streams read what they send from the log: few at once, the others wait. */
const BATCHES_AT_ONCE = 4
const RETRY_MS = 1_000
/** Below the load balancer's idle timeout. */
const HEARTBEAT_MS = 15_000
const DRAIN_MS = 30_000

/**
 * The caller's changes as Server-Sent Events, each with its position as id. A client that reconnects with
 * the last id that it has seen misses none. Before any event is sent, auth-service has confirmed once more
 * that the session is active. An idle stream reads and validates nothing: it is woken by an append, or when
 * its session ends.
 */
export function streamTaskEvents(dependencies: TaskStreamDependencies) {
  const { stopping, drainMs = DRAIN_MS, tokens, log, sessionCheckMs } = dependencies
  const watchSession = sessionRounds(tokens, log, sessionCheckMs)
  const batches = new Semaphore(BATCHES_AT_ONCE)
  const changes: TaskChanges = (...page) =>
    batches.runExclusive(() => dependencies.changes(...page))
  const users = counter(PER_USER)
  const addresses = counter(PER_ADDRESS)
  let total = 0

  const enter = (ctx: Context, caller: Caller) => {
    const [user, address] = [String(caller.user_id), byAddress(ctx)]
    if (users.isFull(user) || addresses.isFull(address)) {
      throw new HttpError('too_many_streams', { retryAfter: RETRY_MS / 1000 })
    }
    if (total >= PER_PROCESS || stopping.aborted) throw new HttpError('overloaded')
    total++
    const leave = [users.enter(user), addresses.enter(address), () => total--]
    return () => {
      for (const step of leave) step()
    }
  }

  return async (ctx: Context, caller: Caller, lastEventId: number | undefined): Promise<void> => {
    const leave = enter(ctx, caller)
    const gone = whenGone(ctx)
    try {
      if (lastEventId !== undefined)
        await dependencies.requireKnownPosition('Last-Event-ID', lastEventId)
      const from = lastEventId ?? (await dependencies.end())
      ctx.status = 200
      ctx.type = 'text/event-stream'
      ctx.set('X-Accel-Buffering', 'no')
      if (ctx.method === 'HEAD') return leave()
      const out = new PassThrough()
      ctx.body = out
      const session = { token: accessToken(ctx), request_id: ctx.state.request_id, caller }
      void feed(out, from, session, gone, {
        ...dependencies,
        changes,
        watchSession,
        drainMs,
      })
        .catch(() => {})
        .finally(() => {
          out.end()
          if (gone.aborted) return leave()
          // The place is free only when the connection is closed: its buffers count too.
          const late = setTimeout(() => ctx.res.destroy(), drainMs)
          gone.addEventListener('abort', () => {
            clearTimeout(late)
            leave()
          })
        })
    } catch (error) {
      leave()
      throw error
    }
  }
}

/** Counts by key, up to `most`. */
function counter(most: number) {
  const inside = new Map<string, number>()
  return {
    isFull: (key: string) => (inside.get(key) ?? 0) >= most,
    enter(key: string): () => void {
      inside.set(key, (inside.get(key) ?? 0) + 1)
      return () => {
        const left = (inside.get(key) ?? 1) - 1
        if (left > 0) inside.set(key, left)
        else inside.delete(key)
      }
    },
  }
}

type Feeding = Pick<
  TaskStreamDependencies,
  'changes' | 'notifier' | 'tokens' | 'stopping' | 'log'
> & {
  readonly watchSession: WatchSession
  readonly drainMs: number
}
type Subscriber = { readonly token: string; readonly request_id: string; readonly caller: Caller }

async function feed(
  out: PassThrough,
  from: number,
  { token, request_id, caller }: Subscriber,
  gone: AbortSignal,
  { changes, notifier, tokens, watchSession, stopping, drainMs, log }: Feeding,
): Promise<void> {
  const over = AbortSignal.any([gone, stopping])
  const write = async (text: string) => {
    if (out.write(text)) return
    await once(out, 'drain', { signal: AbortSignal.any([over, AbortSignal.timeout(drainMs)]) })
  }
  const bell = doorbell()
  const leave = [notifier.subscribe(caller.user_id, bell.ring), watchSession(token, bell.ring)]
  try {
    // An id without data: a client that is cut off before the first event knows where to continue.
    await write(`retry: ${RETRY_MS}\nid: ${from}\n\n`)
    for (let after = from; !over.aborted; ) {
      const { events, more } = await changes(caller.user_id, after, PAGE)
      await tokens.validate(token, request_id)
      if (over.aborted) return
      for (const event of events) await write(eventText(event))
      after = events.at(-1)?.position ?? after
      if (more) continue
      while (!(await bell.wait(HEARTBEAT_MS, over)) && !over.aborted)
        await write(': still here\n\n')
    }
  } catch (error) {
    // A client that stops reading is not a failure, and would not read the end either.
    if (over.aborted || (error instanceof Error && error.name === 'AbortError')) return
    const code = logFailure(log, request_id, error)
    out.write(`event: end\ndata: ${JSON.stringify({ code })}\n\n`)
  } finally {
    for (const unsubscribe of leave) unsubscribe()
  }
}

function eventText(event: AuditEvent): string {
  return `id: ${event.position}\nevent: ${event.type}\ndata: ${JSON.stringify(auditEventOf(event))}\n\n`
}

/** Remembers a ring until somebody waits; says whether it rang in time. */
function doorbell() {
  let rang = false
  let answer: (() => void) | undefined
  return {
    ring: () => {
      rang = true
      answer?.()
    },
    wait: (ms: number, signal: AbortSignal) =>
      new Promise<boolean>((resolve) => {
        const done = () => {
          resolve(rang)
          rang = false
          answer = undefined
          clearTimeout(timer)
          signal.removeEventListener('abort', done)
        }
        const timer = setTimeout(done, ms)
        answer = done
        signal.addEventListener('abort', done)
        if (rang || signal.aborted) done()
      }),
  }
}
