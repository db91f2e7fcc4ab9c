import { connect } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import { expect } from 'chai'
import type { Context } from 'koa'
import pg from 'pg'
import { AppError } from '../../src/app/errors.ts'
import type { AuditEvent } from '../../src/app/ports/audit.ts'
import type { Caller } from '../../src/app/ports/authorization.ts'
import { DomainError } from '../../src/domain/errors.ts'
import { type Service, service, strictRouter } from '../../src/http/server.ts'
import { streamTaskEvents } from '../../src/http/task-stream.ts'
import { silent } from '../support/log.ts'
import { nextLink } from '../support/next-link.ts'
import { until } from '../support/processes.ts'
import { type Client, type System, startSystem } from '../support/system.ts'

const CALLER: Caller = {
  user_id: 1,
  username: 'ann',
  email: 'ann@example.com',
  role: 'user',
  session_id: '0d2f5e0e-5a3b-4a43-a6f1-5d1d8bb6d4a1',
  iat: 0,
  exp: 0,
  auth_time: 0,
  amr: ['pwd'],
}

type User = Awaited<ReturnType<System['newUser']>>
type Sent = { id?: string; event?: string; data?: string }

/** Reads a stream until it is closed by either side. */
async function open(url: string, token: string, lastEventId?: string) {
  const closing = new AbortController()
  const headers: Record<string, string> = { authorization: `Bearer ${token}` }
  if (lastEventId !== undefined) headers['Last-Event-ID'] = lastEventId
  const response = await fetch(`${url}/tasks/stream`, { headers, signal: closing.signal })
  const sent: Sent[] = []
  let ended = false
  const reading = (async () => {
    let text = ''
    const decoder = new TextDecoder()
    for await (const chunk of response.body ?? []) {
      text += decoder.decode(chunk, { stream: true })
      const blocks = text.split('\n\n')
      text = blocks.pop() ?? ''
      sent.push(...blocks.map(parse))
    }
  })()
    .catch(() => {})
    .finally(() => {
      ended = true
    })
  const events = () => sent.filter(({ data, event }) => data !== undefined && event !== 'end')
  return {
    response,
    sent,
    events,
    positions: () => events().map(({ id }) => Number(id)),
    ended: () => ended,
    received: (count: number) =>
      until(
        () => events().length >= count,
        () => `${count} events`,
      ),
    close: async () => {
      closing.abort()
      await reading
    },
  }
}

const parse = (block: string): Sent =>
  Object.fromEntries(
    block
      .split('\n')
      .map((line) => /^(\w+): (.*)$/.exec(line)?.slice(1))
      .filter((pair) => pair !== undefined),
  )

const create = (call: Client, user: User, title: string) =>
  call('POST', '/tasks', { token: user.token, body: { title } })

describe('The changes of a user', () => {
  let system: System
  let second: System
  let user: User
  before(async () => {
    system = await startSystem()
    // Another instance of both services on the same data.
    second = await startSystem(system.env, undefined, system.database)
  })
  beforeEach(async () => {
    user = await system.newUser()
  })
  after(async () => {
    await second.stop()
    await system.stop()
  })

  const changes = (query = '', call = system.call) =>
    call('GET', `/tasks/changes${query}`, { token: user.token })
  const stream = (lastEventId?: string, on = system) => open(on.urls.task, user.token, lastEventId)

  describe('page by page', () => {
    it('come in order, each once, from the beginning or from where the client was', async () => {
      const other = await system.newUser()
      for (const title of ['One', 'Two', 'Three']) {
        await create(system.call, user, title)
        await create(system.call, other, `Not ${title}`)
      }
      const titles: string[] = []
      for (let cursor = '0'; ; ) {
        const { status, body, headers } = await changes(`?since=${cursor}&limit=2`)
        expect(status).to.equal(200)
        const next = `/tasks/changes?since=${body.next_cursor}&limit=2`
        expect(nextLink(headers)).to.equal(body.events.length === 2 ? next : undefined)
        if (body.events.length === 0) {
          expect(body.next_cursor).to.equal(cursor)
          break
        }
        titles.push(
          ...body.events.map(
            (event: { changes: { title: { to: string } } }) => event.changes.title.to,
          ),
        )
        cursor = body.next_cursor
      }
      expect(titles).to.deep.equal(['One', 'Two', 'Three'])
      expect((await changes()).body).to.deep.equal((await changes('?since=0')).body)
    })

    it('show the values before, even from an earlier page', async () => {
      const { task } = (await create(system.call, user, 'One')).body
      const { next_cursor } = (await changes()).body
      await system.call('PUT', `/tasks/${task.id}`, { token: user.token, body: { title: 'Two' } })
      const { events } = (await changes(`?since=${next_cursor}`)).body
      expect(events).to.have.length(1)
      expect(events[0].changes).to.deep.equal({ title: { from: 'One', to: 'Two' } })
    })

    it('refuse a cursor and a size that make no sense', async () => {
      for (const query of [
        '?since=999999',
        '?since=-1',
        '?since=x',
        '?limit=0',
        '?limit=201',
        '?after=1',
      ]) {
        expect((await changes(query)).status, query).to.equal(400)
      }
    })
  })

  describe('as a stream', () => {
    it('come as they happen, and theirs alone', async () => {
      const listening = await stream()
      expect(listening.response.headers.get('content-type')).to.match(/^text\/event-stream/)
      await until(() => listening.sent.length > 0, 'the first id')
      await create(system.call, await system.newUser(), 'Another’s')
      const { task } = (await create(system.call, user, 'Mine')).body
      await listening.received(1)
      const [event] = listening.events()
      expect(event?.event).to.equal('TaskCreated')
      const data = JSON.parse(event?.data ?? '')
      expect(data).to.deep.include({ task_id: task.id, position: Number(event?.id) })
      expect(data).to.deep.equal((await changes()).body.events[0])
      await listening.close()
    })

    it('go on where the client was, whatever happened meanwhile, on any instance', async () => {
      const first = await stream('0')
      await create(system.call, user, 'One')
      await first.received(1)
      const last = first.events().at(-1)?.id ?? ''
      await first.close()
      await create(system.call, user, 'Two')
      const back = await stream(last, second)
      await create(second.call, user, 'Three')
      await back.received(2)
      const titles = back.events().map(({ data }) => JSON.parse(data ?? '').changes.title.to)
      expect(titles).to.deep.equal(['Two', 'Three'])
      await back.close()
    })

    it('tell at once where they begin, so that nothing is missed before the first event', async () => {
      const first = await stream()
      await until(() => first.sent.some(({ id }) => id !== undefined), 'an id')
      const id = first.sent.find(({ id }) => id !== undefined)?.id
      await first.close()
      await create(system.call, user, 'Meanwhile')
      const back = await stream(id)
      await back.received(1)
      await back.close()
    })

    it('skip none and repeat none while many write and streams are cut', async () => {
      const seen: number[] = []
      let writing = true
      const reading = (async () => {
        for (let round = 0; writing || round % 2 === 1; round++) {
          const on = round % 2 === 0 ? system : second
          const listening = await stream(String(seen.at(-1) ?? 0), on)
          await until(() => listening.positions().length > 3 || !writing, 'some events')
          await listening.close()
          seen.push(...listening.positions())
        }
      })()
      await Promise.all(
        Array.from({ length: 8 }, async (_, writer) => {
          for (let index = 0; index < 12; index++) {
            await create(writer % 2 === 0 ? system.call : second.call, user, `${writer}/${index}`)
          }
        }),
      )
      writing = false
      await reading
      const rest = (await changes(`?since=${seen.at(-1) ?? 0}&limit=200`)).body.events
      const all = [...seen, ...rest.map(({ position }: { position: number }) => position)]
      const { body } = await changes('?limit=200')
      expect(all).to.deep.equal(body.events.map(({ position }: { position: number }) => position))
      expect(all).to.have.length(96)
    })

    it('end when the session does, and show nothing after that', async () => {
      const listening = await stream()
      await until(() => listening.sent.length > 0, 'the first id')
      const again = { username: user.username, password: user.password }
      const other = await system.call('POST', '/auth/login', { body: again })
      await system.call('POST', '/auth/logout', { token: user.token })
      await system.call('POST', '/tasks', { token: other.body.token, body: { title: 'Secret' } })
      await until(listening.ended, 'the end')
      expect(listening.events()).to.deep.equal([])
      expect(listening.sent.at(-1)).to.deep.equal({
        event: 'end',
        data: JSON.stringify({ code: 'session_ended' }),
      })
    })

    it('need a session, and an id that was given', async () => {
      for (const token of ['', 'nonsense']) {
        expect((await open(system.urls.task, token)).response.status).to.equal(401)
      }
      for (const id of ['x', '-1', '1.5', '999999'])
        expect((await stream(id)).response.status).to.equal(400)
    })

    it('are at most ten a user, and a closed one makes room', async () => {
      const all = await Promise.all(Array.from({ length: 10 }, () => stream()))
      expect(all.map(({ response }) => response.status)).to.deep.equal(Array(10).fill(200))
      const refused = await stream()
      expect(refused.response.status).to.equal(429)
      await all[0]?.close()
      await until(async () => {
        const tried = await stream()
        if (tried.response.status === 200) all.push(tried)
        return tried.response.status === 200
      }, 'room for one more')
      await Promise.all(all.map(({ close }) => close()))
    })

    it('leave nothing behind of clients that go before they are let in', async () => {
      const { port, hostname } = new URL(system.urls.task)
      const request = `GET /tasks/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${user.token}`
      await Promise.all(
        Array.from({ length: 40 }, async (_, index) => {
          const socket = connect(Number(port), hostname)
          socket.on('error', () => {})
          socket.write(`${request}\r\nLast-Event-ID: 0\r\n\r\n`)
          await setTimeout(index / 2)
          socket.destroy()
        }),
      )
      await until(async () => {
        const all = await Promise.all(Array.from({ length: 10 }, () => stream()))
        await Promise.all(all.map(({ close }) => close()))
        return all.every(({ response }) => response.status === 200)
      }, 'room for ten')
    })

    it('are delivered by polling when the notifications are lost', async () => {
      const listening = await stream()
      await until(() => listening.sent.length > 0, 'the first id')
      const sql = new pg.Client(system.database.url)
      await sql.connect()
      const deaf = `
        select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = 'tasktrail_task listener' and datname = current_database()`
      const killed = await sql.query(deaf)
      expect(killed.rowCount).to.be.greaterThan(0)
      const killing = setInterval(() => void sql.query(deaf), 20)
      await create(system.call, user, 'Unannounced')
      await listening.received(1)
      clearInterval(killing)
      await sql.end()
      await listening.close()
    })

    it('end when the service is told to stop', async () => {
      const third = await startSystem(system.env, undefined, system.database)
      const listening = await stream(undefined, third)
      await until(() => listening.sent.length > 0, 'the first id')
      third.retire()
      await until(listening.ended, 'the end')
      await third.stop()
    })
  })
})

describe('Streams on which nothing happens', () => {
  const USERS = 50
  let server: Service
  let url: string
  let calls: { changes: number; validate: number }
  /** The users whose sessions were looked at, by the id of the round. */
  let rounds: Map<string, number[]>
  let over: Set<number>
  let away: boolean
  const ring = new Map<number, () => void>()

  const callerOf = (user_id: number): Caller => ({ ...CALLER, user_id })

  beforeEach(async () => {
    calls = { changes: 0, validate: 0 }
    rounds = new Map()
    over = new Set()
    away = false
    const router = strictRouter()
    const stream = streamTaskEvents({
      changes: async () => {
        calls.changes++
        return { events: [], more: false }
      },
      notifier: {
        subscribe: (user_id, onAppend) => {
          ring.set(user_id, onAppend)
          return () => void ring.delete(user_id)
        },
      },
      tokens: {
        validate: async (token, request_id) => {
          const user_id = Number(token)
          // A round has one id for all.
          if (request_id === 'id') calls.validate++
          else rounds.set(request_id, [...(rounds.get(request_id) ?? []), user_id])
          if (request_id !== 'id' && away) throw new AppError('auth_service_unavailable')
          if (over.has(user_id)) throw new AppError('session_ended')
          return callerOf(user_id)
        },
      },
      log: silent,
      end: async () => 0,
      requireKnownPosition: async () => {},
      stopping: new AbortController().signal,
      sessionCheckMs: 20,
    })
    router.get('/tasks/stream', async (ctx) => {
      const user_id = Number(ctx.get('Authorization').replace('Bearer ', ''))
      await stream(ctx as unknown as Context, callerOf(user_id), undefined)
    })
    server = service(router, { log: silent, newId: () => 'id', maxEventLoopDelay: 0, spared: [] })
    url = `http://127.0.0.1:${(await server.listen(0, '127.0.0.1')).port}`
  })
  afterEach(() => server.close(0))

  const openAll = async () => {
    const all = await Promise.all(
      Array.from({ length: USERS }, (_, user_id) => open(url, String(user_id))),
    )
    await until(() => calls.validate === USERS, 'all open')
    return all
  }
  const more = async (count: number) => {
    const goal = rounds.size + count
    await until(() => rounds.size >= goal, 'more rounds')
  }

  it('cost a validation that waits with the others, once a round, and no reading', async () => {
    const all = await openAll()
    await more(5)
    const whole = [...rounds.values()].slice(-4)
    const everyone = Array.from({ length: USERS }, (_, user_id) => user_id)
    for (const round of whole) expect(round).to.have.members(everyone)
    expect(calls).to.include({ changes: USERS, validate: USERS })
    ring.get(7)?.()
    await until(() => calls.changes === USERS + 1, 'one that looks')
    await until(() => calls.validate === USERS + 1, 'one that validates')
    await Promise.all(all.map(({ close }) => close()))
    await until(() => ring.size === 0, 'the end of all')
    const { size } = rounds
    // Nobody is left to ask for; a round that was under way may still end.
    await setTimeout(100)
    expect(rounds.size).to.be.at.most(size + 1)
  })

  it('end when their session is over, and only then', async () => {
    const all = await openAll()
    away = true
    await more(2)
    expect(all.some(({ ended }) => ended())).to.equal(false)
    away = false
    over.add(3)
    await until(() => all[3]?.ended() === true, 'the end of one')
    expect(all[3]?.sent.at(-1)).to.deep.equal({
      event: 'end',
      data: JSON.stringify({ code: 'session_ended' }),
    })
    await more(2)
    expect(all.filter(({ ended }) => ended())).to.have.length(1)
    await Promise.all(all.map(({ close }) => close()))
  })
})

describe('Many accounts at one address', () => {
  it('have a hundred streams between them', async () => {
    const router = strictRouter()
    const stream = streamTaskEvents({
      changes: async () => ({ events: [], more: false }),
      notifier: { subscribe: () => () => {} },
      tokens: { validate: async () => CALLER },
      log: silent,
      end: async () => 0,
      requireKnownPosition: async () => {},
      stopping: new AbortController().signal,
    })
    router.get('/tasks/stream', (ctx) => {
      const caller = { ...CALLER, user_id: Number(ctx.get('x-user')) }
      return stream(ctx as unknown as Context, caller, undefined)
    })
    const options = { log: silent, newId: () => 'id', maxEventLoopDelay: 0, spared: [] }
    const server = service(router, options)
    const { port } = await server.listen(0, '127.0.0.1')
    const leaving = new AbortController()
    const ask = async (user: number, address: string) => {
      const headers = {
        authorization: 'Bearer x',
        'x-user': `${user}`,
        'x-forwarded-for': address,
      }
      const { signal } = leaving
      return fetch(`http://127.0.0.1:${port}/tasks/stream`, { headers, signal })
    }
    const statuses: number[] = []
    for (let user = 1; user <= 110; user++) statuses.push((await ask(user, '198.51.100.7')).status)
    expect(statuses.filter((status) => status === 200)).to.have.length(100)
    const refused = await ask(1_000, '198.51.100.7')
    expect(refused.status).to.equal(429)
    expect(await refused.text()).to.include('"too_many_streams"')
    expect((await ask(1_000, '198.51.100.8')).status).to.equal(200)
    leaving.abort()
    const again = async () => {
      const headers = {
        authorization: 'Bearer x',
        'x-user': '1',
        'x-forwarded-for': '198.51.100.7',
      }
      const answer = await fetch(`http://127.0.0.1:${port}/tasks/stream`, { headers })
      await answer.body?.cancel()
      return answer.status === 200
    }
    await until(again, 'a place')
    await server.close(0)
  })
})

describe('A stream that fails', () => {
  const failing = async (error: Error, check: (text: string, lines: readonly string[]) => void) => {
    const lines: string[] = []
    const note = (level: string) => (facts: object, message: string) =>
      void lines.push(`${level} ${message} ${JSON.stringify(facts)}`)
    const log = { info: note('info'), warn: note('warn'), error: note('error') }
    const router = strictRouter()
    const stream = streamTaskEvents({
      changes: () => Promise.reject(error),
      notifier: { subscribe: () => () => {} },
      tokens: { validate: async () => CALLER },
      log,
      end: async () => 0,
      requireKnownPosition: async () => {},
      stopping: new AbortController().signal,
    })
    router.get('/tasks/stream', (ctx) => stream(ctx as unknown as Context, CALLER, undefined))
    const options = { log: silent, newId: () => 'the-request', maxEventLoopDelay: 0, spared: [] }
    const server = service(router, options)
    const { port } = await server.listen(0, '127.0.0.1')
    const headers = { authorization: 'Bearer x' }
    const answer = await fetch(`http://127.0.0.1:${port}/tasks/stream`, { headers })
    const text = await answer.text()
    await server.close(1_000)
    check(text, lines)
  }

  it('ends with the code of its failure, and the log says on which request and why', async () => {
    const cause = new Error('the wire is cut')
    await failing(new AppError('database_unavailable', { cause }), (text, lines) => {
      expect(text).to.include('event: end\ndata: {"code":"database_unavailable"}')
      expect(lines).to.have.length(1)
      expect(lines[0]).to.match(/^warn unavailable .*the-request.*the wire is cut/)
    })
    await failing(new DomainError('task_not_found'), (text) => {
      expect(text).to.include('{"code":"task_not_found"}')
    })
  })

  it('on an unexpected error shows no details; the log does', async () => {
    await failing(new RangeError('secret'), (text, lines) => {
      expect(text).to.include('{"code":"internal_error"}').and.not.include('secret')
      expect(lines).to.have.length(1)
      expect(lines[0]).to.match(/^error unexpected error .*the-request/)
    })
  })
})

describe('A stream to a client that does not read', () => {
  const EVENT = { position: 1, type: 'TaskRenamed', changes: { title: { to: 'x'.repeat(1e6) } } }
  let server: Service
  let port: number
  let started: number
  let closed: number
  /** Open at once. */
  let most: number

  beforeEach(async () => {
    ;[started, closed, most] = [0, 0, 0]
    const router = strictRouter()
    const stream = streamTaskEvents({
      changes: async () => ({ events: [EVENT as unknown as AuditEvent], more: true }),
      notifier: { subscribe: () => () => {} },
      tokens: { validate: async () => CALLER },
      log: silent,
      end: async () => 0,
      requireKnownPosition: async () => {},
      stopping: new AbortController().signal,
      drainMs: 100,
    })
    router.get('/tasks/stream', async (ctx) => {
      await stream(ctx as unknown as Context, CALLER, undefined)
      started++
      most = Math.max(most, started - closed)
      ctx.res.once('close', () => closed++)
    })
    const options = { log: silent, newId: () => 'id', maxEventLoopDelay: 0, spared: [] }
    server = service(router, options)
    port = (await server.listen(0, '127.0.0.1')).port
  })
  afterEach(() => server.close(0))

  const ask = () => {
    const socket = connect(port, '127.0.0.1')
      .on('error', () => {})
      .pause()
    socket.write('GET /tasks/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n\r\n')
    return socket
  }

  it('is cut off, and its place is free only then', async () => {
    const sockets = Array.from({ length: 10 }, ask)
    await until(() => started === 10, 'ten streams')
    await until(() => {
      sockets.push(ask())
      return started > 10
    }, 'room for one more')
    expect(most).to.be.at.most(10)
    await until(() => closed >= 10, 'the end of the first')
    for (const socket of sockets) socket.destroy()
  })
})
