import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { wholeNumbers } from '../src/command-line.ts'
import { SUPERUSER, startEmbeddedPostgres } from '../src/infra/local/embedded-postgres.ts'
import { raceToCatchUp } from './catch-up-race.ts'
import { percentile } from './percentile.ts'

const USAGE = `Usage: npm run bench:catch-up [-- events [rounds]]

Measures how fast the audit projection catches up with a log, next to Emmett's PostgreSQL consumer on the
same machine in the same run: 200,000 events, 3 rounds. Both begin at the first of the same events, and
write a row per event into tables with the same indexes.`

const [EVENTS = 200_000, ROUNDS = 3] = wholeNumbers({ usage: USAGE, takes: [0, 2] })
const TARGET = 20_000

const directory = await mkdtemp(join(tmpdir(), 'tasktrail-catch-up-'))
const password = randomUUID()
const postgres = await startEmbeddedPostgres({
  dataDir: join(directory, 'postgres'),
  password,
  database: 'tasktrail',
  settings: { shared_buffers: '256MB', max_wal_size: '4GB' },
})
const connectionString = `postgres://${SUPERUSER}:${password}@127.0.0.1:${postgres.port}/tasktrail`

const shown = (rate: number) => `${Math.round(rate).toLocaleString('en')} events/s`

try {
  const onRound = (round: number, own: number, other: number) =>
    console.log(`round ${round}: ${shown(own)}, Emmett ${shown(other)}`)
  const rates = await raceToCatchUp({ connectionString, events: EVENTS, rounds: ROUNDS, onRound })
  const [own, other] = [percentile(rates.ours, 0.5), percentile(rates.emmetts, 0.5)]
  console.log(`audit projection: ${shown(own)}, median of ${ROUNDS} over ${EVENTS} events`)
  console.log(`Emmett's consumer: ${shown(other)}; ratio ${(own / other).toFixed(1)}`)
  const verdict = own >= TARGET ? 'within' : 'BELOW'
  console.log(`${verdict} the target of ${shown(TARGET)}`)
  if (own < TARGET) process.exitCode = 1
} finally {
  await postgres.stop()
  await rm(directory, { recursive: true, force: true })
}
