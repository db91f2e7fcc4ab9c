import { setTimeout as sleep } from 'node:timers/promises'
import type { Load, LoadGenerator, Request } from './load.ts'
import type { System } from './systems.ts'
import { cpuOf, cpuOfFamily } from './usage.ts'

/** One system under load for a few seconds. */
export type Slot = Load & {
  /** Microseconds per request, by process; all of PostgreSQL counts as one. */
  readonly cpu: Readonly<Record<string, number>>
}

export type Course = {
  readonly generator: LoadGenerator
  readonly postgres: number
  readonly seconds: number
  /** Whether to wait after each load until what it has left to do is done. */
  readonly calms: boolean
}

const CALM_MS = 200
/** CPU seconds in that time: less than a twentieth of a core. */
const CALM_CPU = 0.01
const MOST_WAITING_MS = 20_000

const signal = (system: System, name: 'SIGSTOP' | 'SIGCONT') => {
  for (const pid of Object.values(system.background)) process.kill(pid, name)
}

/** Until what the last load has left to do is done: it shall not count against the next. */
async function calm(postgres: number, system: System): Promise<void> {
  const deadline = Date.now() + MOST_WAITING_MS
  const pids = [...Object.values(system.services), ...Object.values(system.background)]
  const used = () => pids.reduce((sum, pid) => sum + cpuOf(pid), cpuOfFamily(postgres))
  for (let before = used(); Date.now() < deadline; ) {
    await sleep(CALM_MS)
    const now = used()
    if (now - before <= CALM_CPU) return
    before = now
  }
}

/** Measures one system while what the others do in the background rests. */
export async function slot(
  { generator, postgres, seconds, calms }: Course,
  system: System,
  connections: readonly (readonly Request[])[],
  rate?: number,
): Promise<Slot> {
  signal(system, 'SIGCONT')
  const used = () => ({
    ...Object.fromEntries(Object.entries(system.services).map(([name, pid]) => [name, cpuOf(pid)])),
    ...Object.fromEntries(
      Object.entries(system.background).map(([name, pid]) => [name, cpuOf(pid)]),
    ),
    PostgreSQL: cpuOfFamily(postgres),
  })
  const before: Record<string, number> = used()
  const job = { url: system.url, seconds, connections }
  const load = await generator.run(rate === undefined ? job : { ...job, rate })
  if (calms) await calm(postgres, system)
  const after = Object.entries(used())
  signal(system, 'SIGSTOP')
  const perRequest = (cpuSeconds: number) => (cpuSeconds * 1e6) / load.requests
  return {
    ...load,
    cpu: {
      ...Object.fromEntries(
        after.map(([name, cpu]) => [name, perRequest(cpu - (before[name] ?? 0))]),
      ),
      'load generator': perRequest(load.cpuSeconds),
    },
  }
}
