/** V8's form of a CPU profile: what `--cpu-prof` writes. */
export type CpuProfile = {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: {
      readonly functionName: string
      readonly url: string
      readonly lineNumber: number
    }
    readonly children?: readonly number[]
  }[]
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

/** A function called from a certain place; times in microseconds. */
export type Frame = {
  readonly name: string
  /** Whose code it is: `ours`, a package, `node`, or V8's own: `(garbage collector)`. */
  readonly owner: string
  readonly self: number
  readonly total: number
  readonly children: readonly Frame[]
}

const IDLE = ['(idle)', '(program)']

/** The tree of calls, the times in which the process had nothing to do left out. */
export function frames({ nodes, samples, timeDeltas }: CpuProfile): Frame {
  const self = new Map<number, number>()
  for (const [n, id] of samples.entries()) self.set(id, (self.get(id) ?? 0) + (timeDeltas[n] ?? 0))
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const frame = (id: number): Frame => {
    const { callFrame, children = [] } = byId.get(id) as CpuProfile['nodes'][number]
    const { functionName, url, lineNumber } = callFrame
    const called = merged(children.map(frame))
    const own = IDLE.includes(functionName) ? 0 : (self.get(id) ?? 0)
    const file = url.replace(/^file:\/\/|\?.*$/g, '').replace(/^.*\/(?=node_modules\/|src\/)/, '')
    const name = functionName || '(anonymous)'
    return {
      name: file === '' ? name : `${name} ${file}:${lineNumber + 1}`,
      owner: ownerOf(name, file),
      self: own,
      total: called.reduce((sum, { total }) => sum + total, own),
      children: called,
    }
  }
  return frame(nodes[0]?.id ?? 1)
}

function ownerOf(name: string, file: string): string {
  if (file === '') return name.startsWith('(') && name !== '(anonymous)' ? name : 'node'
  if (file.startsWith('node:')) return 'node'
  return /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? 'ours'
}

/** V8 lists a function once for each state of its optimisation. */
function merged(all: readonly Frame[]): Frame[] {
  const byName = new Map<string, Frame>()
  for (const frame of all) {
    const other = byName.get(frame.name)
    byName.set(
      frame.name,
      other === undefined
        ? frame
        : {
            ...frame,
            self: frame.self + other.self,
            total: frame.total + other.total,
            children: merged([...frame.children, ...other.children]),
          },
    )
  }
  return [...byName.values()]
}

/** The share of the time that each owner's functions take themselves, the greatest first. */
export function shares(root: Frame): readonly (readonly [owner: string, share: number])[] {
  const times = new Map<string, number>()
  const visit = ({ owner, self, children }: Frame): void => {
    times.set(owner, (times.get(owner) ?? 0) + self)
    children.forEach(visit)
  }
  visit(root)
  return [...times]
    .map(([owner, time]) => [owner, time / root.total] as const)
    .toSorted(([, a], [, b]) => b - a)
}

const WIDTH = 1_400
const ROW = 17
const LEAST = 1 / 700
const CHARACTER = 6.2
const COLOURS: Readonly<Record<string, string>> = { ours: '#f59e0b', node: '#86efac' }

const escaped = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')

/** Wide is what takes long; a function stands below the one that called it. Points at: its file and share. */
export function flameGraph(root: Frame, title: string): string {
  const lines: string[] = []
  let depth = 0
  const draw = (frame: Frame, x: number, row: number): void => {
    depth = Math.max(depth, row)
    const width = (frame.total / root.total) * WIDTH
    const colour = COLOURS[frame.owner] ?? (frame.owner.startsWith('(') ? '#e2e8f0' : '#93c5fd')
    const percent = ((frame.total / root.total) * 100).toFixed(1)
    const fits = Math.floor((width - 4) / CHARACTER)
    const y = 30 + row * ROW
    const [left, wide] = [x.toFixed(1), Math.max(0.4, width - 0.4).toFixed(1)]
    lines.push(
      `<g><title>${escaped(frame.name)}, ${percent} %</title>` +
        `<rect x="${left}" y="${y}" width="${wide}" height="${ROW - 1}" fill="${colour}"/>` +
        (fits < 3
          ? ''
          : `<text x="${(x + 2).toFixed(1)}" y="${y + 12}">${escaped(frame.name.slice(0, fits))}</text>`) +
        '</g>',
    )
    let next = x
    for (const child of frame.children.toSorted((a, b) => b.total - a.total)) {
      if (child.total / root.total >= LEAST) draw(child, next, row + 1)
      next += (child.total / root.total) * WIDTH
    }
  }
  draw(root, 0, 0)
  const height = 40 + (depth + 1) * ROW
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" font-family="monospace" font-size="10">`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    `<text x="2" y="18" font-size="13">${escaped(title)}</text>`,
    ...lines,
    '</svg>',
    '',
  ].join('\n')
}
