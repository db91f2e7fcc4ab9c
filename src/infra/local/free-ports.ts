import { once } from 'node:events'
import { type AddressInfo, createServer, type Server } from 'node:net'

/** As many different ports of 127.0.0.1 as asked for, on which nobody listens. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, () => listen(0, '127.0.0.1')))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map(close))
  return ports
}

/** Fails with a sentence if the port cannot be used. */
export async function requireFree(port: number, host: string): Promise<void> {
  try {
    await close(await listen(port, host))
  } catch (error) {
    throw new Error(explain(error as NodeJS.ErrnoException, port, host), { cause: error })
  }
}

function explain({ code, message }: NodeJS.ErrnoException, port: number, host: string): string {
  switch (code) {
    case 'EADDRINUSE':
      return `Port ${port} is in use: stop what listens there, or set PORT.`
    case 'EACCES':
      return `Port ${port} needs more rights than this user has: set PORT to 1024 or higher.`
    default:
      return `Cannot listen on ${host}:${port}: ${message}.`
  }
}

async function listen(port: number, host: string): Promise<Server> {
  const server = createServer().listen(port, host)
  await once(server, 'listening')
  return server
}

const close = (server: Server): Promise<void> =>
  new Promise((resolve) => server.close(() => resolve()))
