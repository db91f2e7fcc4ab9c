import { OPERATIONS, type Operation } from './operations.ts'
import { misses, type Results } from './results.ts'

const whole = (value: number) => Math.round(value).toLocaleString('en')
const sum = (values: Readonly<Record<string, number>>) =>
  Object.values(values).reduce((all, value) => all + value, 0)

/** Rows of equal width; the first column is text, the others are figures. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, n) => Math.max(...rows.map((row) => row[n]?.length ?? 0))) ?? []
  const cell = (text: string, n: number) =>
    n === 0 ? text.padEnd(widths[n] ?? 0) : text.padStart(widths[n] ?? 0)
  return rows.map((row) => row.map(cell).join('  ').trimEnd())
}

const PARTS = ['task-service', 'auth-service', 'PostgreSQL', 'worker', 'load generator']

function operation(results: Results, name: Operation): string[] {
  const header = ['', 'requests/s', 'CPU µs', ...PARTS, 'median at 70 %', 'p99', 'p99/median']
  const rows = Object.entries(results.operations[name] ?? {}).map(
    ([system, { rate, cpu, steady }]) => {
      const { 'load generator': load = 0 } = cpu
      const parts = PARTS.map((part) => (cpu[part] === undefined ? '-' : whole(cpu[part])))
      const slow = steady
        ? [
            `${steady.median.toFixed(1)} ms`,
            `${steady.p99.toFixed(1)} ms`,
            (steady.p99 / steady.median).toFixed(1),
          ]
        : ['-', '-', '-']
      return [system, whole(rate), whole(sum(cpu) - load), ...parts, ...slow]
    },
  )
  return [`${name} (${OPERATIONS[name]})`, ...table([header, ...rows]), '']
}

function ratios(results: Results): string[] {
  const header = ['ratio', 'against', 'measured', 'round by round', 'wanted', '']
  const rows = results.ratios.map((each) => {
    const { what, against, ratio, spread, wanted } = each
    const range = spread.map((value) => value.toFixed(2)).join(' to ')
    const verdict = wanted === null ? '' : misses(each) ? 'MISSED' : 'met'
    return [what, against, ratio.toFixed(2), range, wanted === null ? '-' : `>= ${wanted}`, verdict]
  })
  return [...table([header, ...rows]), '']
}

function memory(results: Results): string[] {
  const rows = Object.entries(results.memory).flatMap(([system, processes]) =>
    Object.entries(processes).map(([name, mb]) => [`${system}, ${name}`, `${mb} MB`]),
  )
  return ['most resident memory', ...table(rows), '']
}

/** The results as lines of a terminal. */
export function report(results: Results): string[] {
  const pairs = (values: Readonly<Record<string, string | number>>) =>
    Object.entries(values)
      .map(([name, value]) => `${name} ${value}`)
      .join(', ')
  return [
    '',
    ...(Object.keys(results.operations) as Operation[]).flatMap((name) => operation(results, name)),
    ...ratios(results),
    ...memory(results),
    ...Object.entries(results.systems).map(([name, what]) => `${name}: ${what}`),
    `${results.date}; ${pairs(results.machine)}; ${pairs(results.versions)}; ${pairs(results.settings)}`,
    ...results.skipped.map((why) => `skipped: ${why}`),
  ]
}
