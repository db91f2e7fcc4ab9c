// `npm run projections -- status | park <name> [stream] | resume <name> [stream]`.
import type { DatabaseConfig } from './config.ts'
import { findDatabase } from './infra/data-dir.ts'
import { auditProjection } from './infra/postgres/audit-projection.ts'
import { openDatabase } from './infra/postgres/database.ts'
import { park, resume } from './infra/postgres/parking.ts'
import type { Projection } from './infra/postgres/projection.ts'
import { type ProjectionStatus, projectionStatus } from './infra/postgres/projection-status.ts'
import { requireReachable } from './infra/postgres/reachable.ts'

/** Those that the worker keeps behind the log. */
const PROJECTIONS: readonly Projection[] = [auditProjection()]

type Command = {
  /** What follows its name. */
  readonly usage: string
  readonly takes: readonly [least: number, most: number]
  /** The lines that it says. */
  readonly run: (config: DatabaseConfig, args: readonly string[]) => Promise<readonly string[]>
}

const COMMANDS: Readonly<Record<string, Command>> = {
  status: { usage: '', takes: [0, 0], run: status },
  park: {
    usage: '<name> [stream]',
    takes: [1, 2],
    run: async (config, [name, stream]) => [await park(config, named(name), stream)],
  },
  resume: {
    usage: '<name> [stream]',
    takes: [1, 2],
    run: async (config, [name, stream]) => [await resume(config, named(name), stream)],
  },
}

function named(name: string | undefined): Projection {
  const found = PROJECTIONS.find((projection) => projection.name === name)
  if (found !== undefined) return found
  const names = PROJECTIONS.map(({ name }) => name).join(', ')
  throw new Error(`There is no projection "${name}": use ${names}.`)
}

/** A connection that is lost fails the statement, and that is reported. */
const silent = { info: () => {}, warn: () => {}, error: () => {} }

async function status(config: DatabaseConfig): Promise<readonly string[]> {
  const db = openDatabase({ ...config, role: 'tasktrail_worker', log: silent })
  const all = await projectionStatus(db.query).finally(db.close)
  return all.flatMap((projection) => [line(projection), ...parkedLines(projection)])
}

function line({ name, state, position, head, ...rest }: ProjectionStatus): string {
  const { lag_positions, lag_seconds, parked_streams } = rest
  const behind =
    lag_positions === 0
      ? 'up to date'
      : `${lag_positions} positions and ${lag_seconds.toFixed(1)} s behind`
  const parked = parked_streams === 0 ? '' : `, ${parked_streams} streams parked`
  return `${name.padEnd(10)}  ${state}, at ${position} of ${head}, ${behind}${parked}`
}

const parkedLines = ({ parked }: ProjectionStatus): readonly string[] =>
  parked.map(
    ({ stream_id, version, parked_at, error }) =>
      `  ${stream_id} from its event ${version} on, since ${parked_at}: ${error}`,
  )

async function run([name = 'status', ...args]: readonly string[]): Promise<readonly string[]> {
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (command === undefined) {
    const names = Object.keys(COMMANDS).join(', ')
    throw new Error(`There is no "${name}": use ${names}.`)
  }
  const [least, most] = command.takes
  if (args.length < least || args.length > most) {
    throw new Error(`Use it so: npm run projections -- ${name} ${command.usage}`.trimEnd())
  }
  const config = await findDatabase(process.env)
  await requireReachable(config)
  return command.run(config, args)
}

/** One sentence; what the database itself says stands under an adapter's code. */
function sentence(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { cause, message } = error
  if ((error as { code?: unknown }).code === '42P01') {
    return 'The database holds no projections yet: run "npm run migrate".'
  }
  return cause instanceof Error && !message.includes(cause.message)
    ? `The database failed: ${cause.message}.`
    : message
}

try {
  for (const text of await run(process.argv.slice(2))) console.log(text)
} catch (error) {
  console.error(sentence(error))
  process.exitCode = 1
}
