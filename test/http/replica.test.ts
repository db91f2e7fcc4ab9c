import { expect } from 'chai'
import pg from 'pg'
import { auditProjection } from '../../src/infra/postgres/audit/audit-projection.ts'
import { type Database, openDatabase } from '../../src/infra/postgres/connection/database.ts'
import { projector } from '../../src/infra/postgres/projections/projector.ts'
import { silent } from '../support/log.ts'
import { until } from '../support/processes.ts'
import { giveRole } from '../support/roles.ts'
import { skipped } from '../support/skipped.ts'
import {
  hasBaseBackup,
  type ReplicatedPostgres,
  replicatedPostgres,
} from '../support/streaming-replica.ts'
import { type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>

const NDJSON = { Accept: 'application/x-ndjson' }

describe('The past and the audit trail, read from a replica', function () {
  this.timeout(120_000)
  let postgres: ReplicatedPostgres
  let systems: [System, System]
  let db: Database
  let audit: ReturnType<typeof projector>

  before(async function () {
    if (!hasBaseBackup) skipped(this, 'no pg_basebackup of PostgreSQL 15 on this machine')
    postgres = await replicatedPostgres()
    const { database, replicaUrl } = postgres
    const start = () => startSystem({ READ_DATABASE_URL: replicaUrl }, undefined, database)
    systems = [await start(), await start()]
    const role = 'tasktrail_worker'
    db = openDatabase({ ...database.config, role, log: silent })
    const { connection } = database.config
    const wake = { subscribe: () => () => {} }
    audit = projector({ projection: auditProjection(), connection, role, db, wake, log: silent })
    await isUsed()
  })
  after(async () => {
    await audit?.close()
    await db?.close()
    for (const system of systems ?? []) await system.stop()
    await postgres?.stop()
  })

  const ready = async ({ urls }: System) =>
    ((await (await fetch(`${urls.task}/ready`)).json()) as { replica?: string }).replica
  const isUsed = () =>
    until(
      async () => (await Promise.all(systems.map(ready))).every((state) => state === 'used'),
      'the use of the replica',
    )
  const ok = async (system: System, user: User, path: string, headers = {}) => {
    const answer = await system.call('GET', path, { token: user.token, headers })
    expect(answer.status, `${path} ${JSON.stringify(answer.body)}`).to.equal(200)
    return answer
  }
  const create = async (system: System, { token }: User) =>
    (await system.call('POST', '/tasks', { token, body: { title: 'First' } })).body.task.id
  const rename = async (system: System, { token }: User, id: number, title: string) => {
    const { status, body } = await system.call('PUT', `/tasks/${id}`, { token, body: { title } })
    expect(status, JSON.stringify(body)).to.equal(200)
    return body.task.version as number
  }

  /** The statements that task-services have run on the replica since a moment, one a connection. */
  const onReplica = async (since: Date): Promise<readonly string[]> => {
    const client = new pg.Client(postgres.replicaUrl)
    await client.connect()
    const running = `
      select query from pg_stat_activity
      where application_name = 'tasktrail_task' and query_start >= $1`
    const { rows } = await client.query(running, [since]).finally(() => client.end())
    return rows.map(({ query }) => query)
  }

  it('are asked of the replica; the present and what commands need, of the primary', async () => {
    const [system] = systems
    const ann = await system.newUser()
    const id = await create(system, ann)
    await rename(system, ann, id, 'Second')
    // On a busy machine the primary may answer now and then.
    const isAsked = (path: string, table: RegExp, headers = {}) =>
      until(async () => {
        const since = new Date()
        await ok(system, ann, path, headers)
        return (await onReplica(since)).some((query) => table.test(query))
      }, `${path} on the replica`)
    const as_of = new Date().toISOString()
    for (const path of [
      `/tasks/${id}/history`,
      `/tasks/${id}?version=1`,
      `/tasks/${id}?as_of=${as_of}`,
      `/tasks?as_of=${as_of}`,
      '/tasks/changes',
    ]) {
      await isAsked(path, /from events/)
    }
    await until(
      async () => (await ok(system, ann, '/audit/events')).body.events.length > 1,
      'trail',
    )
    await isAsked('/audit/events', /from audit_events/)
    await isAsked('/audit/events', /from audit_events/, NDJSON)

    const since = new Date()
    await ok(system, ann, `/tasks/${id}`)
    await ok(system, ann, '/tasks')
    const undone = await system.call('POST', `/tasks/${id}/undo`, { token: ann.token, body: {} })
    expect(undone.status).to.equal(200)
    const read = (await onReplica(since)).filter((query) => !query.includes('replica_marks'))
    expect(read).to.deep.equal([])
  })

  it('miss nothing that a client has written or seen, whatever happens to the replica', async () => {
    const [one, other] = systems
    let over = false
    const rounds = Array.from({ length: 6 }, () => 0)
    /** Until each client has gone round, with all that it checks. */
    const aRound = async () => {
      const goals = rounds.map((done) => done + 2)
      await until(
        () => goals.every((goal, n) => (rounds[n] ?? 0) >= goal),
        'a round of each client',
      )
    }
    /** Writes through one process and reads through the other. */
    const client = async (index: number) => {
      const [here, there] = index % 2 === 0 ? [one, other] : [other, one]
      const user = await here.newUser()
      const id = await create(here, user)
      let since = 0
      const seen = { position: 0, events: 0 }
      for (let round = 0; !over; rounds[index] = ++round) {
        const title = `Title ${round}`
        const version = await rename(here, user, id, title)
        const latest = `/tasks/${id}/history?order=desc&limit=1`
        expect((await ok(there, user, latest)).body.events[0]).to.include({ version })
        const { task } = (await ok(there, user, `/tasks/${id}?version=${version}`)).body
        expect(task).to.include({ title, version })
        const changes = (await ok(there, user, `/tasks/changes?since=${since}`)).body
        expect(changes.events.at(-1)).to.include({ version, task_id: id })
        expect(changes.events).to.have.lengthOf(since === 0 ? 2 : 1)
        since = Number(changes.next_cursor)
        const as_of = (task as { updated_at: string }).updated_at
        const [listed] = (await ok(there, user, `/tasks?as_of=${as_of}`)).body.tasks
        expect(listed.version).to.equal(version)

        const { headers, body } = await ok(here, user, '/audit/events?limit=200')
        const position = Number(headers.get('audit-position'))
        expect(position).to.be.at.least(seen.position)
        expect(body.events.length).to.be.at.least(Math.min(200, seen.events))
        Object.assign(seen, { position, events: body.events.length })
        const lines = (await ok(there, user, '/audit/events', NDJSON)).body.trim().split('\n')
        const trailer = JSON.parse(lines.at(-1)).trailer
        expect(trailer.position).to.be.at.least(position)
        expect(trailer.count)
          .to.equal(lines.length - 1)
          .and.at.least(seen.events)
      }
    }
    const happening = async () => {
      await aRound()
      await postgres.pause()
      await aRound()
      await postgres.resume()
      await isUsed()
      await postgres.setReplica('recovery_min_apply_delay', '50ms')
      await aRound()
      await postgres.setReplica('recovery_min_apply_delay', '2s')
      await aRound()
      await postgres.setReplica('recovery_min_apply_delay', '0')
      await isUsed()
      await postgres.kill()
      await aRound()
      await postgres.start()
      await isUsed()
      await aRound()
    }
    const clients = rounds.map((_, index) => client(index))
    await Promise.all([
      happening().finally(() => {
        over = true
      }),
      ...clients,
    ])
  })

  it('are recorded when an auditor looks, on the primary, also while the replica stands still', async () => {
    const [system] = systems
    const auditor = await system.newUser()
    await giveRole(postgres.primary, auditor.id, 'auditor')
    await postgres.pause()
    try {
      await ok(system, auditor, '/audit/events?limit=3')
      await ok(system, auditor, '/audit/events', NDJSON)
      const looks = 'select kind from audit_accesses where user_id = $1 order by id'
      const { rows } = await postgres.primary.query(looks, [auditor.id])
      expect(rows).to.deep.equal([{ kind: 'looked' }, { kind: 'exported' }])
      expect(await ready(system)).to.equal('away')
    } finally {
      await postgres.resume()
    }
    await isUsed()
  })
})
