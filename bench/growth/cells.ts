import { percentile } from '../percentile.ts'
import type { Scene } from './scene.ts'

/** One figure: a request to something of one size. It throws when the answer is not the right one. */
export type Cell = {
  readonly operation: string
  readonly size: number
  /** `n`: which of its turn. */
  readonly request: (n: number) => Promise<void>
}

type Figure = {
  readonly operation: string
  readonly size: number
  /** Milliseconds until the answer: the median. */
  readonly ms: number
  /** CPU milliseconds of task-service and PostgreSQL for each request: the mean. */
  readonly cpu: number
}

/** Measures all cells in turns, so that what changes on the machine changes for all. */
export async function measured(
  { cpu }: Scene,
  cells: readonly Cell[],
  { rounds, requests }: { readonly rounds: number; readonly requests: number },
): Promise<readonly Figure[]> {
  const times = cells.map((): number[] => [])
  const spent = cells.map(() => 0)
  // The first round warms up.
  for (let round = 0; round <= rounds; round++) {
    for (const [index, { request }] of cells.entries()) {
      const before = cpu()
      for (let n = 0; n < requests; n++) {
        const began = performance.now()
        await request(n)
        if (round > 0) times[index]?.push(performance.now() - began)
      }
      if (round > 0) spent[index] = (spent[index] ?? 0) + cpu() - before
    }
  }
  return cells.map(({ operation, size }, index) => ({
    operation,
    size,
    ms: percentile(times[index] ?? [], 0.5),
    cpu: ((spent[index] ?? 0) * 1_000) / (rounds * requests),
  }))
}

/** A line for each operation: the times by size, and the ratio of the CPU to the smallest size's. */
export function table(figures: readonly Figure[]): string {
  const sizes = [...new Set(figures.map(({ size }) => size))].toSorted((a, b) => a - b)
  const lines = [...Map.groupBy(figures, ({ operation }) => operation)].map(([operation, row]) => {
    const first = row[0]
    const shown = sizes.map((size) => {
      const figure = row.find((one) => one.size === size)
      if (figure === undefined || first === undefined) return '-'
      const { ms, cpu } = figure
      return `${ms.toFixed(2)} ms, ${cpu.toFixed(2)} CPU (${(cpu / first.cpu).toFixed(2)})`
    })
    return [operation, ...shown]
  })
  const all = [['', ...sizes.map((size) => size.toLocaleString('en'))], ...lines]
  const widths = all[0]?.map((_, column) =>
    Math.max(...all.map((line) => line[column]?.length ?? 0)),
  )
  return all
    .map((line) =>
      line
        .map((text, column) => text.padEnd(widths?.[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
