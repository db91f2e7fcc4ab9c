import { createHash, randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import pg from 'pg'
import type { Role } from '../../src/domain/user.ts'
import type { Env } from '../../src/settings.ts'
import { giveRole } from '../support/roles.ts'
import { type Answer, type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>

const password = () => `pw ${randomUUID()}`
const faults = ({ status, body }: Answer): unknown[] => [status, body.code, body.details]
const faultOf = (field: string, message: string) => [400, 'validation_failed', [{ field, message }]]

describe('The policy of passwords', () => {
  let system: System
  let sql: pg.Client
  let list: string

  before(async () => {
    system = await startSystem()
    sql = new pg.Client(system.database.url)
    await sql.connect()
    list = await mkdtemp(join(tmpdir(), 'tasktrail-breached-'))
  })
  after(async () => {
    await sql.end()
    await system.stop()
    await rm(list, { recursive: true })
  })

  /** Another instance on the same database, with settings of its own. */
  const beside = async (env: Env, work: (other: System) => Promise<void>) => {
    const other = await startSystem(env, undefined, system.database)
    await work(other).finally(other.stop)
  }
  const register = (facts: object, to = system) => {
    const username = `u${randomUUID().slice(0, 18)}`
    const body = { username, email: `${username}@example.com`, password: password(), ...facts }
    return to.call('POST', '/auth/register', { body })
  }
  /** Logs in, and changes from one to the other. */
  const change = async ({ username }: User, from: string, to: string, at = system) => {
    const { body } = await at.call('POST', '/auth/login', { body: { username, password: from } })
    const given = { current_password: from, new_password: to }
    return at.call('PUT', '/auth/password', { token: body.token, body: given })
  }
  const grant = (user: User, role: Role) => giveRole(sql, user.id, role)
  const keptOf = async ({ id }: User): Promise<number> =>
    (await sql.query('select from former_passwords where user_id = $1', [id])).rows.length

  it('asks for as many characters as PASSWORD_MIN_LENGTH says, whoever sets one', async () => {
    const ann = await system.newUser()
    await beside({ PASSWORD_MIN_LENGTH: '15' }, async (strict) => {
      const rule = 'must have at least 15 characters'
      const refused = await register({ password: 'fourteen chars' }, strict)
      expect(faults(refused)).to.deep.equal(faultOf('password', `Password ${rule}`))
      expect((await register({ password: 'fifteen chars 🦜' }, strict)).status).to.equal(201)
      const changed = await change(ann, ann.password, 'fourteen chars', strict)
      expect(faults(changed)).to.deep.equal(faultOf('new_password', `New password ${rule}`))
    })
  })

  it('refuses the most common ones, whoever sets one', async () => {
    const ann = await system.newUser()
    const rule = 'must not be one of the most common passwords'
    const refused = await register({ password: 'Iloveyou1' })
    expect(faults(refused)).to.deep.equal(faultOf('password', `Password ${rule}`))
    const changed = await change(ann, ann.password, 'iloveyou1')
    expect(faults(changed)).to.deep.equal(faultOf('new_password', `New password ${rule}`))
    const { body } = await system.call('POST', '/auth/login', { body: ann })
    expect(body.code, 'the password is as it was').to.equal('validation_failed')
  })

  describe('refuses what is made of its owner’s names:', () => {
    const username = 'Clara.Sommer'
    const email = 'cs-postbox@example.com'
    const rule = 'Password must not be made of your username or email'
    for (const own of [
      'clara.sommer',
      'Clara.Sommer1',
      'Cl4ra.S0mmer!',
      'remmos.aralc',
      'cs-postbox',
      'cs-postbox@example.com',
    ]) {
      it(own, async () => {
        const refused = await register({ username, email, password: own })
        expect(faults(refused)).to.deep.equal(faultOf('password', rule))
      })
    }

    it('and takes what only has one in it', async () => {
      const facts = {
        username: `c.${randomUUID().slice(0, 8)}`,
        password: 'c. likes 7 green horses',
      }
      expect((await register(facts)).status).to.equal(201)
    })

    it('also if the name is longer than what is looked at', async () => {
      const long = `x9${randomUUID().replaceAll('-', '')}`
      const refused = await register({ username: long, password: `${long}1` })
      expect(faults(refused)).to.deep.equal(faultOf('password', rule))
    })
  })

  it('refuses what is in the list of BREACHED_PASSWORDS, and nothing beside it', async () => {
    const [known, padded, other] = [password(), password(), password()]
    const digits = (text: string) => createHash('sha1').update(text).digest('hex').toUpperCase()
    for (const [text, count] of [
      [known, 3],
      [padded, 0],
    ] as const) {
      const hash = digits(text)
      const lines = [`${'0'.repeat(35)}:9`, `${hash.slice(5)}:${count}`, `${'F'.repeat(35)}:1`]
      await writeFile(join(list, `${hash.slice(0, 5)}.txt`), `${lines.join('\r\n')}\r\n`)
    }
    await beside({ BREACHED_PASSWORDS: list }, async (careful) => {
      const refused = await register({ password: known }, careful)
      const message = 'Password must not be one that is known from a breach'
      expect(faults(refused)).to.deep.equal(faultOf('password', message))
      expect((await register({ password: padded }, careful)).status).to.equal(201)
      expect((await register({ password: other }, careful)).status).to.equal(201)
    })
    expect((await register({ password: known })).status).to.equal(201)
  })

  describe('remembers the last passwords', () => {
    const PASSWORD_HISTORY = '3'
    const message = 'New password must not be one of your last 3 passwords'

    it('of auditors and admins, if PASSWORD_HISTORY says so: they must not come again', async () => {
      await beside({ PASSWORD_HISTORY }, async (strict) => {
        const ann = await strict.newUser()
        await grant(ann, 'auditor')
        const [one, two, three, four] = [ann.password, password(), password(), password()]
        const again = faultOf('new_password', message)
        expect(faults(await change(ann, one, one, strict))).to.deep.equal(again)
        expect((await change(ann, one, two, strict)).status).to.equal(204)
        expect(faults(await change(ann, two, one, strict))).to.deep.equal(again)
        expect((await change(ann, two, three, strict)).status).to.equal(204)
        expect(faults(await change(ann, three, one, strict))).to.deep.equal(again)
        expect(faults(await change(ann, three, two, strict))).to.deep.equal(again)
        expect((await change(ann, three, four, strict)).status).to.equal(204)
        expect(await keptOf(ann)).to.equal(2)
        expect((await change(ann, four, one, strict)).status).to.equal(204)
        expect(await keptOf(ann)).to.equal(2)
      })
    })

    it('of nobody else, and keeps nothing of theirs', async () => {
      await beside({ PASSWORD_HISTORY }, async (strict) => {
        const bob = await strict.newUser()
        expect((await change(bob, bob.password, bob.password, strict)).status).to.equal(204)
        expect(await keptOf(bob)).to.equal(0)
      })
    })

    it('of the roles that PASSWORD_HISTORY_ROLES names, as long as they have them', async () => {
      const roles = { PASSWORD_HISTORY, PASSWORD_HISTORY_ROLES: 'user' }
      await beside(roles, async (strict) => {
        const cem = await strict.newUser()
        const [two, three] = [password(), password()]
        expect((await change(cem, cem.password, two, strict)).status).to.equal(204)
        expect(await keptOf(cem)).to.equal(1)
        await grant(cem, 'admin')
        expect((await change(cem, two, three, strict)).status).to.equal(204)
        expect(await keptOf(cem)).to.equal(0)
      })
    })

    it('until the account is erased', async () => {
      await beside({ PASSWORD_HISTORY }, async (strict) => {
        const dan = await strict.newUser()
        await grant(dan, 'admin')
        const next = password()
        await change(dan, dan.password, next, strict)
        expect(await keptOf(dan)).to.equal(1)
        const { username } = dan
        const login = { body: { username, password: next } }
        const { token } = (await strict.call('POST', '/auth/login', login)).body
        const erased = await strict.call('DELETE', '/auth/me', { token, body: { password: next } })
        expect(erased.status).to.equal(204)
        expect(await keptOf(dan)).to.equal(0)
      })
    })
  })

  describe('says how strong a password is', () => {
    const say = (body: object, to = system) => to.call('POST', '/auth/password/strength', { body })

    it('to anybody, with what makes it weak', async () => {
      const weak = await say({ password: 'qwertzuiop' })
      expect(weak.status).to.equal(200)
      expect(weak.body.score).to.be.below(2)
      expect(weak.body.warning).to.include('Straight rows of keys')
      expect(weak.body.suggestions).to.not.have.length(0)
      const strong = await say({ password: 'correct horse battery staple' })
      expect(strong.body).to.include({ score: 4, warning: null, refused: null })
      expect(strong.body.guesses).to.be.above(weak.body.guesses)
    })

    it('with the rule that it would break', async () => {
      const names = { username: 'clara.sommer', email: 'clara@example.com' }
      const rules = await Promise.all(
        ['short', 'password1', 'clara.sommer7', '', 'seven blue elephants'].map(
          async (password) => (await say({ password, ...names })).body.refused,
        ),
      )
      expect(rules).to.deep.equal([
        'must have at least 8 characters',
        'must not be one of the most common passwords',
        'must not be made of your username or email',
        'must have at least 8 characters',
        null,
      ])
    })

    it('in a moment, however long it is, while all else goes on', async () => {
      const began = performance.now()
      const texts = ['x4'.repeat(128), '@4$3'.repeat(64), '🦜'.repeat(256), 'aA1!'.repeat(64)]
      const answers = await Promise.all(texts.map((password) => say({ password })))
      expect(answers.map(({ status }) => status)).to.deep.equal([200, 200, 200, 200])
      expect(performance.now() - began).to.be.below(3_000)
      expect((await say({ password: 'x'.repeat(257) })).status).to.equal(400)
    })

    it('by its first 32 characters: its work grows with the square of their number', async () => {
      const password = randomUUID().replaceAll('-', '')
      const [short, long] = [await say({ password }), await say({ password: password + password })]
      expect(long.body.guesses).to.equal(short.body.guesses)
    })

    it('and writes it nowhere', async () => {
      const secret = randomUUID()
      await say({ password: secret, username: 'whoever', email: 'whoever@example.com' })
      await register({ password: 'password1', username: 'whoever' })
      expect(system.logged()).to.not.match(RegExp(`${secret}|whoever`))
    })

    it('to one address so often and no more', async () => {
      await beside({ RATE_LIMIT_PER_SECOND: '20' }, async (limited) => {
        const asked = await Promise.all(
          Array.from({ length: 6 }, () => say({ password: 'x' }, limited)),
        )
        expect(asked.filter(({ status }) => status === 429)).to.have.length.above(0)
        const refused = asked.find(({ status }) => status === 429)
        expect(refused?.headers.get('ratelimit-policy')).to.equal('"strength";q=2;w=1')
      })
    })
  })
})
