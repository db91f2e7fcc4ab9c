import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { wholeNumbers } from '../src/command-line.ts'
import { freePorts } from '../src/infra/local/free-ports.ts'

const USAGE = `Usage: npm run bench:start [-- rounds]

Measures how long npm start takes to be ready, cold (an empty data directory) and warm, as medians of 5
rounds. Fails above 15 s cold or 5 s warm.`

const [ROUNDS = 5] = wholeNumbers({ usage: USAGE, takes: [0, 1] })
const LIMITS = { cold: 15, warm: 5 }

async function secondsToReady(DATA_DIR: string): Promise<number> {
  const [port] = await freePorts(1)
  const began = performance.now()
  const child = spawn('npm', ['start', '--silent'], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, DATA_DIR, PORT: String(port) },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const seconds = await ready(child).then(() => (performance.now() - began) / 1000)
  child.kill('SIGTERM')
  await once(child, 'exit')
  return seconds
}

async function ready({ stdout }: ChildProcess): Promise<void> {
  if (stdout === null) throw new Error('npm start has no output')
  for await (const line of createInterface({ input: stdout })) {
    if (line.startsWith('Tasktrail is ready')) return
  }
  throw new Error('npm start ended before it was ready')
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

const times = { cold: [] as number[], warm: [] as number[] }
for (let round = 0; round < ROUNDS; round++) {
  const directory = await mkdtemp(join(tmpdir(), 'tasktrail-start-'))
  times.cold.push(await secondsToReady(directory))
  times.warm.push(await secondsToReady(directory))
  await rm(directory, { recursive: true, force: true })
}
for (const kind of ['cold', 'warm'] as const) {
  const seconds = median(times[kind])
  const verdict = seconds <= LIMITS[kind] ? 'within' : 'OVER'
  console.log(`${kind}: ${seconds.toFixed(1)} s, median of ${ROUNDS}; ${verdict} ${LIMITS[kind]} s`)
  if (seconds > LIMITS[kind]) process.exitCode = 1
}
