import { Resolver } from 'node:dns/promises'
import { once } from 'node:events'
import dns2, { Packet, type Resource } from 'dns2'

/** What the name server says of every name; `silent` is no answer at all. */
export type Zone =
  | { readonly addresses: readonly string[]; readonly ttl: number }
  | 'no such name'
  | 'server failure'
  | 'silent'

/** A real DNS server on loopback whose one answer can be changed while clients use it. */
export async function nameServer() {
  let zone: Zone = 'no such name'
  let queries = 0
  const server = dns2.createUDPServer((request, send) => {
    queries += 1
    const { NXDOMAIN, SERVFAIL } = Packet.RCODE
    if (zone === 'silent') return
    if (zone === 'no such name')
      return send(Packet.createErrorResponseFromRequest(request, NXDOMAIN))
    if (zone === 'server failure') {
      return send(Packet.createErrorResponseFromRequest(request, SERVFAIL))
    }
    const response = Packet.createResponseFromRequest(request)
    const name = request.questions[0]?.name ?? ''
    const record = { name, type: Packet.TYPE.A, class: Packet.CLASS.IN, ttl: zone.ttl }
    response.answers = zone.addresses.map((address) => ({ ...record, address }) as Resource)
    return send(response)
  })
  await server.listen(0, '127.0.0.1')
  const address = `127.0.0.1:${server.address()?.port}`

  return {
    address,
    /** A resolver that asks this server alone. */
    resolver: (options: { timeout?: number; tries?: number; maxTimeout?: number } = {}) => {
      const resolver = new Resolver(options)
      resolver.setServers([address])
      return resolver
    },
    say: (next: Zone) => {
      zone = next
    },
    queries: () => queries,
    close: async () => {
      const closed = once(server as unknown as NodeJS.EventEmitter, 'close')
      server.close()
      await closed
    },
  }
}
