import { wholeNumbers } from '../src/command-line.ts'
import { withTasktrail } from './compare/alone.ts'
import { OPERATIONS, type Operation, requestsOf } from './compare/operations.ts'
import { median } from './compare/results.ts'
import { residentMemory } from './compare/usage.ts'

const USAGE = `Usage: npm run bench:soak [-- minutes]

Runs every operation in turn at 70 % of its peak for ten minutes, and reads each service's resident memory.
Fails above 200 MB, or if it is more than a tenth greater in the last two tenths of the time than in the
second and third.
Linux only: it reads /proc.`

const [MINUTES = 10] = wholeNumbers({ usage: USAGE, takes: [0, 1] })
const USERS = 128
const SHARE = 0.7
const PEAK_SECONDS = 4
const TURN_SECONDS = 5
const LIMIT_MB = 200
const GROWTH = 1.1

await withTasktrail({ users: USERS }, async ({ system, data, generator }) => {
  const pids = { ...system.services, ...system.background }
  const { url } = system
  const operations = Object.keys(OPERATIONS) as Operation[]
  const peaks = new Map<Operation, number>()
  for (const operation of operations) {
    const connections = requestsOf(operation, data)
    const { rate } = await generator.run({ url, seconds: PEAK_SECONDS, connections })
    peaks.set(operation, rate)
  }
  const samples: Record<string, number>[] = []
  const sample = () => {
    samples.push(
      Object.fromEntries(Object.entries(pids).map(([name, pid]) => [name, residentMemory(pid)])),
    )
  }
  const turns = Math.round((MINUTES * 60) / TURN_SECONDS)
  for (let turn = 0; turn < turns; turn++) {
    const operation = operations[turn % operations.length] as Operation
    const rate = SHARE * (peaks.get(operation) ?? 0)
    const connections = requestsOf(operation, data)
    await generator.run({ url, seconds: TURN_SECONDS, connections, rate })
    sample()
  }
  const tenth = turns / 10
  for (const name of Object.keys(pids)) {
    const memory = samples.map((each) => each[name] ?? 0)
    const early = median(memory.slice(tenth, 3 * tenth))
    const late = median(memory.slice(-2 * tenth))
    const most = Math.max(...memory)
    const tenths = Array.from({ length: 10 }, (_, n) =>
      median(memory.slice(n * tenth, (n + 1) * tenth)),
    )
    console.log(`${name}: ${tenths.join(', ')} MB in each tenth of the time; ${most} MB at most`)
    if (most > LIMIT_MB || late > GROWTH * early) process.exitCode = 1
  }
})
