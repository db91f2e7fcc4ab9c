import { Agent } from 'node:http'
import { isIP } from 'node:net'
import { expect } from 'chai'
import fc from 'fast-check'
import pg from 'pg'
import type { TaskFields } from '../../src/domain/task/events.ts'
import { type TaskView, taskStreamId, viewTask } from '../../src/domain/task/view.ts'
import { brokenHttp, sendBytes } from '../support/broken-http.ts'
import { checkContract } from '../support/contract.ts'
import { decryptedLog, storedLog } from '../support/decrypted-log.ts'
import {
  type Document,
  type Hostile,
  hostileRequests,
  type Reply,
  send,
  type Who,
} from '../support/hostile.ts'
import { type System, startSystem } from '../support/system.ts'

const { HOSTILE_REQUESTS, HOSTILE_SEED } = process.env
const REQUESTS = Number(HOSTILE_REQUESTS ?? 2_000)
// The gate repeats itself; a campaign does not, and its title says how to.
const SEED = Number(HOSTILE_SEED ?? (HOSTILE_REQUESTS === undefined ? 1 : Date.now() % 2 ** 31))
const CONCURRENCY = 12
/** Of a hundred requests, how many are bytes that are no proper HTTP. */
const BROKEN_PERCENT = 10

const FIELDS = ['title', 'description', 'status', 'priority', 'due_date']
const FACTS: Readonly<Record<string, readonly string[]>> = {
  TaskCreated: [...FIELDS, 'user_id'],
  TaskRenamed: ['title'],
  TaskDescribed: ['description'],
  TaskStarted: ['status'],
  TaskCompleted: ['status'],
  TaskReopened: ['status'],
  TaskReprioritized: ['priority'],
  TaskRescheduled: ['due_date'],
  TaskDeleted: [],
  TaskRestored: [],
}
const METADATA = ['request_id', 'correlation_id', 'causation_id', 'session_id', 'ip']

const FORGED = 'eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJ1c2VyX2lkIjoxLCJyb2xlIjoiYWRtaW4ifQ.'

describe(`The services, under ${REQUESTS} hostile requests (seed ${SEED}),`, function () {
  this.timeout(60_000 + REQUESTS * 30)

  const agent = new Agent({ keepAlive: true, maxSockets: CONCURRENCY })
  const tokens: Record<Who, string | undefined> = {
    nobody: undefined,
    forged: FORGED,
    ann: undefined,
    bob: undefined,
  }
  const ids: Partial<Record<Who, number>> = {}
  const faults: string[] = []
  const statuses = new Map<number, number>()
  let system: System
  let sql: pg.Client

  before(async () => {
    system = await startSystem()
    sql = new pg.Client(system.database.url)
    await sql.connect()
    for (const who of ['ann', 'bob'] as const) {
      const user = await system.newUser()
      tokens[who] = user.token
      ids[who] = user.id
      for (let n = 0; n < 10; n++) {
        const body = { title: `Of ${who}` }
        await system.call('POST', '/tasks', { token: user.token, body })
      }
    }
    await attack()
  })
  after(async () => {
    agent.destroy()
    await sql.end()
    await system.stop()
  })

  async function attack(): Promise<void> {
    const documents = await Promise.all(
      [`${system.urls.auth}/auth/openapi.json`, `${system.urls.task}/tasks/openapi.json`].map(
        async (url) => (await (await fetch(url)).json()) as Document,
      ),
    )
    const broken = Math.round((REQUESTS * BROKEN_PERCENT) / 100)
    const requests = fc.sample(hostileRequests(documents), {
      numRuns: REQUESTS - broken,
      seed: SEED,
    })
    const bytes = fc.sample(brokenHttp(tokens.ann ?? ''), { numRuns: broken, seed: SEED })
    // Answers that luck may leave out; before the others change the task.
    const json = { 'content-type': 'application/json' }
    const known = { who: 'ann', target: '/tasks/1', guarded: true, body: undefined } as const
    const keyed = { ...json, 'idempotency-key': 'once' }
    const called = (title: string) => Buffer.from(JSON.stringify({ title }))
    for (const request of [
      { ...known, method: 'GET', headers: { 'if-none-match': '*' } },
      { ...known, method: 'DELETE', headers: { 'if-match': '"99"' } },
      { ...known, method: 'PUT', headers: json, body: Buffer.alloc(100_000, ' ') },
      { ...known, method: 'PUT', headers: keyed, body: called('One') },
      { ...known, method: 'PUT', headers: keyed, body: called('Another') },
    ])
      await judge(request)
    const work = [
      ...requests.map((request) => () => judge(request)),
      ...bytes.map((each) => () => judgeBytes(each)),
    ].values()
    await Promise.all(
      Array.from({ length: CONCURRENCY }, async () => {
        for (const one of work) await one()
      }),
    )
  }

  async function judge(request: Hostile): Promise<void> {
    const ofTask = /^\/(tasks|audit|log|health|auth\/me\/export)/.test(request.target)
    const url = ofTask ? system.urls.task : system.urls.auth
    const reply = await send(agent, url, tokens[request.who], request).catch(
      (error: Error) => error,
    )
    const fault = reply instanceof Error ? failureIn(request, reply) : faultIn(request, reply)
    if (!(reply instanceof Error)) statuses.set(reply.status, (statuses.get(reply.status) ?? 0) + 1)
    if (fault === undefined) return
    const shown = { ...request, body: request.body?.toString('latin1').slice(0, 500) }
    faults.push(`${fault}: ${JSON.stringify(shown)}`.slice(0, 1_000))
  }

  /** A HEAD with too large headers is refused with a body: its method has not been looked at. */
  const failureIn = ({ method }: Hostile, { message }: Error): string | undefined =>
    method === 'HEAD' && message.includes('Data after') ? undefined : message

  /** What is wrong with an answer, if anything. */
  function faultIn(request: Hostile, { status, headers, body }: Reply): string | undefined {
    const bare = request.target.replace(/\?.*/s, '')
    // Hashing has its own queue, and says so when it is full; and nothing here writes the log's leaves.
    const isExpected =
      (status === 503 && /"(hashing_busy|proof_not_ready)"/.test(body)) ||
      // Calls of a user pool, where there is none.
      (status === 501 && body.includes('"identity_elsewhere"'))
    if (status >= 500 && !isExpected) return body
    if (!/^[A-Za-z0-9._-]{1,128}$/.test(headers.get('x-request-id') ?? '')) return 'no request id'
    // Refused as HTTP, before there was a route.
    if (/"code":"(malformed_request|headers_too_large)"/.test(body)) return undefined
    const isStranger = request.who === 'nobody' || request.who === 'forged'
    if (isStranger && status < 300 && request.guarded && request.method !== 'OPTIONS') {
      return `a stranger got ${status}`
    }
    if (/\/(docs|openapi\.json)/.test(bare)) return undefined
    try {
      const text = [204, 304].includes(status) ? null : body
      checkContract(request.method, bare, new Response(text, { status, headers }), body)
    } catch (error) {
      return (error as Error).message
    }
    const { task, tasks = [task] } = body.startsWith('{"task') ? JSON.parse(body) : {}
    const foreign = tasks.some(
      (one?: { user_id: number }) => one && one.user_id !== ids[request.who],
    )
    return foreign ? `a task of somebody else: ${body}` : undefined
  }

  async function judgeBytes(bytes: Buffer): Promise<void> {
    for (const url of [system.urls.task, system.urls.auth]) {
      const answer = await sendBytes(url, bytes)
      const fine =
        answer === '' || (answer.startsWith('HTTP/1.1 ') && !/^HTTP\/1\.1 5/m.test(answer))
      if (!fine) faults.push(`${JSON.stringify(bytes.toString('latin1'))} -> ${answer}`)
    }
  }

  it('answer each as the contract promises, with no 5xx, and strangers with nothing', () => {
    expect(faults.slice(0, 3).join('\n\n'), `${faults.length} faults`).to.equal('')
    // Otherwise the requests would be too clumsy to get anywhere.
    for (const status of [200, 201, 204, 304, 400, 401, 403, 404, 405, 406, 412, 413, 415, 422]) {
      expect(statuses.get(status) ?? 0, `answers with ${status}`).to.be.above(0)
    }
  })

  it('log nothing that they did not expect, and none of the tokens', () => {
    expect(system.logged()).to.not.include('unexpected error')
    expect(system.logged()).to.not.include(tokens.ann).and.not.include(tokens.bob)
  })

  it('work afterwards as before', async () => {
    const answer = await system.call('POST', '/tasks', {
      token: tokens.ann,
      body: { title: 'Tea' },
    })
    expect(answer.status).to.equal(201)
    const { status } = await system.call('GET', '/auth/me', { token: tokens.bob })
    expect(status).to.equal(200)
  })

  it('store events with the facts of their type and no other, within their limits', async () => {
    const log = await decryptedLog(system)
    expect(log.length).to.be.above(20)
    for (const { type, data, metadata, actor_id } of log) {
      const { undoes, ...facts } = data as Partial<TaskFields> & {
        undoes?: number[]
        user_id?: number
      }
      const { title = 'none', description, due_date, user_id } = facts
      expect(Object.keys(facts), type).to.have.members(FACTS[type] ?? ['?'])
      if (undoes) expect(undoes.every(Number.isInteger)).to.equal(true)
      expect(Object.keys(metadata)).to.have.members(METADATA)
      expect(title.trim()).to.equal(title)
      expect([...title].length).to.be.within(1, 200)
      expect([...(description ?? '')].length).to.be.at.most(10_000)
      if (due_date) expect(new Date(due_date).toISOString()).to.equal(due_date)
      if (user_id) expect(user_id).to.equal(actor_id)
      expect(metadata.request_id).to.match(/^[A-Za-z0-9._-]{1,128}$/)
      expect(isIP(metadata.ip ?? ''), `${metadata.ip}`).to.be.above(0)
    }
  })

  it('hold the same in the read table as in the events', async () => {
    const { rows: tasks } = await sql.query('select * from tasks')
    const views = new Map<string, TaskView | null>()
    for (const event of await storedLog(system)) {
      views.set(event.stream_id, viewTask(views.get(event.stream_id) ?? null, event))
    }
    expect(tasks).to.have.length(views.size)
    for (const task of tasks) {
      // The index of the search is of the table alone.
      const { ngrams, ...row } = JSON.parse(JSON.stringify(task))
      const numbers = {
        id: Number(row.id),
        user_id: Number(row.user_id),
        version: Number(row.version),
      }
      expect({ ...row, ...numbers }).to.deep.equal(views.get(taskStreamId(numbers.id)))
    }
  })

  it('store accounts, sessions and keys within their limits', async () => {
    const wrong = await sql.query(`
      select 'user' from users
        where username !~ '^[A-Za-z0-9_.-]{3,50}$' or length(email) > 100 or role <> 'user'
      union all select 'session' from sessions where length(user_agent) > 500 or length(ip) > 45
      union all select 'security event' from security_events
        where length(user_agent) > 500 or length(ip) > 45 or length(username) > 50
          or request_id !~ '^[A-Za-z0-9._-]{1,128}$'
      union all select 'login attempts' from login_attempts
        where length(account) > 50 or length(ip) > 45
      union all select 'command' from commands where key !~ '^[ -~]{1,255}$'`)
    expect(wrong.rows).to.deep.equal([])
  })
})
