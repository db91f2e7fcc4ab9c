import { readdirSync, readFileSync } from 'node:fs'

const TICKS_PER_SECOND = 100

type Stat = { readonly parent: number; readonly own: number; readonly ended: number }

/** CPU seconds of a process, and of its children that have ended. */
function stat(pid: number): Stat | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name comes before, in parentheses, and may contain anything.
    const fields = text
      .slice(text.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number)
    const sum = (a = 0, b = 0) => (a + b) / TICKS_PER_SECOND
    return {
      parent: fields[1] ?? 0,
      own: sum(fields[11], fields[12]),
      ended: sum(fields[13], fields[14]),
    }
  } catch {
    return null // It has ended.
  }
}

/** CPU seconds that a process has used so far. */
export const cpuOf = (pid: number): number => stat(pid)?.own ?? 0

/** The same for a process and all that it has started: PostgreSQL has a process per connection. */
export function cpuOfFamily(pid: number): number {
  const pids = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
  const children = pids.map(stat).filter((each) => each?.parent === pid)
  const parent = stat(pid)
  return children.reduce(
    (sum, child) => sum + (child?.own ?? 0),
    (parent?.own ?? 0) + (parent?.ended ?? 0),
  )
}

/** The most memory that a process has ever had resident, in MB. */
export const peakMemory = (pid: number): number => memory(pid, 'VmHWM')

/** The memory that a process has resident now, in MB. */
export const residentMemory = (pid: number): number => memory(pid, 'VmRSS')

function memory(pid: number, field: string): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Math.round(Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1_024)
}
