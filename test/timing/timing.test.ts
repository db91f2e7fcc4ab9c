import { randomBytes, randomUUID } from 'node:crypto'
import { expect } from 'chai'
import { Secret, TOTP } from 'otpauth'
import pg from 'pg'
import { hashOfLink } from '../../src/infra/credentials/link-tokens.ts'
import { startLeakingAuth } from '../support/leaking-auth.ts'
import { passkeyDevice } from '../support/passkey-device.ts'
import { type Answer, type System, startSystem } from '../support/system.ts'
import { type Question, type Timing, timed, type Which } from '../support/timings.ts'

/** `TIMINGS=5000` for the long form. */
const IS_LONG = process.env.TIMINGS !== undefined
const COUNT = Number(process.env.TIMINGS ?? 200)
/** By chance above it once in 150,000 times: dudect's bound. */
const BOUND = 4.5

const NOW = new Date('2026-11-29T12:00:00.000Z')
const SITE = 'https://tasks.example.com'
const PASSWORD = 'a good long password'

type User = Awaited<ReturnType<System['newUser']>>

describe('How long an answer takes', function () {
  this.timeout(60_000 + COUNT * 400)
  let system: System
  let sql: pg.Client
  /** Their addresses are confirmed, and they have a passkey. */
  const known: User[] = []
  const passkeys: string[] = []
  const stranger = passkeyDevice()

  before(async () => {
    // Nothing expires while it is asked about.
    system = await startSystem({ PUBLIC_URL: SITE }, () => NOW)
    sql = new pg.Client(system.database.url)
    await sql.connect()
    while (known.length < 20) {
      const user = await system.newUser()
      known.push(user)
      passkeys.push(await addPasskey(user.token))
    }
    await sql.query('update users set email_confirmed_at = now()')
  })
  after(async () => {
    await sql.end()
    await system.stop()
  })

  const done = async (path: string, body: object, token?: string): Promise<Answer['body']> => {
    const { status, body: said } = await system.call('POST', path, { body, token })
    expect(status, JSON.stringify(said)).to.be.below(300)
    return said
  }
  const addPasskey = async (token: string): Promise<string> => {
    const { challenge, options } = await done('/auth/factors/passkey', {}, token)
    const device = passkeyDevice()
    const credential = device.create(options, { origin: SITE })
    await done('/auth/factors/passkey/confirm', { challenge, credential }, token)
    return device.id
  }
  const asked = async ({ username, password }: User): Promise<string> =>
    (await done('/auth/login', { username, password })).second_factor.challenge
  const any = <T>(values: readonly T[]): T => values[Math.floor(Math.random() * values.length)] as T
  const newName = () => `u${randomUUID().replaceAll('-', '').slice(0, 20)}`
  /** Both are made, whichever is sent: what was done just before shows in the time. */
  const oneOf = <T>(which: Which, values: readonly T[], made: T): T => {
    const value = any(values)
    return which === 'known' ? value : made
  }
  const nameOf = (which: Which) =>
    oneOf<Pick<User, 'username'>>(which, known, { username: newName() }).username
  const emailOf = (which: Which) => `${nameOf(which)}@example.com`
  const newToken = () => randomBytes(32).toString('base64url')
  const usedLinks = async (kind: string): Promise<readonly string[]> => {
    const tokens: string[] = []
    for (const { id } of known) {
      const token = newToken()
      tokens.push(token)
      await sql.query(
        `insert into account_links (token_hash, kind, mail_id, user_id, address, credentials_version,
            created_at, expires_at, used_at)
          select $1, $2, 0, id, email, credentials_version, $4, $4::timestamptz + interval '1 hour', $4
          from users where id = $3`,
        [hashOfLink(token), kind, id, NOW],
      )
    }
    return tokens
  }
  const forgetCodes = () => sql.query(`delete from login_attempts where ip = 'second factor'`)

  const QUESTIONS = {
    'a registration with an address that an account has confirmed, or nobody': (): Question => ({
      status: 201,
      next: (which) => {
        const username = newName()
        return {
          path: '/auth/register',
          body: { username, email: emailOf(which), password: PASSWORD },
        }
      },
    }),
    'a wrong password for a username that somebody has, or nobody': (): Question => ({
      status: 401,
      next: (which) => ({
        path: '/auth/login',
        body: { username: nameOf(which), password: PASSWORD },
      }),
    }),
    'a wrong password for an address that somebody has confirmed, or nobody': (): Question => ({
      status: 401,
      next: (which) => ({
        path: '/auth/login',
        body: { username: emailOf(which), password: PASSWORD },
      }),
    }),
    'a forgotten password of an address that somebody has confirmed, or nobody': (): Question => ({
      status: 202,
      next: (which) => ({ path: '/auth/password/reset-request', body: { email: emailOf(which) } }),
    }),
    'a link to confirm an address that was used, or made up': async (): Promise<Question> => {
      const used = await usedLinks('verify')
      return {
        status: 410,
        next: (which) => ({
          path: '/auth/email/verify',
          body: { token: oneOf(which, used, newToken()) },
        }),
      }
    },
    'a link to set a password that was used, or made up': async (): Promise<Question> => {
      const used = await usedLinks('reset')
      return {
        status: 410,
        next: (which) => ({
          path: '/auth/password/reset',
          body: { token: oneOf(which, used, newToken()), new_password: PASSWORD },
        }),
      }
    },
    'a passkey that somebody has, or nobody, with a wrong signature': (): Question => ({
      status: 403,
      next: async (which) => {
        const { challenge, options } = await done('/auth/passkeys/challenge', {})
        const id = oneOf(which, passkeys, newToken())
        const credential = { ...stranger.get(options, { origin: SITE }), id, rawId: id }
        return { path: '/auth/login/passkey', body: { challenge, credential } }
      },
    }),
    'a wrong code for an account that has an app, or a passkey alone':
      async (): Promise<Question> => {
        const user = await system.newUser()
        const { challenge, secret } = await done('/auth/factors/totp', {}, user.token)
        const code = TOTP.generate({
          secret: Secret.fromBase32(secret),
          timestamp: NOW.getTime(),
        })
        await done('/auth/factors/totp/confirm', { challenge, code }, user.token)
        const challenges = { known: await asked(user), unknown: await asked(any(known)) }
        return {
          status: 403,
          next: async (which) => {
            await forgetCodes()
            const totp = String((Number(code) + 1) % 1_000_000).padStart(6, '0')
            const body = { challenge: challenges[which], totp }
            return { path: '/auth/login/second-factor', body }
          },
        }
      },
    'a wrong recovery code for an account that has some, or none any more':
      async (): Promise<Question> => {
        const [some, none] = known as [User, User]
        await sql.query('delete from recovery_codes where user_id = $1', [none.id])
        const challenges = { known: await asked(some), unknown: await asked(none) }
        return {
          status: 403,
          next: (which) => ({
            path: '/auth/login/second-factor',
            body: { challenge: challenges[which], recovery_code: newToken().slice(0, 19) },
          }),
        }
      },
  }

  /** By more than a millisecond: a few hundred answers show them. */
  const PLAIN_LEAKS = [
    'a wrong password for a username that somebody has, or nobody',
    'a forgotten password of an address that somebody has confirmed, or nobody',
  ] as const
  const LEAKS = [
    ...PLAIN_LEAKS,
    'a registration with an address that an account has confirmed, or nobody',
    'a passkey that somebody has, or nobody, with a wrong signature',
    'a wrong code for an account that has an app, or a passkey alone',
  ] as const

  for (const [what, question] of Object.entries(QUESTIONS)) {
    it(`is the same for ${what}`, async () => {
      const timing = await timed(system.urls.auth, await question(), COUNT)
      report(what, timing)
      expect(Math.abs(timing.t)).to.be.below(BOUND)
    })
  }

  describe('of a build that does less for whom it does not know', () => {
    let leaking: Awaited<ReturnType<typeof startLeakingAuth>>

    before(async () => {
      leaking = await startLeakingAuth(system, () => NOW)
    })
    after(() => leaking.stop())

    /** A busy machine needs more of them to see it. */
    const found = async (question: Question, what: string): Promise<Timing> => {
      for (let tries = 1; ; tries++) {
        const timing = await timed(leaking.url, question, COUNT)
        report(`leaking: ${what}`, timing)
        if (Math.abs(timing.t) > BOUND || tries === 10) return timing
      }
    }

    for (const what of IS_LONG ? LEAKS : PLAIN_LEAKS) {
      it(`is found to differ for ${what}`, async () => {
        const { t } = await found(await QUESTIONS[what](), what)
        expect(Math.abs(t)).to.be.above(BOUND)
      })
    }
  })
})

function report(what: string, { t, uncropped, medians }: Timing): void {
  if (!IS_LONG) return
  const [known, unknown] = [medians.known.toFixed(3), medians.unknown.toFixed(3)]
  const values = `t = ${t.toFixed(2)}, ${uncropped.toFixed(2)} uncropped; ${known} and ${unknown} ms`
  console.log(`${what}: ${values}`)
}
