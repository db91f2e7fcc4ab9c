import { once } from 'node:events'
import type { CpuProfile } from './flame-graph.ts'

export type Profiler = {
  readonly start: () => Promise<unknown>
  readonly stop: () => Promise<CpuProfile>
  readonly close: () => void
}

const INTERVAL_MICROSECONDS = 500

/** Speaks to V8 in a process that was started with `--inspect` at this port. */
export async function profiler(port: number): Promise<Profiler> {
  const [target] = (await (await fetch(`http://127.0.0.1:${port}/json`)).json()) as [
    { webSocketDebuggerUrl: string },
  ]
  const socket = new WebSocket(target.webSocketDebuggerUrl)
  await once(socket, 'open')
  const waiting = new Map<number, (result: unknown) => void>()
  socket.addEventListener('message', ({ data }) => {
    const { id, result } = JSON.parse(String(data))
    waiting.get(id)?.(result)
    waiting.delete(id)
  })
  let last = 0
  const call = <T>(method: string, params = {}): Promise<T> =>
    new Promise((resolve) => {
      waiting.set(++last, resolve as (result: unknown) => void)
      socket.send(JSON.stringify({ id: last, method, params }))
    })
  await call('Profiler.enable')
  await call('Profiler.setSamplingInterval', { interval: INTERVAL_MICROSECONDS })
  return {
    start: () => call('Profiler.start'),
    stop: async () => (await call<{ profile: CpuProfile }>('Profiler.stop')).profile,
    close: () => socket.close(),
  }
}
