export type RedisConfig = {
  /** redis:// or, for TLS, rediss://; of any node of a cluster. */
  readonly url: string
  /** In the place of the URL's. */
  readonly password: string | undefined
  readonly mode: 'single' | 'cluster'
  /** How long an answer may take. */
  readonly timeoutMs: number
}

/** A client of one Redis or of a cluster: what we ask of it, beside rate-limiter-flexible. */
export type Redis = {
  readonly eval: (
    script: string,
    options: { readonly keys: string[]; readonly arguments: string[] },
  ) => Promise<unknown>
  readonly destroy: () => void
}

export type Connection = {
  readonly redis: Redis
  readonly connected: Promise<unknown>
  /** Resolves if every node that has keys answers, and takes a write. */
  readonly probe: () => Promise<unknown>
}

/** Begins to connect. Whoever gets the connection destroys it; `lost` says that it has ended by itself. */
export type Connect = (lost: (error: Error) => void) => Promise<Connection>

const WRITE = "return redis.call('set', KEYS[1], '', 'px', 1000)"

// Whoever asks has a shorter one, and the client's own takes a signal a command.
const NO_TIMEOUT = { timeout: 0 }

/** A connection that is not repaired: whoever lost it opens another. Nothing waits in it for better times. */
export const redisConnect =
  (config: RedisConfig, prefix: string, connectMs: number): Connect =>
  async (lost) => {
    // Takes 8 MB and 100 ms: only where there is a Redis.
    const { createClient, createCluster } = await import('@redis/client')
    const options = optionsOf(config, connectMs)
    const writes = (redis: Redis) => redis.eval(WRITE, { keys: [`${prefix}probe`], arguments: [] })
    if (config.mode === 'single') {
      const redis = createClient({ ...options, commandOptions: NO_TIMEOUT })
      redis.on('error', lost)
      return { redis, connected: redis.connect(), probe: () => writes(redis) }
    }
    const { database, ...defaults } = options
    const cluster = createCluster({
      rootNodes: [defaults],
      defaults,
      commandOptions: NO_TIMEOUT,
    })
    cluster.on('error', lost).on('node-error', lost)
    const pings = () => cluster.masters.map(async (node) => (await cluster.nodeClient(node)).ping())
    const probe = () => Promise.all([writes(cluster), ...pings()])
    return { redis: cluster, connected: cluster.connect(), probe }
  }

function optionsOf({ url, password }: RedisConfig, connectTimeout: number) {
  const { protocol, hostname, port, username, password: inUrl, pathname } = new URL(url)
  const place = {
    // As a URL writes it, an IPv6 address stands in brackets.
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port === '' ? 6379 : Number(port),
    connectTimeout,
    reconnectStrategy: false as const,
  }
  const given = password ?? decodeURIComponent(inUrl)
  return {
    socket: protocol === 'rediss:' ? { ...place, tls: true as const } : place,
    ...(username !== '' && { username: decodeURIComponent(username) }),
    ...(given !== '' && { password: given }),
    database: Number(pathname.slice(1)),
    disableOfflineQueue: true,
    disableClientInfo: true,
    maintNotifications: 'disabled' as const,
    RESP: 2 as const,
  }
}
