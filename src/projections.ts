import { setPriority } from 'node:os'
import { command, UsageError } from './command-line.ts'
import { databaseFailure, findDatabase, keptSecret } from './find-database.ts'
import { secretKeyWrap } from './infra/encryption/text-cipher.ts'
import { postgresUserKeys } from './infra/encryption/user-keys.ts'
import { auditProjection } from './infra/postgres/audit/audit-projection.ts'
import type { DatabaseConfig } from './infra/postgres/connection/database.ts'
import { openDatabase } from './infra/postgres/connection/database.ts'
import { requireReachable } from './infra/postgres/connection/reachable.ts'
import { requireKey } from './infra/postgres/keys/required-key.ts'
import { textKey } from './infra/postgres/keys/stored-keys.ts'
import { park, resume } from './infra/postgres/projections/parking.ts'
import type { Projection } from './infra/postgres/projections/projection.ts'
import {
  type ProjectionStatus,
  projectionStatus,
} from './infra/postgres/projections/projection-status.ts'
import { type Rebuilt, rebuild } from './infra/postgres/projections/rebuild/rebuild.ts'
import {
  type Progress,
  REBUILDABLE,
  type Rebuildable,
} from './infra/postgres/projections/rebuild/rebuild-run.ts'

/** Those that the worker updates. */
const PROJECTIONS: readonly Projection[] = [auditProjection()]

const USAGE = `Usage: npm run projections [-- status]            how far each lags behind the log, what is parked
       npm run projections -- rebuild <name>         rebuilds it while writes go on
       npm run projections -- park <name> [stream]   stops it, or one stream in it
       npm run projections -- resume <name> [stream] lets it go on

rebuild takes ${REBUILDABLE.join(' or ')}; park and resume take audit.`

type Command = {
  /** How many arguments it takes after its name. */
  readonly takes: readonly [least: number, most: number]
  /** Returns the lines to print. */
  readonly run: (config: DatabaseConfig, args: readonly string[]) => Promise<readonly string[]>
}

const COMMANDS: Readonly<Record<string, Command>> = {
  status: { takes: [0, 0], run: status },
  park: {
    takes: [1, 2],
    run: async (config, [name, stream]) => [await park(config, named(name), stream)],
  },
  resume: {
    takes: [1, 2],
    run: async (config, [name, stream]) => [await resume(config, named(name), stream)],
  },
  rebuild: { takes: [1, 1], run: rebuildAgain },
}

function named(name: string | undefined): Projection {
  const found = PROJECTIONS.find((projection) => projection.name === name)
  if (found !== undefined) return found
  const names = PROJECTIONS.map(({ name }) => name).join(', ')
  throw new UsageError(`There is no projection "${name}": use ${names}.`)
}

/** A lost connection fails the statement, and that is reported. */
const silent = { info: () => {}, warn: () => {}, error: () => {} }

async function status(config: DatabaseConfig): Promise<readonly string[]> {
  const db = openDatabase({ ...config, role: 'tasktrail_worker', log: silent })
  const all = await projectionStatus(db.query).finally(db.close)
  return all.flatMap((projection) => [line(projection), ...parkedLines(projection)])
}

function line(status: ProjectionStatus): string {
  const { name, state, position, head } = status
  return `${name.padEnd(10)}  ${state}, at ${position} of ${head}, ${howFar(status)}`
}

/** Parked is never up to date: nothing advances it. */
function howFar({ state, lag_positions, lag_seconds, parked_streams }: ProjectionStatus): string {
  const streams = parked_streams === 1 ? '1 parked stream' : `${parked_streams} parked streams`
  const some = parked_streams > 0
  if (lag_positions > 0) {
    const behind = `${lag_positions} positions and ${lag_seconds.toFixed(1)} s behind`
    return some ? `${behind}, with ${streams}` : behind
  }
  if (state === 'parked') return some ? `no new events, with ${streams}` : 'no new events'
  return some ? `up to date except for ${streams}` : 'up to date'
}

const parkedLines = ({ parked }: ProjectionStatus): readonly string[] =>
  parked.map(
    ({ stream_id, version, parked_at, error }) =>
      `  ${stream_id} from version ${version} on, since ${parked_at}: ${error}`,
  )

/** Yields to whatever else runs on this machine. */
const LESS_URGENT = 5

async function rebuildAgain(
  config: DatabaseConfig,
  [wanted]: readonly string[],
): Promise<readonly string[]> {
  const name = REBUILDABLE.find((name) => name === wanted)
  if (name === undefined) {
    throw new UsageError(`There is no projection "${wanted}": use ${REBUILDABLE.join(', ')}.`)
  }
  const secret = await keptSecret(process.env, 'TEXT_KEY')
  if (secret === undefined && name === 'tasks') {
    throw new Error('No TEXT_KEY: set it, or set DATA_DIR to where "npm start" keeps its data.')
  }
  setPriority(LESS_URGENT)
  const interrupted = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => interrupted.abort(new Error(`Interrupted: ${name} is unchanged.`)))
  }
  const { connection } = config
  const db = openDatabase({ connection, poolMax: 2, role: 'tasktrail_worker', log: silent })
  if (name === 'tasks') {
    await requireKey(db.query, textKey(secret ?? '', process.env.TEXT_KEY_PREVIOUS || undefined))
  }
  const keys = postgresUserKeys(db, secretKeyWrap(secret ?? '', process.env.TEXT_KEY_PREVIOUS))
  const { signal } = interrupted
  const facts = { name, connection, db, keys, signal, onProgress: everySecond() }
  const rebuilt = await rebuild(facts).finally(db.close)
  return rebuiltLines(name, rebuilt)
}

function everySecond(): (progress: Progress) => void {
  let next = 0
  return (progress) => {
    const now = performance.now()
    if (progress.step !== 'folding') return console.log(`${progress.step} ...`)
    const { position, end, perSecond } = progress
    if (now < next && position < end) return
    next = now + 1_000
    const percent = Math.floor((position / end) * 100)
    console.log(`at ${position} of ${end}, ${percent} %, ${Math.round(perSecond)} events/s`)
  }
}

/** Who drops what a rebuild could not. A replaced tasks table still holds texts. */
const DROPPED_BY: Readonly<Record<Rebuildable, string>> = {
  tasks: 'the worker drops it within a minute',
  audit: 'the next rebuild drops it',
}

function rebuiltLines(name: Rebuildable, rebuilt: Rebuilt): readonly string[] {
  const { events, seconds, differences, first, parked, fencedMs, remains } = rebuilt
  const perSecond = Math.round(events / seconds)
  const many = differences === 1 ? '1 row' : `${differences} rows`
  return [
    `The projection ${name} is rebuilt: ${events} events in ${seconds.toFixed(1)} s ` +
      `(${perSecond} events/s), swapped in ${fencedMs.toFixed(1)} ms.`,
    differences === 0
      ? 'The one before matched the log.'
      : `The one before differed from the log in ${many}:`,
    ...first.map(({ kind, stream_id, fields }) => `  ${stream_id}: ${kind} ${fields.join(', ')}`),
    ...parked.map((stream_id) => `${stream_id} stays parked: see status.`),
    ...(remains === null
      ? []
      : [`What it replaced is not dropped yet (${remains}): ${DROPPED_BY[name]}.`]),
  ].map((text) => text.trimEnd())
}

async function run([name = 'status', ...args]: readonly string[]): Promise<readonly string[]> {
  const wanted = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (wanted === undefined) {
    throw new UsageError(`There is no "${name}": use ${Object.keys(COMMANDS).join(', ')}.`)
  }
  const [least, most] = wanted.takes
  if (args.length < least) throw new UsageError(`${name} takes the name of a projection.`)
  if (args.length > most) throw new UsageError(`Unexpected argument '${args[most]}'.`)
  const config = await findDatabase(process.env)
  await requireReachable(config)
  return wanted.run(config, args)
}

// Whoever reads our output may exit first: that must not stop a rebuild.
process.stdout.on('error', () => {})
await command({ usage: USAGE, takes: [0, 3] }, ({ args }) => run(args), databaseFailure)
