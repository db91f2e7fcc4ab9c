import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import pg from 'pg'
import type { Env } from '../../src/settings.ts'
import { type Answer, type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>

const MINUTE = 60_000
const WRONG = 'a wrong password'
const from = (address: string) => ({ 'x-forwarded-for': address })
const outcome = ({ status, body }: Answer): string => `${status} ${body.code ?? 'in'}`
const count = (outcomes: readonly string[], wanted: string): number =>
  outcomes.filter((each) => each === wanted).length

describe('Login attempts', () => {
  let now = Date.parse('2026-11-21T12:00:00.000Z')
  let system: System
  let second: System
  let sql: pg.Client
  let ann: User

  before(async () => {
    system = await startSystem({}, () => new Date(now))
    second = await startSystem({}, () => new Date(now), system.database)
    sql = new pg.Client(system.database.url)
    await sql.connect()
  })
  beforeEach(async () => {
    ann = await system.newUser()
  })
  after(async () => {
    await sql.end()
    await second.stop()
    await system.stop()
  })

  const login = (username: string, password: string, headers = {}, to = system) =>
    to.call('POST', '/auth/login', { body: { username, password }, headers })
  const tries = async (times: number, username = ann.username, headers = {}): Promise<string[]> => {
    const outcomes: string[] = []
    for (let n = 0; n < times; n++) outcomes.push(outcome(await login(username, WRONG, headers)))
    return outcomes
  }
  const FAILED = '401 invalid_credentials'
  const LOCKED = '429 too_many_attempts'

  it('may fail five times; then the account is locked for this address for a minute', async () => {
    expect(await tries(5)).to.deep.equal(Array(5).fill(FAILED))
    const locked = await login(ann.username, ann.password)
    expect(outcome(locked)).to.equal(LOCKED)
    expect(locked.headers.get('retry-after')).to.equal('60')
    now += 59 * 1_000 + 1
    const still = await login(ann.username, ann.password)
    expect(still.headers.get('retry-after')).to.equal('1')
    now += 999
    expect((await login(ann.username, ann.password)).status).to.equal(200)
  })

  it('are locked out for 1, 2, 4, 8, then 15 minutes, and counted anew after that', async () => {
    await tries(4)
    for (const minutes of [1, 2, 4, 8, 15]) {
      expect(await tries(2)).to.deep.equal([FAILED, LOCKED])
      const { headers } = await login(ann.username, WRONG)
      expect(headers.get('retry-after')).to.equal(String(minutes * 60))
      now += minutes * MINUTE
    }
    expect(await tries(6)).to.deep.equal([...Array(5).fill(FAILED), LOCKED])
  })

  it('are counted anew when the last one was 15 minutes ago', async () => {
    await tries(4)
    now += 15 * MINUTE
    expect(await tries(5)).to.deep.equal(Array(5).fill(FAILED))
  })

  it('are cleared when one succeeds, even the fifth', async () => {
    for (let round = 0; round < 3; round++) {
      expect(await tries(4)).to.deep.equal(Array(4).fill(FAILED))
      expect((await login(ann.username, ann.password)).status).to.equal(200)
    }
  })

  it('are counted for one account whatever the letter case of its name', async () => {
    const names = [ann.username, ann.username.toUpperCase()]
    for (let n = 0; n < 5; n++) await login(names[n % 2] ?? '', WRONG)
    for (const username of names) {
      expect(outcome(await login(username, ann.password))).to.equal(LOCKED)
    }
  })

  it('lock an account that does not exist in the same way', async () => {
    const unknown = await tries(7, `nobody-${randomUUID().slice(0, 8)}`)
    expect(unknown).to.deep.equal([...Array(5).fill(FAILED), LOCKED, LOCKED])
  })

  it('lock no other account, and no other address', async () => {
    const bob = await system.newUser()
    await tries(6)
    expect((await login(bob.username, bob.password)).status).to.equal(200)
    const elsewhere = from('203.0.113.77')
    expect((await login(ann.username, ann.password, elsewhere)).status).to.equal(200)
    expect(outcome(await login(ann.username, ann.password))).to.equal(LOCKED)
  })

  it('come from the address that the load balancer saw, whatever the client wrote before it', async () => {
    const spoofed = () => from(`203.0.113.${Math.floor(Math.random() * 255)}, 198.51.100.20`)
    const outcomes: string[] = []
    for (let n = 0; n < 7; n++) outcomes.push(...(await tries(1, ann.username, spoofed())))
    expect(outcomes).to.deep.equal([...Array(5).fill(FAILED), LOCKED, LOCKED])
    const { status } = await login(ann.username, ann.password, from('198.51.100.20, 198.51.100.21'))
    expect(status).to.equal(200)
  })

  it('come from one address however wild the header is', async () => {
    const outcomes: string[] = []
    for (const wild of [
      'x',
      '1.2.3.4.5',
      ',',
      '127.0.0.1:80',
      `${'9'.repeat(999)}`,
      '::g',
      "' or 1",
    ]) {
      outcomes.push(...(await tries(1, ann.username, from(wild))))
    }
    expect(outcomes).to.deep.equal([...Array(5).fill(FAILED), LOCKED, LOCKED])
  })

  it('come from one network however many of its IPv6 addresses they use', async () => {
    const outcomes: string[] = []
    for (let n = 1; n <= 6; n++)
      outcomes.push(...(await tries(1, ann.username, from(`2001:db8:1:2:${n}::${n}`))))
    expect(outcomes).to.deep.equal([...Array(5).fill(FAILED), LOCKED])
    const { status } = await login(ann.username, ann.password, from('2001:db8:1:3::1'))
    expect(status).to.equal(200)
    const { rows } = await sql.query(
      `select distinct ip from security_events where username = $1 and type = 'login_failed'`,
      [ann.username],
    )
    expect(rows.map(({ ip }) => ip)).to.include('2001:db8:1:2:5::5')
  })

  it('are not counted when the account cannot be looked up', async () => {
    await sql.query('begin; lock table users in access exclusive mode')
    const unanswered = await Promise.all(
      Array.from({ length: 5 }, () => login(ann.username, ann.password)),
    )
    await sql.query('rollback')
    expect(unanswered.map(outcome)).to.deep.equal(Array(5).fill('503 database_unavailable'))
    expect(await tries(6)).to.deep.equal([...Array(5).fill(FAILED), LOCKED])
  })

  it('that succeed are let in even if the attempts before them cannot be cleared', async () => {
    await tries(1)
    await sql.query(`
      create function refuse_all() returns trigger language plpgsql as
        $$ begin raise exception 'the disk is full'; end $$;
      create trigger refused before delete on login_attempts
        for each row execute function refuse_all()`)
    const { status } = await login(ann.username, ann.password)
    await sql.query('drop trigger refused on login_attempts; drop function refuse_all')
    expect(status).to.equal(200)
  })

  it('at the same moment get five guesses through at most, on all instances together', async () => {
    const guesses = Array.from({ length: 30 }, (_, n) =>
      login(ann.username, `guess number ${n}`, {}, n % 2 ? second : system),
    )
    const outcomes = (await Promise.all(guesses)).map(outcome)
    // Those that found no free slot for a hash were no guesses.
    expect(count(outcomes, FAILED)).to.be.within(1, 5)
    expect([FAILED, LOCKED, '503 hashing_busy']).to.include.members([...new Set(outcomes)])
    const { rows } = await sql.query(
      `select from security_events where username = $1 and type = 'login_failed'`,
      [ann.username],
    )
    expect(rows).to.have.length(count(outcomes, FAILED))
  })

  it('count together with attempts to change the password', async () => {
    const body = { current_password: WRONG, new_password: 'a good long password' }
    const change = () => system.call('PUT', '/auth/password', { token: ann.token, body })
    const outcomes: string[] = []
    for (let n = 0; n < 6; n++) outcomes.push(outcome(await change()))
    expect(outcomes).to.deep.equal([...Array(5).fill('403 wrong_password'), LOCKED])
    expect(outcome(await login(ann.username, ann.password))).to.equal(LOCKED)
    expect((await system.call('GET', '/auth/me', { token: ann.token })).status).to.equal(200)
  })
})

describe('Logins from one address', () => {
  const limited = async (limit: string, work: (system: System) => Promise<void>) => {
    const system = await startSystem({ LOGIN_LIMIT_PER_MINUTE: limit })
    await work(system).finally(system.stop)
  }
  const REFUSED = '429 too_many_requests'
  const login = (system: System, address: string) => {
    const body = { username: 'nobody', password: WRONG }
    return system.call('POST', '/auth/login', { body, headers: from(address) })
  }
  const register = (system: System, address: string) => {
    const username = `u${randomUUID().slice(0, 18)}`
    const body = { username, email: `${username}@x.io`, password: 'a good long password' }
    return system.call('POST', '/auth/register', { body, headers: from(address) })
  }

  it('are as many a minute as LOGIN_LIMIT_PER_MINUTE says, whoever they are for', async () => {
    await limited('30', async (system) => {
      const answers = await Promise.all(
        Array.from({ length: 40 }, (_, n) => login(system, `10.0.0.${n}, 198.51.100.30`)),
      )
      expect(count(answers.map(outcome), REFUSED)).to.equal(10)
      const refused = await login(system, '198.51.100.30')
      expect(outcome(refused)).to.equal(REFUSED)
      expect(Number(refused.headers.get('retry-after'))).to.be.within(30, 60)
      expect(refused.headers.get('ratelimit-policy')).to.equal('"login";q=30;w=60')
      expect((await login(system, '198.51.100.31')).status).to.equal(401)
    })
  })

  it('are counted apart from registrations, of which there may be as many', async () => {
    await limited('3', async (system) => {
      const address = '198.51.100.40'
      const answers: Answer[] = []
      for (let n = 0; n < 4; n++) answers.push(await register(system, address))
      expect(answers.map(outcome)).to.deep.equal([...Array(3).fill('201 in'), REFUSED])
      expect(answers[3]?.headers.get('ratelimit-policy')).to.equal('"register";q=3;w=60')
      expect(outcome(await register(system, '198.51.100.41'))).to.equal('201 in')
      const logins: string[] = []
      for (let n = 0; n < 4; n++) logins.push(outcome(await login(system, address)))
      expect(logins).to.deep.equal([...Array(3).fill('401 invalid_credentials'), REFUSED])
    })
  })

  it('and registrations are counted by the network of an IPv6 address', async () => {
    await limited('3', async (system) => {
      for (const call of [login, register]) {
        const answers: Answer[] = []
        for (let n = 1; n <= 4; n++) answers.push(await call(system, `2001:db8:1:2::${n}`))
        expect(answers.map(outcome).indexOf(REFUSED)).to.equal(3)
        expect(outcome(await call(system, '2001:db8:1:3::1'))).to.not.equal(REFUSED)
      }
    })
  })

  it('are not counted when LOGIN_LIMIT_PER_MINUTE is 0', async () => {
    await limited('0', async (system) => {
      const answers = await Promise.all(
        Array.from({ length: 60 }, () => login(system, '198.51.100.50')),
      )
      expect(count(answers.map(outcome), REFUSED)).to.equal(0)
      expect(answers[0]?.headers.get('ratelimit')).to.equal(null)
    })
  })
})

describe('More hashes than can be made', () => {
  let system: System
  let ann: User

  before(async () => {
    system = await startSystem()
    ann = await system.newUser()
  })
  after(() => system.stop())

  const beside = async <T>(env: Env, work: (other: System) => Promise<T>): Promise<T> => {
    const other = await startSystem(env, undefined, system.database)
    return work(other).finally(other.stop)
  }
  const login = (to: System, password: string) =>
    to.call('POST', '/auth/login', { body: { username: ann.username, password } })
  const register = (to: System, facts: object = {}) => {
    const username = `u${randomUUID().slice(0, 18)}`
    const body = { username, email: `${username}@x.io`, password: 'a good long password', ...facts }
    return to.call('POST', '/auth/register', { body })
  }
  const flood = (to: System, length: number) => Array.from({ length }, () => register(to))
  /** Each hash takes longer than anyone waits; one connection keeps what comes to it in order. */
  const SLOW = { BCRYPT_COST: '15', DB_POOL_MAX: '1' }
  const milliseconds = async (work: () => Promise<Answer>, status: number): Promise<number> => {
    const began = performance.now()
    expect((await work()).status).to.equal(status)
    return performance.now() - began
  }

  it('wait for a second at most, then are answered 503, while other calls are quick', async () => {
    const began = performance.now()
    const times: number[] = []
    const answers = await beside({ BCRYPT_COST: '12' }, async (busy) => {
      let pending = true
      const flooded = Promise.all(flood(busy, 40)).finally(() => {
        pending = false
      })
      const headers = { 'x-internal-api-key': system.env.INTERNAL_API_KEY ?? '' }
      const validate = () => busy.call('POST', '/auth/validate', { token: ann.token, headers })
      while (pending) {
        times.push(await milliseconds(() => busy.call('GET', '/auth/health'), 200))
        times.push(await milliseconds(validate, 200))
      }
      return flooded
    })
    const refused = answers.filter(({ status }) => status !== 201)
    expect(refused).to.have.length.within(1, 39)
    for (const { status, headers, body } of refused) {
      expect([status, body.code]).to.deep.equal([503, 'hashing_busy'])
      expect(Number(headers.get('retry-after'))).to.be.at.least(1)
    }
    expect(performance.now() - began).to.be.lessThan(5_000)
    const middle = times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] ?? Number.NaN
    expect(middle).to.be.lessThan(250)
  })

  it('are not waited for by those who want a name that is taken', async () => {
    const answer = await beside(SLOW, async (slow) => {
      const held = Promise.all(flood(slow, 4))
      const answer = await register(slow, { username: ann.username.toUpperCase() })
      await held
      return answer
    })
    expect(outcome(answer)).to.equal('409 username_taken')
  })

  it('are not held against the account that they were for', async () => {
    const outcomes = await beside(SLOW, async (slow) => {
      const held = Promise.all(flood(slow, 4))
      // It looks after they have looked: they have begun to hash.
      await register(slow, { username: ann.username })
      const tries = Array.from({ length: 5 }, () => login(slow, ann.password))
      const answers = await Promise.all(tries)
      await held
      return answers.map(outcome)
    })
    expect(outcomes).to.deep.equal(Array(5).fill('503 hashing_busy'))
    for (let n = 0; n < 5; n++) {
      expect(outcome(await login(system, WRONG))).to.equal('401 invalid_credentials')
    }
    expect(outcome(await login(system, WRONG))).to.equal('429 too_many_attempts')
  })
})
