import { mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { commandLine } from '../src/command-line.ts'
import { freePorts } from '../src/infra/local/free-ports.ts'
import { withTasktrail } from './compare/alone.ts'
import { flameGraph, frames, shares } from './compare/flame-graph.ts'
import { OPERATIONS, type Operation, requestsOf } from './compare/operations.ts'
import { type Profiler, profiler } from './compare/profiler.ts'

const USAGE = `Usage: npm run bench:profile [-- --output directory]

Where the CPU time of a request goes: runs each operation under full load for 8 s, with V8's profiler on in
task-service and auth-service. Prints whose code takes how much, and writes a flame graph for each operation
and service (a new directory below /tmp, or --output).`

const { values } = commandLine({ usage: USAGE, options: { output: { type: 'string' } } })
const SECONDS = 8
const WARM_UP = 3
const USERS = 128
const SHOWN = 12

const output = resolve(values.output ?? (await mkdtemp(join(tmpdir(), 'tasktrail-profile-'))))
await mkdir(output, { recursive: true })

const SERVICES = ['task-service', 'auth-service']
const ports = await freePorts(SERVICES.length)
const inspected = (name: string) =>
  SERVICES.includes(name) ? [`--inspect=127.0.0.1:${ports[SERVICES.indexOf(name)]}`] : []

async function profile(operation: Operation, run: Run, profilers: readonly Profiler[]) {
  await run(operation, WARM_UP)
  for (const { start } of profilers) await start()
  const rate = await run(operation, SECONDS)
  for (const [n, { stop }] of profilers.entries()) {
    const root = frames(await stop())
    const title = `${SERVICES[n]}, ${operation} (${OPERATIONS[operation]}), ${Math.round(rate)} requests/s while profiled`
    const file = `${operation.replaceAll(' ', '-')}-${SERVICES[n]}.svg`
    await writeFile(join(output, file), flameGraph(root, title))
    console.log(title)
    for (const [owner, share] of shares(root).slice(0, SHOWN)) {
      console.log(`  ${(share * 100).toFixed(1).padStart(5)} %  ${owner}`)
    }
  }
}

type Run = (operation: Operation, seconds: number) => Promise<number>

await withTasktrail({ users: USERS, flags: inspected }, async ({ system, data, generator }) => {
  const profilers = await Promise.all(ports.map(profiler))
  const run: Run = async (operation, seconds) => {
    const connections = requestsOf(operation, data)
    return (await generator.run({ url: system.url, seconds, connections })).rate
  }
  for (const operation of Object.keys(OPERATIONS) as Operation[]) {
    await profile(operation, run, profilers)
  }
  for (const { close } of profilers) close()
  console.log(`flame graphs: ${output}`)
})
