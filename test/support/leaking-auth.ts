import { randomUUID } from 'node:crypto'
import { accounts } from '../../src/app/accounts.ts'
import { factorProofs } from '../../src/app/factor-proofs.ts'
import { factorsOfUsers } from '../../src/app/factors.ts'
import type { PasswordPolicy } from '../../src/app/password-policy.ts'
import type { AccountLinks } from '../../src/app/ports/account-links.ts'
import type { PasswordHasher, Users } from '../../src/app/ports/accounts.ts'
import type { PasskeyCeremonies, TotpCodes } from '../../src/app/ports/factors.ts'
import type { Clock } from '../../src/app/ports/process.ts'
import { recovery } from '../../src/app/recovery.ts'
import { signIn } from '../../src/app/sign-in.ts'
import { authRoutes } from '../../src/http/auth.ts'
import { routes } from '../../src/http/endpoint.ts'
import { factorRoutes } from '../../src/http/factors.ts'
import { recoveryRoutes } from '../../src/http/recovery.ts'
import { service, strictRouter } from '../../src/http/server.ts'
import { passkeyCeremonies, passkeySite } from '../../src/infra/credentials/passkey-ceremonies.ts'
import { bcryptPasswordHasher } from '../../src/infra/credentials/password-hasher.ts'
import { recoveryCodes } from '../../src/infra/credentials/recovery-codes.ts'
import { refreshTokens } from '../../src/infra/credentials/refresh-tokens.ts'
import { jwtTokens } from '../../src/infra/credentials/tokens.ts'
import { totpCodes } from '../../src/infra/credentials/totp-codes.ts'
import { secretKeyWrap } from '../../src/infra/encryption/text-cipher.ts'
import { origins } from '../../src/infra/places/origins.ts'
import { postgresAccountLinks } from '../../src/infra/postgres/accounts/account-links.ts'
import { postgresChallenges } from '../../src/infra/postgres/accounts/challenges.ts'
import { postgresFactors } from '../../src/infra/postgres/accounts/factors.ts'
import { postgresLoginAttempts } from '../../src/infra/postgres/accounts/login-attempts.ts'
import { postgresSecurityEvents } from '../../src/infra/postgres/accounts/security-events.ts'
import { postgresSessions } from '../../src/infra/postgres/accounts/sessions.ts'
import { postgresUsers } from '../../src/infra/postgres/accounts/users.ts'
import { openDatabase } from '../../src/infra/postgres/connection/database.ts'
import { silent } from './log.ts'
import type { System } from './system.ts'

/** No hash for nobody. */
const hasty = (hasher: PasswordHasher): PasswordHasher => ({
  ...hasher,
  verify: async (password, hash) => hash !== null && hasher.verify(password, hash),
})

/** Tells the mailbox itself, if it knows it. */
const telling = (users: Users, links: AccountLinks): Users => ({
  ...users,
  add: async (user, requestContext) => {
    const owner = await users.findByLogin(user.email)
    if (owner !== null) await links.askToReset(user.email, requestContext)
    return users.add(user, requestContext)
  },
})

/** Notes a mail for known addresses alone. */
const choosy = (links: AccountLinks, users: Users): AccountLinks => ({
  ...links,
  askToReset: async (address, requestContext) => {
    const owner = await users.findByLogin(address)
    if (owner !== null) await links.askToReset(address, requestContext)
  },
})

const withoutSignature = (ceremonies: PasskeyCeremonies): PasskeyCeremonies => ({
  ...ceremonies,
  proven: async (answer, challenge, key) =>
    key === null ? null : ceremonies.proven(answer, challenge, key),
})

const withoutCode = (totp: TotpCodes): TotpCodes => ({
  ...totp,
  stepOf: async (user_id, wrapped, code, now) =>
    wrapped === null ? null : totp.stepOf(user_id, wrapped, code, now),
})

/** An auth-service that does less for accounts that it does not know: what a measurement has to find. */
export async function startLeakingAuth({ database, env }: System, clock: Clock) {
  const { PASSWORD_PEPPER: pepper = '', JWT_SECRET: secret = '', PUBLIC_URL: url = '' } = env
  const db = openDatabase({ ...database.config, role: 'tasktrail_auth', log: silent })
  const users = postgresUsers(db)
  const links = postgresAccountLinks(db)
  const sessions = postgresSessions(db, silent)
  const securityEvents = postgresSecurityEvents(db)
  const attempts = postgresLoginAttempts(db)
  const hasher = hasty(bcryptPasswordHasher(pepper, 4))
  const tokens = jwtTokens(secret, undefined)
  // Nobody's business here, and the slowest part of a registration.
  const passwords = { requireFor: async () => {} } as Partial<PasswordPolicy> as PasswordPolicy
  const store = { factors: postgresFactors(db), challenges: postgresChallenges(db) }
  const codes = {
    totp: withoutCode(totpCodes(secretKeyWrap(pepper))),
    recoveryCodes: recoveryCodes(pepper),
    ceremonies: withoutSignature(passkeyCeremonies(passkeySite(url, []))),
  }
  const { hash } = refreshTokens
  const proofs = factorProofs({ ...store, ...codes, hash, attempts, securityEvents })
  const beginning = signIn({
    ...{ ...store, users, sessions, tokens, refreshTokens, proofs },
    ...{ lifetime: 60, newSessionId: randomUUID },
  })
  const factors = factorsOfUsers({ ...store, ...codes, tokens: refreshTokens, newId: randomUUID })

  const router = strictRouter()
  const on = routes(router, async () => undefined)
  const free = async () => {}
  const shared = { clock, loginLimit: free, requireOwnPage: () => {} }
  authRoutes(on, {
    ...{ ...shared, registerLimit: free, origins: origins(undefined) },
    accounts: accounts({
      ...{ users: telling(users, links), links, sessions, securityEvents, attempts, hasher },
      ...{ passwords, tokens, signIn: beginning, proofs, log: silent },
      secondFactorRoles: new Set(),
    }),
  })
  factorRoutes(on, { ...shared, factors, signIn: beginning })
  recoveryRoutes(on, {
    ...{ clock, resetLimit: free, linkLimit: free, mailLimit: free },
    recovery: recovery({ links: choosy(links, users), hasher, passwords }),
  })
  const running = service(router, {
    ...{ log: silent, newId: randomUUID, maxEventLoopDelay: 0, spared: [] },
    clients: { origins: [] },
  })
  const { port } = await running.listen(0, '127.0.0.1')
  return {
    url: `http://127.0.0.1:${port}`,
    stop: async () => {
      await running.close(1_000)
      await db.close()
    },
  }
}
