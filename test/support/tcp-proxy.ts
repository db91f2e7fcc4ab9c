import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export type TcpProxy = {
  readonly port: number
  /** Refuses new connections and cuts those that are open, until `restore`. */
  readonly cut: () => void
  /** Nothing arrives from the server any more, until `restore`, which cuts what is open. */
  readonly hang: () => void
  readonly restore: () => void
  /** What comes from the server arrives so many ms later, until `restore`. */
  readonly slow: (ms: number) => void
  /** The next bytes from the server that `matches` are swallowed and their connection is cut. */
  readonly loseReply: (matches: (bytes: Buffer) => boolean) => void
  readonly close: () => Promise<void>
}

/** A wire to a server on loopback that can be cut. */
export async function tcpProxy(target: { host: string; port: number }): Promise<TcpProxy> {
  const open = new Set<Socket>()
  let isCut = false
  let isHung = false
  let delayMs = 0
  let lose: ((bytes: Buffer) => boolean) | undefined
  const server = createServer((client) => {
    if (isCut) return void client.destroy()
    const upstream = connect(target)
    const end = () => {
      client.destroy()
      upstream.destroy()
      open.delete(client)
    }
    const pass = (bytes: Buffer) => {
      if (delayMs === 0) client.write(bytes)
      else setTimeout(() => client.write(bytes), delayMs)
    }
    open.add(client)
    for (const socket of [client, upstream]) socket.on('error', end).on('close', end)
    client.pipe(upstream)
    upstream.on('data', (bytes) => {
      if (isHung) return
      if (!lose?.(bytes)) return void pass(bytes)
      lose = undefined
      end()
    })
  })
  const cutAll = () => {
    for (const socket of open) socket.destroy()
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    cut: () => {
      isCut = true
      cutAll()
    },
    hang: () => {
      isHung = true
    },
    slow: (ms) => {
      delayMs = ms
    },
    restore: () => {
      if (isHung) cutAll()
      isCut = false
      isHung = false
      delayMs = 0
    },
    loseReply: (matches) => {
      lose = matches
    },
    close: async () => {
      cutAll()
      server.close()
      await once(server, 'close')
    },
  }
}
