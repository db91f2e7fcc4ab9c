import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'

export const user = {
  user_id: 7,
  username: 'ann',
  email: 'ann@example.com',
  role: 'user',
  session_id: 's-1',
  iat: 1_700_000_000,
  exp: 1_700_003_600,
  auth_time: 1_700_000_000,
  amr: ['pwd'],
} as const

/** Who a token belongs to, or the code of its refusal. */
export type Holder = (token: string) => object | string

/** Answers both forms of a validation as auth-service does. */
export const holding =
  (holder: Holder): RequestListener =>
  async (request, response) => {
    if (!request.url?.endsWith('/batch')) {
      const held = holder(request.headers.authorization?.replace('Bearer ', '') ?? '')
      const isCode = typeof held === 'string'
      status(isCode ? 401 : 200, isCode ? { code: held } : { valid: true, user: held })(
        request,
        response,
      )
      return
    }
    const { tokens } = (await json(request)) as { tokens: string[] }
    const answers = tokens.map((token) => {
      const held = holder(token)
      const answer = typeof held === 'string' ? { valid: false, code: held } : { user: held }
      return { valid: true, ...answer, token_end: token.slice(-16) }
    })
    status(200, { answers })(request, response)
  }

export const valid: RequestListener = holding(() => user)

export const status =
  (code: number, body: unknown = {}): RequestListener =>
  (_request, response) => {
    response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  }

type Instance = {
  readonly address: string
  readonly server: Server
  behaviour: RequestListener
  hits: number
  sockets: number
}

async function listen(address: string, port: number): Promise<Instance> {
  const server = createServer((request, response) => {
    instance.hits += 1
    instance.behaviour(request, response)
  })
  const instance: Instance = { address, server, behaviour: valid, hits: 0, sockets: 0 }
  server.on('connection', () => {
    instance.sockets += 1
  })
  server.listen(port, address)
  await once(server, 'listening')
  return instance
}

/** Real HTTP servers on loopback addresses with one common port, like tasks behind one name. */
export async function authInstances(addresses: readonly [string, ...string[]]) {
  const first = await listen(addresses[0], 0)
  const { port } = first.server.address() as AddressInfo
  const rest = await Promise.all(addresses.slice(1).map((address) => listen(address, port)))
  const instances = [first, ...rest]

  return {
    port,
    /** How all, or those named, answer from now on. */
    behave: (behaviour: RequestListener, ...only: string[]) => {
      for (const instance of instances) {
        if (only.length === 0 || only.includes(instance.address)) instance.behaviour = behaviour
      }
    },
    /** Requests received since the last reset, by address, those without any left out. */
    hits: () =>
      Object.fromEntries(instances.filter((i) => i.hits > 0).map((i) => [i.address, i.hits])),
    total: () => instances.reduce((sum, instance) => sum + instance.hits, 0),
    sockets: () => instances.reduce((sum, instance) => sum + instance.sockets, 0),
    openSockets: async () => {
      const counts = instances.map(
        ({ server }) =>
          new Promise<number>((resolve, reject) => {
            server.getConnections((error, count) => (error ? reject(error) : resolve(count)))
          }),
      )
      return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0)
    },
    reset: () => {
      for (const instance of instances) {
        Object.assign(instance, { behaviour: valid, hits: 0, sockets: 0 })
      }
    },
    close: async () => {
      for (const { server } of instances) {
        server.closeAllConnections()
        server.close()
        await once(server, 'close')
      }
    },
  }
}
