import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { furthestT, median, welchT } from './welch.ts'

/** The first of the two is about somebody who exists. */
export type Which = 'known' | 'unknown'

export type Asked = {
  readonly path: string
  readonly body: object
  /** @default an address that nobody has asked from */
  readonly from?: string
}

/** `next`: what to send now, made before the clock runs. `status`: of every answer. */
export type Question = {
  readonly status: number
  readonly next: (which: Which) => Promise<Asked> | Asked
}

/** Milliseconds. `t`: Welch's, without the slowest; `uncropped`: with them. */
export type Timing = {
  readonly t: number
  readonly uncropped: number
  readonly medians: Readonly<Record<Which, number>>
}

const WARM_UP = 30
let addresses = 0

/** No two alike: nobody is locked out. */
const nextAddress = (): string => {
  addresses += 1
  return `10.${[16, 8, 0].map((bits) => (addresses >> bits) & 255).join('.')}`
}

/** Asks one after the other over one connection, `count` times about each of both, in random order. */
export async function timed(url: string, question: Question, count: number): Promise<Timing> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const times: Record<Which, number[]> = { known: [], unknown: [] }
  try {
    for (const which of shuffled(WARM_UP)) await timeOf(url, agent, question, which)
    for (const which of shuffled(count)) {
      times[which].push(await timeOf(url, agent, question, which))
    }
  } finally {
    agent.destroy()
  }
  const { known, unknown } = times
  return {
    t: furthestT(known, unknown),
    uncropped: welchT(known, unknown),
    medians: { known: median(known), unknown: median(unknown) },
  }
}

async function timeOf(
  url: string,
  agent: Agent,
  { status, next }: Question,
  which: Which,
): Promise<number> {
  const { path, body, from = nextAddress() } = await next(which)
  const sent = JSON.stringify(body)
  const began = performance.now()
  const asking = request(url + path, {
    agent,
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(sent),
      'x-forwarded-for': from,
    },
  }).end(sent)
  const [answer] = await once(asking, 'response')
  const said = await text(answer)
  const time = performance.now() - began
  if (answer.statusCode !== status) throw new Error(`${path}, ${which}: ${said}`)
  return time
}

function shuffled(count: number): readonly Which[] {
  const order: Which[] = [
    ...Array<Which>(count).fill('known'),
    ...Array<Which>(count).fill('unknown'),
  ]
  for (let last = order.length - 1; last > 0; last--) {
    const other = Math.floor(Math.random() * (last + 1))
    const [one, two] = [order[last] as Which, order[other] as Which]
    order[last] = two
    order[other] = one
  }
  return order
}
