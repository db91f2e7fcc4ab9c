import { OPERATIONS, type Operation } from './operations.ts'
import type { Results } from './results.ts'

const WIDTH = 860
const LEFT = 190
const BAR = 18
const ROW = 22
const COLOURS = ['#2563eb', '#94a3b8', '#64748b', '#cbd5e1', '#e2e8f0']

const escaped = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
const line = (x: number, y: number, content: string, more = '') =>
  `<text x="${x}" y="${y}" ${more}>${escaped(content)}</text>`

/**
 * Requests per second: a group of bars for each operation, a thin line from the slowest round to the fastest.
 * A bare Koa is only named: beside it every other bar would be short.
 */
export function chart({ operations, systems, date, machine, versions }: Results): string {
  const names = Object.keys(systems)
  const compared = Object.entries(operations).map(([operation, { koa, ...figures } = {}]) => ({
    operation: operation as Operation,
    koa,
    figures: Object.entries(figures),
  }))
  const most = Math.max(
    ...compared.flatMap(({ figures }) => figures.flatMap(([, { rates }]) => rates)),
  )
  const scale = (rate: number) => Math.round((rate / most) * (WIDTH - LEFT - 90))
  const lines: string[] = []
  let y = 60
  for (const { operation, figures, koa } of compared) {
    const limit =
      koa === undefined ? '' : ` (a bare Koa: ${Math.round(koa.rate).toLocaleString('en')})`
    lines.push(line(16, y, `${operation}: ${OPERATIONS[operation]}${limit}`, 'font-weight="bold"'))
    y += 8
    for (const [system, { rate, rates }] of figures) {
      const middle = y + BAR / 2
      const [low, high] = [LEFT + scale(Math.min(...rates)), LEFT + scale(Math.max(...rates))]
      const colour = COLOURS[names.indexOf(system) % COLOURS.length]
      lines.push(
        line(LEFT - 8, y + 13, system, 'text-anchor="end"'),
        `<rect x="${LEFT}" y="${y}" width="${scale(rate)}" height="${BAR}" fill="${colour}"/>`,
        `<path d="M${low} ${middle}H${high}" stroke="#0f172a"/>`,
        line(high + 6, y + 13, Math.round(rate).toLocaleString('en')),
      )
      y += ROW
    }
    y += 26
  }
  const facts = [
    [date, ...Object.values(machine)].join(', '),
    Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', '),
    ...Object.entries(systems).map(([name, what]) => `${name}: ${what}`),
  ]
  const notes = facts.map((text, n) => line(16, y + n * 16, text, 'font-size="11" fill="#475569"'))
  const height = y + facts.length * 16
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="13" fill="#0f172a">`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    line(16, 28, 'Requests per second, medians', 'font-size="17" font-weight="bold"'),
    ...lines,
    ...notes,
    '</svg>',
    '',
  ].join('\n')
}
