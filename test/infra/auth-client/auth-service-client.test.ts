import { json } from 'node:stream/consumers'
import { inspect } from 'node:util'
import { expect } from 'chai'
import fc from 'fast-check'
import { AppError } from '../../../src/app/errors.ts'
import { authServiceClient } from '../../../src/infra/auth-client/auth-service-client.ts'
import {
  type Addresses,
  serviceDiscovery,
} from '../../../src/infra/auth-client/service-discovery.ts'
import { authInstances, holding, status, user, valid } from '../../support/auth-instances.ts'
import { nameServer } from '../../support/name-server.ts'

const POOL = ['127.0.0.2', '127.0.0.3', '127.0.0.4', '127.0.0.5'] as const
const [A, B, C] = POOL
const NAME = 'auth.tasktrail.internal'
const KEY = 'the-internal-api-key'
const TOKEN = 'header.payload.signature'

/** Two seconds and what a busy machine adds. */
const IN_TIME = 2500
/** For tests that are about something else than time, so that a busy machine cannot fail them. */
const PATIENT = { connect: 20_000, request: 20_000, total: 40_000, patience: 20_000 }
/** A call for each token, side by side. */
const APART = { ...PATIENT, items: 1, calls: 500, patience: 1 }

type Options = Parameters<typeof authServiceClient>[0]

/** Polls, so that a test waits as long as it takes and no longer. */
async function until(holds: () => boolean | Promise<boolean>, ms = 5000): Promise<void> {
  const deadline = performance.now() + ms
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not within ${ms} ms: ${holds}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

describe('The auth-service client', () => {
  let auth: Awaited<ReturnType<typeof authInstances>>
  let dns: Awaited<ReturnType<typeof nameServer>>
  let clients: { close: () => void }[]
  let lines: { level: string; facts: object; message: string }[]

  const line = (level: string) => (facts: object, message: string) =>
    void lines.push({ level, facts, message })
  const log = { info: line('info'), warn: line('warn'), error: line('error') }
  const named = (message: RegExp) => lines.filter((entry) => message.test(entry.message))

  /** A client of the instances at these addresses, rotated over. */
  const clientOf = (addresses: Addresses, more: Partial<Options> = {}) => {
    let turn = 0
    const discovery = async () => {
      const first = turn++ % addresses.length
      return [...addresses.slice(first), ...addresses.slice(0, first)] as unknown as Addresses
    }
    const url = `http://${NAME}:${auth.port}`
    const client = authServiceClient({ url, apiKey: KEY, discovery, log, ...more })
    clients.push(client)
    return client
  }
  const failure = async (promise: Promise<unknown>): Promise<AppError> => {
    const error = await promise.then(
      () => new Error('no error'),
      (reason) => reason,
    )
    if (error instanceof AppError) return error
    throw error
  }

  before(async () => {
    auth = await authInstances(POOL)
    dns = await nameServer()
  })
  after(async () => {
    await auth.close()
    await dns.close()
  })
  beforeEach(() => {
    clients = []
    lines = []
    auth.reset()
  })
  afterEach(() => {
    for (const client of clients) client.close()
    expect(inspect(lines, { depth: null }))
      .to.not.include(TOKEN)
      .and.not.include(KEY)
  })

  describe('asking', () => {
    it('sends token, key, request id and the name it was given, returns the caller', async () => {
      let seen: object = {}
      auth.behave((request, response) => {
        const { authorization, host, 'x-internal-api-key': key } = request.headers
        const { 'x-request-id': id, 'content-length': length } = request.headers
        seen = { call: `${request.method} ${request.url}`, authorization, host, key, id, length }
        valid(request, response)
      })
      expect(await clientOf([A]).validate(TOKEN, 'r-1')).to.deep.equal(user)
      expect(seen).to.deep.equal({
        call: 'POST /auth/validate',
        authorization: `Bearer ${TOKEN}`,
        host: `${NAME}:${auth.port}`,
        key: KEY,
        id: 'r-1',
        length: '0',
      })
    })

    it('keeps the path of the URL', async () => {
      let path: string | undefined
      auth.behave((request, response) => {
        path = request.url
        valid(request, response)
      })
      const url = `http://${NAME}:${auth.port}/internal/`
      await clientOf([A], { url }).validate(TOKEN, 'r')
      expect(path).to.equal('/internal/auth/validate')
    })

    for (const code of ['token_missing', 'token_invalid', 'token_expired', 'session_ended']) {
      it(`passes on a 401 with ${code}, which is an answer and not tried again`, async () => {
        auth.behave(status(401, { error: 'Unauthorized', code, message: 'no' }))
        expect((await failure(clientOf([A, B]).validate(TOKEN, 'r'))).code).to.equal(code)
        expect(auth.total()).to.equal(1)
      })
    }

    for (const body of [{ code: 'no_such_code' }, {}, 'text', null]) {
      it(`takes a 401 with ${JSON.stringify(body)} for token_invalid`, async () => {
        auth.behave(status(401, body))
        expect((await failure(clientOf([A]).validate(TOKEN, 'r'))).code).to.equal('token_invalid')
      })
    }

    it('never opens the circuit for refused tokens', async () => {
      auth.behave(status(401, { code: 'token_expired' }))
      const client = clientOf([A], { settings: PATIENT })
      for (let n = 0; n < 40; n++) {
        expect((await failure(client.validate(`t${n}`, 'r'))).code).to.equal('token_expired')
      }
    })

    for (const token of [
      'a\nb',
      'a\r\nx: y',
      'a\u0000b',
      'ä',
      '\u{1f600}',
      'a b',
      'a'.repeat(4097),
    ]) {
      it(`refuses the token ${JSON.stringify(token).slice(0, 20)} without a call`, async () => {
        expect((await failure(clientOf([A]).validate(token, 'r'))).code).to.equal('token_invalid')
        expect(auth.total()).to.equal(0)
      })
    }

    it('calls an empty token missing', async () => {
      expect((await failure(clientOf([A]).validate('', 'r'))).code).to.equal('token_missing')
    })

    for (const code of [403, 404, 431]) {
      it(`reports a ${code} as our own fault, without a retry or a breaker`, async () => {
        auth.behave(status(code))
        const client = clientOf([A])
        for (let n = 1; n <= 25; n++) {
          const error = await failure(client.validate(TOKEN, 'r'))
          expect([error.code, error.retryAfter]).to.deep.equal(['auth_service_unavailable', 1])
          expect(auth.total()).to.equal(n)
        }
        expect(lines.every((entry) => entry.level === 'error')).to.equal(true)
      })
    }
  })

  describe('asking about many', () => {
    /** Asks about the first alone, and about the others together. */
    const together = async (client: ReturnType<typeof clientOf>, tokens: readonly string[]) => {
      const first = client.validate('first', 'r-0')
      await new Promise((resolve) => setImmediate(resolve))
      const others = tokens.map((token, n) => client.validate(token, `r-${n + 1}`))
      const outcomes = await Promise.allSettled([first, ...others])
      return outcomes
        .slice(1)
        .map((outcome) =>
          outcome.status === 'fulfilled' ? outcome.value.username : outcome.reason.code,
        )
    }
    const named = holding((token) => (/_/.test(token) ? token : { ...user, username: token }))

    it('sends each token once, every request id and the key, and no token in a header', async () => {
      const seen: object[] = []
      auth.behave(async (request, response) => {
        const { 'x-internal-api-key': key, 'x-request-id': id, authorization } = request.headers
        const body = request.url?.endsWith('/batch') && (await json(request))
        seen.push({ call: `${request.method} ${request.url}`, key, id, authorization, body })
        if (!body) return valid(request, response)
        const { tokens } = body as { tokens: string[] }
        const answers = tokens.map((token) => ({ valid: true, user, token_end: token }))
        status(200, { answers })(request, response)
      })
      await together(clientOf([A], { settings: PATIENT }), ['ann', 'bob', 'ann'])
      expect(seen[1]).to.deep.equal({
        call: 'POST /auth/validate/batch',
        key: KEY,
        id: 'r-1',
        authorization: undefined,
        body: { tokens: ['ann', 'bob'], request_ids: ['r-1', 'r-2', 'r-3'] },
      })
      expect(seen).to.have.length(2)
    })

    it('gives each its own answer: a bad one spoils nothing for the others', async () => {
      auth.behave(named)
      const tokens = ['ann', 'token_expired', 'bob', 'session_ended', 'token_invalid', 'cyn', 'ann']
      const client = clientOf([A, B], { settings: PATIENT })
      expect(await together(client, tokens)).to.deep.equal(tokens)
      expect(auth.total()).to.equal(2)
    })

    it('answers a thousand in a few calls', async () => {
      auth.behave(named)
      const tokens = Array.from({ length: 1_000 }, (_, n) => `ann${n}`)
      const client = clientOf([A, B], { settings: PATIENT })
      expect(await together(client, tokens)).to.deep.equal(tokens)
      expect(auth.total()).to.equal(11)
    })

    it('sends no more than 128 KiB in a call, of however long tokens', async () => {
      const sizes: number[] = []
      auth.behave((request, response) => {
        sizes.push(Number(request.headers['content-length']))
        holding((token) => ({ ...user, username: token.slice(0, 3) }))(request, response)
      })
      const tokens = Array.from({ length: 200 }, (_, n) => `${n}`.padEnd(4_096, 'x'))
      const client = clientOf([A], { settings: PATIENT })
      expect(await together(client, tokens)).to.deep.equal(tokens.map((token) => token.slice(0, 3)))
      for (const size of sizes) expect(size).to.be.at.most(128 * 1024)
    })

    const answer = (token: string) => ({ valid: true, user, token_end: token.slice(-16) })
    const wrong: Record<string, Parameters<typeof auth.behave>[0]> = {
      'has none': status(200, { answers: [] }),
      'has one too few': status(200, { answers: [answer('ann')] }),
      'has one too many': status(200, { answers: ['ann', 'bob', 'cyn'].map(answer) }),
      'is in another order': status(200, { answers: ['bob', 'ann'].map(answer) }),
      'is about others': status(200, { answers: ['cyn', 'dan'].map(answer) }),
      'says valid without a user': status(200, {
        answers: [answer('ann'), { valid: true, token_end: 'bob' }],
      }),
      'is about one': status(200, { valid: true, user }),
      'is half there': (_request, response) => {
        response.writeHead(200, { 'content-length': 1_000 }).write('{"answers": [{"valid": true,')
        setImmediate(() => response.destroy())
      },
      'is a failure': status(500),
      'never comes': () => undefined,
      'is too large': status(200, { answers: [answer('ann'), answer('b'.repeat(70_000))] }),
    }
    for (const [fault, behaviour] of Object.entries(wrong)) {
      it(`lets nobody in when the answer ${fault}, after one more attempt elsewhere`, async () => {
        auth.behave(async (request, response) => {
          const isBatch = request.url?.endsWith('/batch')
          return (isBatch ? behaviour : valid)(request, response)
        })
        const settings = { patience: 20_000 }
        const outcomes = await together(clientOf([A, B], { settings }), ['ann', 'bob'])
        expect(outcomes).to.deep.equal(Array(2).fill('auth_service_unavailable'))
        expect(auth.total()).to.equal(3)
      })
    }

    it('takes a refusal for another reason than it knows for one all the same', async () => {
      auth.behave(named)
      const outcomes = await together(clientOf([A], { settings: PATIENT }), ['a_new_one', 'ann'])
      expect(outcomes).to.deep.equal(['token_invalid', 'ann'])
    })

    it('is refused as a whole only with our key, and says so for each request', async () => {
      auth.behave(status(403))
      const outcomes = await together(clientOf([A], { settings: PATIENT }), ['ann', 'bob'])
      expect(outcomes).to.deep.equal(Array(2).fill('auth_service_unavailable'))
      const ids = lines.map(({ facts }) => (facts as { request_id: string }).request_id)
      expect(ids).to.deep.equal(['r-0', 'r-1', 'r-2'])
    })

    it('is held up by a slow instance no longer than a moment', async () => {
      auth.behave(() => undefined, A)
      const client = clientOf([A, B])
      const first = client.validate('hangs', 'r')
      await until(() => auth.total() === 1)
      const began = performance.now()
      await Promise.all(['ann', 'bob'].map((token) => client.validate(token, 'r')))
      expect(performance.now() - began).to.be.lessThan(900)
      expect(auth.hits()).to.deep.equal({ [A]: 1, [B]: 1 })
      // By the second attempt.
      expect(await first).to.deep.equal(user)
    })

    it('has so many calls under way at most, however long they take', async () => {
      auth.behave(() => undefined)
      const settings = { ...PATIENT, items: 1, patience: 1, calls: 16, total: 3_000 }
      const client = clientOf([A], { settings })
      const all = Array.from({ length: 300 }, (_, n) => failure(client.validate(`t${n}`, 'r')))
      await until(() => auth.total() === 16)
      await new Promise((resolve) => setTimeout(resolve, 100))
      expect(auth.total()).to.equal(16)
      for (const { code } of await Promise.all(all))
        expect(code).to.equal('auth_service_unavailable')
    })

    it('is unavailable at once to who finds too many waiting', async () => {
      auth.behave(() => undefined)
      const client = clientOf([A], { settings: { ...PATIENT, waiting: 10, total: 500 } })
      const all = Array.from({ length: 11 }, (_, n) => failure(client.validate(`t${n}`, 'r')))
      const began = performance.now()
      expect((await failure(client.validate('late', 'r'))).code).to.equal(
        'auth_service_unavailable',
      )
      expect(performance.now() - began).to.be.lessThan(300)
      await Promise.all(all)
    })
  })

  describe('asking whether it answers', () => {
    it('asks an instance for its health', async () => {
      let seen: string | undefined
      auth.behave((request, response) => {
        seen = `${request.method} ${request.url}`
        status(200, { status: 'healthy' })(request, response)
      })
      await clientOf([A]).answers('r')
      expect(seen).to.equal('GET /auth/health')
    })

    it('fails when no instance does', async () => {
      auth.behave(status(503))
      const error = await failure(clientOf([A, B]).answers('r'))
      expect(error.code).to.equal('auth_service_unavailable')
    })

    it('calls once for however many ask at the same time, and once more for who came later', async () => {
      const waiting: (() => void)[] = []
      auth.behave((request, response) => {
        waiting.push(() => status(200, { status: 'healthy' })(request, response))
      })
      const client = clientOf([A], { settings: PATIENT })
      const first = client.answers('r')
      await until(() => waiting.length === 1)
      const others = Array.from({ length: 50 }, () => client.answers('r'))
      waiting[0]?.()
      await until(() => waiting.length === 2)
      waiting[1]?.()
      await Promise.all([first, ...others])
      expect(auth.total()).to.equal(2)
    })
  })

  describe('with a broken auth-service', () => {
    const faults: Record<string, Parameters<typeof auth.behave>[0]> = {
      hangs: () => undefined,
      resets: (request) => void request.socket.resetAndDestroy(),
      'answers half a body': (_request, response) => {
        response.writeHead(200, { 'content-length': 100 }).write('{"valid": true,')
        setImmediate(() => response.destroy())
      },
      'answers half a body and hangs': (_request, response) => {
        response.writeHead(200, { 'content-length': 100 }).write('{"valid": true,')
      },
      'answers garbage': status(200, 'garbage'),
      'answers valid without a user': status(200, { valid: true }),
      'answers a user without valid': status(200, { valid: false, user }),
      'answers an unknown role': status(200, { valid: true, user: { ...user, role: 'root' } }),
      'answers 204': status(204),
      'answers a huge user': status(200, {
        valid: true,
        user: { ...user, email: 'x'.repeat(100_000) },
      }),
      'answers without end': (_request, response) => {
        const chunk = Buffer.alloc(1024, ' ')
        const more = () => {
          while (!response.destroyed && response.write(chunk));
        }
        response.on('drain', more)
        more()
      },
      redirects: (_request, response) => {
        response.writeHead(307, { location: `http://${C}:${auth.port}/auth/validate` }).end()
      },
      'answers 429': status(429),
      'answers 500': status(500),
      'answers 503': status(503),
    }
    for (const [fault, behaviour] of Object.entries(faults)) {
      it(`that ${fault}: unavailable within 2 s after one retry at another instance`, async () => {
        auth.behave(behaviour, A, B)
        const began = performance.now()
        const error = await failure(clientOf([A, B]).validate(TOKEN, 'r'))
        expect(performance.now() - began).to.be.lessThan(IN_TIME)
        expect([error.code, error.retryAfter]).to.deep.equal(['auth_service_unavailable', 1])
        expect(inspect(error, { depth: null }))
          .to.not.include(TOKEN)
          .and.not.include(KEY)
        expect(auth.hits()).to.deep.equal({ [A]: 1, [B]: 1 })
      })
    }

    it('that listens nowhere: unavailable', async () => {
      const error = await failure(clientOf(['127.0.0.77']).validate(TOKEN, 'r'))
      expect(error.code).to.equal('auth_service_unavailable')
    })

    it('that cannot be found as the name server is silent: unavailable within 2 s', async () => {
      dns.say('silent')
      const discovery = serviceDiscovery({ log, resolver: dns.resolver({ timeout: 5000 }) })
      const began = performance.now()
      const error = await failure(clientOf([A], { discovery }).validate(TOKEN, 'r'))
      expect(error.code).to.equal('auth_service_unavailable')
      expect(performance.now() - began).to.be.lessThan(IN_TIME)
    })

    it('that hangs: the second attempt has only the time that is left', async () => {
      auth.behave(() => undefined)
      const began = performance.now()
      const client = clientOf([A, B], { settings: { request: 1000, total: 1300 } })
      await failure(client.validate(TOKEN, 'r'))
      expect(performance.now() - began).to.be.within(1290, 1900)
      expect(auth.hits()).to.deep.equal({ [A]: 1, [B]: 1 })
    })

    it('that hangs: there is no second attempt without time for it', async () => {
      auth.behave(() => undefined)
      const client = clientOf([A, B], { settings: { request: 300, total: 340 } })
      await failure(client.validate(TOKEN, 'r'))
      expect(inspect(named(/did not answer/))).to.include('no answer within 300 ms')
      expect(auth.total()).to.equal(1)
    })

    it('that hangs: who waits for a shared call is answered within 2 s of arriving', async () => {
      auth.behave(() => undefined)
      const client = clientOf([A, B])
      const timed = async () => {
        const began = performance.now()
        await failure(client.validate(TOKEN, 'r'))
        return performance.now() - began
      }
      const early = [timed(), timed()]
      await until(() => auth.total() === 2)
      const others = [timed(), timed()]
      for (const time of await Promise.all([...early, ...others]))
        expect(time).to.be.lessThan(IN_TIME)
    })

    it('that hangs: nobody waits longer because somebody who came later shares the call', async () => {
      auth.behave(() => undefined)
      const client = clientOf([A], { settings: { request: 200, total: 400, patience: 20_000 } })
      const settled: string[] = []
      const ask = (name: string) =>
        failure(client.validate(TOKEN, 'r')).then(() => settled.push(name))
      const running = ask('running')
      const early = ask('early')
      await new Promise((resolve) => setTimeout(resolve, 200))
      const late = ask('late')
      await early
      expect(settled).to.not.include('late')
      await Promise.all([running, late])
    })
  })

  describe('retrying', () => {
    it('saves the call when one instance fails, and leaves that one alone', async () => {
      auth.behave(status(500), B)
      const client = clientOf([A, B, C], { settings: PATIENT })
      for (let n = 0; n < 30; n++) await client.validate(`t${n}`, 'r')
      expect(auth.hits()[B]).to.equal(1)
      expect(auth.total()).to.equal(31)
    })

    it('comes back to an instance that failed with one call, then with all', async () => {
      let time = 0
      const client = clientOf([A, B], { now: () => time, settings: APART })
      auth.behave(status(500), A)
      await client.validate('t1', 'r')
      time = 5000
      const burst = () =>
        Promise.all(Array.from({ length: 20 }, (_, n) => client.validate(`b${n}`, 'r')))
      await burst()
      expect(auth.hits()[A]).to.equal(2)
      auth.behave(valid)
      time = 10_000
      await client.validate('t2', 'r')
      await client.validate('t3', 'r')
      auth.reset()
      await burst()
      expect(auth.hits()).to.deep.equal({ [A]: 10, [B]: 10 })
    })

    it('blames no instance for a name server that was slow', async () => {
      const slow = Promise.withResolvers<Addresses>()
      let queries = 0
      const discovery = () =>
        queries++ === 0 ? slow.promise : Promise.resolve([A, B] as Addresses)
      const client = clientOf([A], { discovery, settings: { request: 100 } })
      await client.validate('t1', 'r')
      slow.resolve([A, B])
      await new Promise((resolve) => setImmediate(resolve))
      await client.validate('t2', 'r')
      expect(auth.hits()).to.deep.equal({ [A]: 2 })
    })
  })

  describe('with its circuit breaker', () => {
    // Longer than a retry's pause, or a late retry would be the probe.
    const HALF_OPEN_AFTER = 300
    const fail = (client: Pick<ReturnType<typeof clientOf>, 'validate'>, calls: number) =>
      Promise.all(Array.from({ length: calls }, (_, n) => failure(client.validate(`t${n}`, 'r'))))

    it('stops calling after 20 failures and says when to come again', async () => {
      auth.behave(status(500))
      let time = 0
      const client = clientOf([A], { now: () => time, settings: APART })
      await fail(client, 19)
      expect(named(/suspended/)).to.have.length(1)
      const before = auth.total()
      time = 1500
      const [error] = await fail(client, 1)
      expect([error?.code, error?.retryAfter]).to.deep.equal(['auth_service_unavailable', 4])
      expect(auth.total()).to.equal(before)
      expect(before).to.be.within(20, 29)
    })

    it('lets one probe through, refuses the others at once, and closes when it works', async () => {
      auth.behave(status(500))
      const client = clientOf([A], { settings: { ...APART, halfOpenAfter: HALF_OPEN_AFTER } })
      await fail(client, 25)
      auth.reset()
      const arrived = Promise.withResolvers<() => void>()
      auth.behave((request, response) => arrived.resolve(() => valid(request, response)))
      let probe: Promise<unknown> = Promise.resolve()
      const refused = () => probe.catch(() => undefined)
      await until(async () => {
        probe = client.validate('probe', 'r')
        return (await Promise.race([refused(), arrived.promise])) !== undefined
      })
      const began = performance.now()
      const errors = await fail(client, 50)
      expect(performance.now() - began).to.be.lessThan(200)
      for (const error of errors) {
        expect([error.code, error.retryAfter]).to.deep.equal(['auth_service_unavailable', 1])
      }
      expect(auth.total()).to.equal(1)
      const release = await arrived.promise
      release()
      expect(await probe).to.deep.equal(user)
      auth.behave(valid)
      expect(await client.validate(TOKEN, 'r')).to.deep.equal(user)
      expect(named(/answers again/)).to.have.length(1)
    })

    it('opens again, without a retry, when the probe fails', async () => {
      auth.behave(status(500))
      const client = clientOf([A], { settings: { ...APART, halfOpenAfter: HALF_OPEN_AFTER } })
      await fail(client, 25)
      auth.reset()
      auth.behave(status(500))
      await until(async () => {
        await fail(client, 1)
        return auth.total() > 0
      })
      expect(auth.total()).to.equal(1)
      expect(named(/suspended/)).to.have.length(2)
    })
  })

  describe('sharing calls', () => {
    it('makes one for 64 concurrent validations of one token', async () => {
      const client = clientOf([A, B], { settings: PATIENT })
      const callers = await Promise.all(
        Array.from({ length: 64 }, () => client.validate(TOKEN, 'r')),
      )
      expect(new Set(callers.map((caller) => caller.user_id))).to.deep.equal(new Set([7]))
      expect(auth.total()).to.equal(1)
    })

    it('gives who comes last the whole time, also when the first has none left', async () => {
      const release = Promise.withResolvers<void>()
      auth.behave(async (request, response) => {
        if (auth.total() === 1) await release.promise
        valid(request, response)
      })
      let time = 0
      const client = clientOf([A], { now: () => time, settings: PATIENT })
      const calls = [client.validate(TOKEN, 'r'), client.validate(TOKEN, 'r')]
      await until(() => auth.total() === 1)
      time = PATIENT.total - 10
      calls.push(client.validate(TOKEN, 'r'))
      release.resolve()
      expect(await Promise.all(calls)).to.deep.equal([user, user, user])
      expect(auth.total()).to.equal(2)
    })

    it('never lets in who comes after a logout, though an older call still runs', async () => {
      const release = Promise.withResolvers<void>()
      let session = true
      auth.behave(async (request, response) => {
        const answer = session ? valid : status(401, { code: 'session_ended' })
        if (auth.total() === 1) await release.promise
        answer(request, response)
      })
      const client = clientOf([A], { settings: PATIENT })
      const before = client.validate(TOKEN, 'r')
      await until(() => auth.total() === 1)
      session = false
      const after = failure(client.validate(TOKEN, 'r'))
      release.resolve()
      expect(await before).to.deep.equal(user)
      expect((await after).code).to.equal('session_ended')
    })

    it('lets in who came before the logout and nobody who came after it, in one flow of calls', async () => {
      let over = false
      auth.behave((request, response) => {
        // The answer of the moment at which the call came.
        const isOver = over
        return holding(() => (isOver ? 'session_ended' : user))(request, response)
      })
      const client = clientOf([A, B])
      const outcomes: { over: boolean; result: string }[] = []
      const asking = async () => {
        for (let n = 0; n < 20; n++) {
          const was = over
          const result = await client.validate(TOKEN, 'r').then(
            () => 'in',
            (error) => error.code,
          )
          outcomes.push({ over: was, result })
        }
      }
      const all = Array.from({ length: 20 }, asking)
      await until(() => outcomes.length > 200)
      over = true
      await Promise.all(all)
      const after = outcomes.filter((outcome) => outcome.over)
      expect(after.length).to.be.greaterThan(20)
      for (const { result } of after) expect(result).to.equal('session_ended')
      expect(outcomes[0]?.result).to.equal('in')
    })
  })

  describe('connecting', () => {
    it('answers 10,000 validations over a few kept connections', async () => {
      const client = clientOf([A, B, C], { settings: PATIENT })
      let left = 10_000
      const browser = async (_: unknown, n: number) => {
        while (left-- > 0) await client.validate(`t${n % 8}`, 'r')
      }
      await Promise.all(Array.from({ length: 64 }, browser))
      expect(auth.sockets()).to.be.lessThan(30)
    })

    it('opens 64 sockets to an instance at most', async () => {
      const client = clientOf([A], { settings: APART })
      await Promise.all(Array.from({ length: 300 }, (_, n) => client.validate(`t${n}`, 'r')))
      expect(auth.sockets()).to.be.within(1, 64)
    })

    it('gives a connection up when its life is over, in use or idle', async () => {
      const client = clientOf([A], { settings: { socketLife: 100 } })
      const end = performance.now() + 350
      while (performance.now() < end) await client.validate(TOKEN, 'r')
      expect(auth.sockets()).to.be.within(2, 5)
      await until(async () => (await auth.openSockets()) === 0)
    })

    it('closes its connections at the end', async () => {
      const client = clientOf([A])
      await client.validate(TOKEN, 'r')
      expect(await auth.openSockets()).to.be.greaterThan(0)
      client.close()
      await until(async () => (await auth.openSockets()) === 0)
    })
  })

  describe('discovering', () => {
    const step = fc.oneof(
      fc.record({
        addresses: fc.subarray([...POOL], { minLength: 1 }),
        ttl: fc.constantFrom(0, 1, 3, 10, 60),
      }),
      fc.constant('server failure' as const),
      fc.integer({ min: 0, max: 15_000 }),
      fc.constant('validate' as const),
    )

    it('Feature: ecs-task-management-api, Property 4: Service Discovery Resolution', () =>
      fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 12 }), async (steps) => {
          let time = 0
          const now = () => time
          const resolver = dns.resolver({ timeout: 2000, tries: 1 })
          const discovery = serviceDiscovery({ log, resolver, now })
          const client = clientOf([A], { discovery, now, settings: PATIENT })
          // The law: the answer in force is the last one, for its TTL and 10 s at most; while DNS
          // fails it stands a second longer each time it is asked for. Whoever is in it has a turn.
          let zone: { addresses: string[]; ttl: number } | 'server failure'
          let inForce = { addresses: [] as string[], until: 0 }
          const validate = async () => {
            if (time >= inForce.until) {
              inForce =
                zone === 'server failure'
                  ? { ...inForce, until: time + 1000 }
                  : { addresses: zone.addresses, until: time + Math.min(zone.ttl, 10) * 1000 }
            }
            auth.reset()
            for (const _ of inForce.addresses) await client.validate(TOKEN, 'r')
            const turns = inForce.addresses.map((address) => [address, 1])
            expect(auth.hits()).to.deep.equal(Object.fromEntries(turns))
          }
          zone = { addresses: [A], ttl: 1 }
          dns.say(zone)
          await validate()
          for (const next of [...steps, 'validate' as const]) {
            if (next === 'validate') await validate()
            else if (typeof next === 'number') time += next
            else {
              zone = next
              dns.say(next)
            }
          }
          client.close()
        }),
        { numRuns: 200 },
      ))

    it('finds the instances of a name that changes while calls run', async () => {
      dns.say({ addresses: [A, B], ttl: 0 })
      const client = clientOf([A], {
        discovery: serviceDiscovery({ log, resolver: dns.resolver() }),
        settings: APART,
      })
      await Promise.all(Array.from({ length: 20 }, (_, n) => client.validate(`t${n}`, 'r')))
      expect(auth.hits()).to.deep.equal({ [A]: 10, [B]: 10 })
      dns.say({ addresses: [C], ttl: 0 })
      auth.reset()
      await Promise.all(Array.from({ length: 20 }, (_, n) => client.validate(`t${n}`, 'r')))
      expect(auth.hits()).to.deep.equal({ [C]: 20 })
    })

    it('needs no name server for localhost or an address', async () => {
      for (const host of [A, '127.0.0.2']) {
        const url = `http://${host}:${auth.port}`
        const client = clientOf([A], { url, discovery: serviceDiscovery({ log }) })
        expect(await client.validate(TOKEN, 'r')).to.deep.equal(user)
      }
    })
  })
})
