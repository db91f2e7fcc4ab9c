import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import { killAll, type Started, startProcess, until } from './support/processes.ts'
import { busyWriters, type TaskWorld, TEXT_KEY, taskWorld } from './support/task-world.ts'

// Texts that are not encrypted are read as they stand, and found by nothing.
const FILL = `
  insert into events (stream_id, version, event_id, type, schema_version, data, actor_id, metadata,
      occurred_at, hash)
    select 'task-' || task, version, gen_random_uuid(),
      case version when 1 then 'TaskCreated' else 'TaskRenamed' end, 1,
      case version
        when 1 then '{"user_id":7,"title":"A","description":null,"status":"pending",
          "priority":"medium","due_date":null}'
        else '{"title":"B"}' end::jsonb,
      1, '{"request_id":"r"}', timestamptz '2026-01-01', sha256(convert_to(task::text, 'utf8'))
    from generate_series(100001, 101000) task, generate_series(1, 4) version`
const FILL_TASKS = `
  insert into tasks select task, 7, '"B"', null, 'pending', 'medium', null, timestamptz '2026-01-01',
      timestamptz '2026-01-01', 4, null, null
    from generate_series(100001, 101000) task`

describe('npm run projections -- rebuild', () => {
  let world: TaskWorld
  let empty: string
  let started: Started[]

  before(async () => {
    empty = await mkdtemp(join(tmpdir(), 'tasktrail-rebuild-'))
  })
  after(() => rm(empty, { recursive: true, force: true }))
  beforeEach(async () => {
    world = await taskWorld()
    started = []
  })
  afterEach(async () => {
    killAll(started.map(({ pid }) => pid))
    await world.close()
  })

  const start = (args: readonly string[], env: Record<string, string> = {}) => {
    const run = startProcess(process.execPath, ['src/projections.ts', 'rebuild', ...args], {
      env: { DATABASE_URL: world.test.url, DATA_DIR: empty, TEXT_KEY, ...env },
    })
    started.push(run)
    return run
  }
  const finished = async (run: Started) => ({ ended: await run.ended, err: run.err })
  const fill = async () => {
    await world.sql.query(FILL)
    await world.sql.query(FILL_TASKS)
  }
  const remains = async () => {
    const { rows } = await world.sql.query(`
      select relname as name from pg_class where relname ~ '_(rebuild|replaced)'
      union all select name from projections where state = 'rebuilding'`)
    return rows.map(({ name }) => name)
  }
  /** A killed process's session may be at its last statement still. */
  const sessionOver = () =>
    until(async () => {
      const { rows } = await world.sql.query(`select from pg_stat_activity
        where application_name like 'rebuild %' and datname = current_database()`)
      return rows.length === 0
    }, 'the end of the session')

  it('continues to the end when nobody reads its output any more', async () => {
    await world.create(1)
    await world.sql.query(`update tasks set title = '"Forged"' where id = 1`)
    const run = start(['tasks'])
    run.child.stdout?.destroy()
    expect(await finished(run)).to.deep.equal({ ended: 'code 0', err: [] })
    expect(await remains()).to.deep.equal([])
    expect(await world.rows()).to.deep.equal(await world.folded())
  })

  it('prints its progress, what it found and that it is done', async () => {
    await world.create(1)
    await world.create(2)
    await world.sql.query(`update tasks set title = '"Forged"' where id = 2`)
    const run = start(['tasks'])
    expect(await finished(run)).to.deep.equal({ ended: 'code 0', err: [] })
    expect(run.out[0]).to.match(/^at 2 of 2, 100 %, \d+ events\/s$/)
    expect(run.out.slice(1, -3)).to.deep.equal(['indexing ...', 'comparing ...', 'swapping ...'])
    expect(run.out.at(-3)).to.match(
      /^The projection tasks is rebuilt: 2 events in [\d.]+ s \(\d+ events\/s\), swapped in [\d.]+ ms\.$/,
    )
    expect(run.out.slice(-2)).to.deep.equal([
      'The one before differed from the log in 1 row:',
      '  task-2: different title',
    ])
    expect(await world.rows()).to.deep.equal(await world.folded())
  })

  for (const [args, code, sentence] of [
    [[], 2, 'rebuild takes the name of a projection.'],
    [['tasks', 'audit'], 2, "Unexpected argument 'audit'."],
    [['users'], 2, 'There is no projection "users": use tasks, audit.'],
    [['tasks'], 1, 'No TEXT_KEY: set it, or set DATA_DIR to where "npm start" keeps its data.'],
  ] as const) {
    it(`refuses "${args.join(' ')}"${code === 1 ? ' without a key' : ''}`, async () => {
      const { ended, err } = await finished(start(args, code === 1 ? { TEXT_KEY: '' } : {}))
      expect([ended, err[0]]).to.deep.equal([`code ${code}`, sentence])
      expect(err.length > 1).to.equal(code === 2)
    })
  }

  it('says so when the login is not that of the owner', async () => {
    const login = `login_${randomUUID().replaceAll('-', '')}`
    await world.sql.query(`create role ${login} login password 'x' in role tasktrail_worker`)
    try {
      const url = new URL(world.test.url)
      url.username = login
      url.password = 'x'
      const { ended, err } = await finished(start(['audit'], { DATABASE_URL: url.href }))
      expect(ended).to.equal('code 1')
      expect(err).to.deep.equal(['Only the owner of the tables, tasktrail, can rebuild.'])
    } finally {
      await world.sql.query(`drop role ${login}`)
    }
  })

  it('says so when the key is not the one that the texts need', async () => {
    await world.create(1)
    const run = start(['tasks'], { TEXT_KEY: 'another key for texts, as long as it has to be' })
    const { ended, err } = await finished(run)
    expect(ended).to.equal('code 1')
    expect(err).to.have.length(1)
    expect(err[0]).to.match(/^TEXT_KEY is not the key that the texts .* were encrypted under: /)
    expect(await remains()).to.deep.equal([])
  })

  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    it(`ends on ${signal}, and leaves nothing behind`, async () => {
      await fill()
      const run = start(['tasks'])
      await run.line(/^at /)
      run.child.kill(signal)
      expect(await finished(run)).to.deep.equal({
        ended: 'code 1',
        err: ['Interrupted: tasks is unchanged.'],
      })
      expect(await remains()).to.deep.equal([])
    })
  }

  it('is killed at any moment, under writes: nothing is lost, and the next one ends', async function () {
    this.timeout(180_000)
    await fill()
    const writers = busyWriters(world, 1, 1)
    try {
      for (let round = 0; round < 4; round++) {
        const name = round % 2 === 0 ? 'tasks' : 'audit'
        const run = start([name])
        await run.line(/^at /)
        // Any moment of what follows, which takes about that long.
        await sleep(Math.random() * 2_000)
        run.child.kill('SIGKILL')
        await run.ended
        await sessionOver()
      }
    } finally {
      await writers.stop()
    }
    expect(writers.written.failures).to.deep.equal([])
    expect(await world.rows()).to.deep.equal(await world.folded())
    for (const name of ['tasks', 'audit']) {
      expect(await finished(start([name]))).to.deep.equal({ ended: 'code 0', err: [] })
    }
    expect(await remains()).to.deep.equal([])
    expect(await world.rows()).to.deep.equal(await world.folded())
    expect(await world.auditRows()).to.deep.equal(await world.foldedAudit())
  })
})
