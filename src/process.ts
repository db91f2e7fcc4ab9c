import { pino } from 'pino'
import type { Service } from './http/server.ts'
import { repeat } from './infra/postgres/connection/repeat.ts'
import { WrongKey } from './infra/postgres/keys/required-key.ts'
import { ConfigError, type Env } from './settings.ts'

export type Running = {
  readonly service: Service
  /** Resolves if the keys match the data. Errors: `WrongKey`; the database's. */
  readonly requireKeys: () => Promise<void>
  /** Releases what the service used, each part before those that it depends on. */
  readonly dispose: () => Promise<void>
}

export type ServiceSettings = {
  readonly PORT: number
  readonly HOST: string
  readonly LOG_LEVEL: string
  readonly DRAIN_SECONDS: number
}

const FINISH_MS = 20_000
const GIVE_UP_MS = 5_000
const ASK_AGAIN_MS = 1_000

export const logger = (name: string, level: string) =>
  pino(
    {
      level,
      base: { service: name },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    oncePerTurn(pino.destination({ sync: true })),
  )

/**
 * Writes the lines of one turn of the event loop together: a write costs as much as all else about a line.
 * However the process ends, unless it is killed in the middle of a turn, none is lost.
 */
function oncePerTurn(out: { readonly write: (lines: string) => unknown }) {
  let lines = ''
  let isEnding = false
  const flushSync = () => {
    const written = lines
    lines = ''
    if (written !== '') out.write(written)
  }
  process.once('exit', () => {
    isEnding = true
    flushSync()
  })
  return {
    write(line: string) {
      if (lines === '') setImmediate(flushSync)
      lines += line
      // No further turn comes.
      if (isEnding) flushSync()
    },
    /** For pino, after a fatal line. */
    flushSync,
  }
}

export const serviceUsage = (script: string, name: string): string =>
  `Usage: npm run ${script}

Runs ${name} until SIGTERM or SIGINT. Its settings are environment variables; it names those that are missing.`

/** Parses the environment. If that fails, says why in one sentence and ends the process. */
export function configured<Config>(parse: (env: Env) => Config): Config {
  try {
    return parse(process.env)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    console.error(error.message)
    process.exit(1)
  }
}

/**
 * Runs a service as this process until SIGTERM, SIGINT, or the end of its parent. It then keeps answering
 * for a while, so that the load balancer can drain it, finishes the requests under way, and closes its
 * database last.
 */
export async function run(
  name: string,
  settings: ServiceSettings,
  start: (log: ReturnType<typeof logger>) => Running | Promise<Running>,
): Promise<void> {
  const log = logger(name, settings.LOG_LEVEL)
  const fatal = (error: unknown) => {
    log.fatal({ err: error }, 'cannot go on')
    process.exit(1)
  }
  process.on('uncaughtException', fatal)
  process.on('unhandledRejection', fatal)

  const { service, requireKeys, dispose } = await start(log)
  let stopping = false
  const stop = async (reason: string, drainSeconds: number) => {
    if (stopping) return
    stopping = true
    log.info({ reason }, 'stopping')
    // Also when nothing is left to wait for and Node ends by itself.
    process.once('exit', (code) => log.info({ code }, 'stopped'))
    setTimeout(() => process.exit(1), drainSeconds * 1000 + FINISH_MS + GIVE_UP_MS).unref()
    service.retire()
    await new Promise((resolve) => setTimeout(resolve, drainSeconds * 1000))
    await service.close(FINISH_MS)
    await dispose()
    process.exit(0)
  }
  process.on('SIGTERM', () => stop('SIGTERM', settings.DRAIN_SECONDS))
  process.on('SIGINT', () => stop('SIGINT', settings.DRAIN_SECONDS))
  // `npm start` gives its services a channel. It closes when the runner ends, for whatever reason.
  process.on('disconnect', () => stop('the parent is gone', 0))
  // The channel closed before we listened.
  if (process.connected === false) void stop('the parent is gone', 0)

  const known = await keysKnown(requireKeys)
  if (!known) {
    repeat(ASK_AGAIN_MS, async () => ((await keysKnown(requireKeys)) ? 'done' : 'again'))
  }
  if (stopping) return
  const { address, port } = await service.listen(settings.PORT, settings.HOST).catch((error) => {
    console.error(`Cannot listen on ${settings.HOST}:${settings.PORT}: ${error.message}.`)
    process.exit(1)
  })
  log.info({ address, port, pid: process.pid }, 'listening')
}

/** False while the database is unreachable. Ends the process if a key does not match the data. */
async function keysKnown(requireKeys: () => Promise<void>): Promise<boolean> {
  try {
    await requireKeys()
    return true
  } catch (error) {
    if (!(error instanceof WrongKey)) return false
    console.error(error.message)
    process.exit(1)
  }
}
