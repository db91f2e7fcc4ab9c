// A process of its own: makes the thumbnails of one file again and again, and tells what they took.
import { readFileSync } from 'node:fs'
import { vipsThumbnailer } from '../src/infra/images/thumbnailer.ts'

export type Course = {
  /** Milliseconds, of each round. */
  readonly elapsed: readonly number[]
  readonly cpu: readonly number[]
  /** Resident bytes of the process, at most. */
  readonly peak: number
}

/** That of `resourceUsage` begins with the process that has started this one. */
function highWaterMark(): number {
  const status = readFileSync('/proc/self/status', 'utf8')
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1_024
}

async function course(file: string, rounds: number): Promise<Course> {
  const thumbnails = vipsThumbnailer()
  const image = readFileSync(file)
  const elapsed: number[] = []
  const cpu: number[] = []
  while (elapsed.length < rounds) {
    const [began, before] = [performance.now(), process.cpuUsage()]
    const made = await thumbnails(image)
    if (typeof made === 'string') throw new Error(`${file} is ${made}`)
    elapsed.push(performance.now() - began)
    const { user, system } = process.cpuUsage(before)
    cpu.push((user + system) / 1_000)
  }
  return { elapsed, cpu, peak: highWaterMark() }
}

const [file = '', rounds = '1'] = process.argv.slice(2)
console.log(JSON.stringify(await course(file, Number(rounds))))
