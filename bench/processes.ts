import { commandLine } from '../src/command-line.ts'
import { withTasktrail } from './compare/alone.ts'
import { type LoadGenerator, loadGenerator } from './compare/load.ts'
import { OPERATIONS, type Operation, requestsOf } from './compare/operations.ts'
import { median } from './compare/results.ts'
import { cpuOf, cpuOfFamily } from './compare/usage.ts'

const USAGE = `Usage: npm run bench:processes

Compares two task-service processes with one, before the same auth-service, worker and PostgreSQL, in turn in
each of five rounds: requests per second, and how many cores each process keeps busy. Fails if an answer is
wrong. Linux only: it reads /proc.`

commandLine({ usage: USAGE, options: {} })
const ROUNDS = 5
const SECONDS = 4

await withTasktrail({ users: 128, more: 1 }, async ({ system, data, generator, postgres }) => {
  const urls = [system.url, ...system.more.map(({ url }) => url)]
  const pids = { ...system.services, ...system.background }
  const [second] = system.more
  const used = () => ({
    ...Object.fromEntries(Object.entries(pids).map(([name, pid]) => [name, cpuOf(pid)])),
    'second task-service': cpuOf(second?.pid ?? 0),
    PostgreSQL: cpuOfFamily(postgres),
  })
  const generators = [generator, loadGenerator()]

  /** The connections, shared among so many processes. */
  async function measured(operation: Operation, processes: number) {
    const connections = requestsOf(operation, data)
    const before: Readonly<Record<string, number>> = used()
    const loads = await Promise.all(
      urls.slice(0, processes).map((url, n) => {
        const own = connections.filter((_, m) => m % processes === n)
        return (generators[n] as LoadGenerator).run({ url, seconds: SECONDS, connections: own })
      }),
    )
    const busy = Object.entries(used()).map(([name, cpu]) => {
      return [name, (cpu - (before[name] ?? 0)) / SECONDS] as const
    })
    const generating = loads.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0) / SECONDS
    return {
      rate: loads.reduce((sum, { rate }) => sum + rate, 0),
      cores: Object.fromEntries([...busy, ['load generators', generating]]),
    }
  }

  type Measured = Awaited<ReturnType<typeof measured>>
  const shown = (of: readonly Measured[]) => {
    const names = Object.keys(of[0]?.cores ?? {})
    const cores = names.map((name) => {
      return `${name} ${median(of.map(({ cores }) => cores[name] ?? 0)).toFixed(2)}`
    })
    return `${Math.round(median(of.map(({ rate }) => rate)))} requests/s; cores: ${cores.join(', ')}`
  }
  for (const operation of Object.keys(OPERATIONS) as Operation[]) {
    const one: Measured[] = []
    const two: Measured[] = []
    for (let round = 0; round <= ROUNDS; round++) {
      const [first, other] = [await measured(operation, 1), await measured(operation, 2)]
      // The first round warms up.
      if (round > 0) one.push(first)
      if (round > 0) two.push(other)
    }
    const ratios = one.map(({ rate }, n) => (two[n]?.rate ?? 0) / rate)
    console.log(`${operation} (${OPERATIONS[operation]})`)
    console.log(`  one process: ${shown(one)}`)
    console.log(`  two:         ${shown(two)}`)
    console.log(`  ratio ${median(ratios).toFixed(2)}`)
  }
  generators[1]?.stop()
})
