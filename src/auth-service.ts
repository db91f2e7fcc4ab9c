import { randomBytes, randomUUID } from 'node:crypto'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Container, ContainerModule } from 'inversify'
import { v7 as uuidv7 } from 'uuid'
import packageJson from '../package.json' with { type: 'json' }
import { type Accounts, accounts } from './app/accounts.ts'
import { type ExternalSignIn, externalSignIn } from './app/external-sign-in.ts'
import { type FactorProofs, factorProofs } from './app/factor-proofs.ts'
import { type FactorsOfUsers, factorsOfUsers } from './app/factors.ts'
import { type PasswordPolicy, passwordPolicy } from './app/password-policy.ts'
import { type PoolAccounts, poolAccounts } from './app/pool-accounts.ts'
import type { AccountLinks } from './app/ports/account-links.ts'
import type {
  LoginAttempts,
  PasswordHasher,
  SecurityEvents,
  Sessions,
  Tokens,
  Users,
} from './app/ports/accounts.ts'
import type { ClosableCounters } from './app/ports/counters.ts'
import type {
  Challenges,
  Factors,
  PasskeyCeremonies,
  RecoveryCodes,
  TotpCodes,
} from './app/ports/factors.ts'
import type {
  Identities,
  IdentityProviders,
  ProviderSignIns,
} from './app/ports/identity-providers.ts'
import type { Origins } from './app/ports/origins.ts'
import type { FormerPasswords, PasswordStrength } from './app/ports/passwords.ts'
import type { Clock, Log } from './app/ports/process.ts'
import type { PoolLogins } from './app/ports/user-pool.ts'
import type { UserChanges, UserList } from './app/ports/users.ts'
import { type Profile, profile } from './app/profile.ts'
import { type Recovery, recovery } from './app/recovery.ts'
import { type Roles, roles, withFirstAdmin } from './app/roles.ts'
import { type SignIn, signIn } from './app/sign-in.ts'
import { requireOwnStepUp } from './app/step-up.ts'
import { type UserAdministration, userAdministration } from './app/users.ts'
import { commandLine } from './command-line.ts'
import { type AuthServiceConfig, authServiceConfig } from './config.ts'
import { ACCOUNT_EVENT_ENDPOINTS, accountEventRoutes } from './http/account-events.ts'
import { accountPage } from './http/account-page.ts'
import { ACCOUNT_RECORD_ENDPOINTS, accountRecordRoutes } from './http/account-records.ts'
import { AUTH_ENDPOINTS, authRoutes } from './http/auth.ts'
import { admission } from './http/authenticate.ts'
import { docsRoutes } from './http/docs.ts'
import { BASE as VERSION } from './http/edge.ts'
import { routes } from './http/endpoint.ts'
import { FACTOR_ENDPOINTS, factorRoutes } from './http/factors.ts'
import { healthEndpoints, healthRoutes } from './http/health.ts'
import { openApi } from './http/openapi.ts'
import { PASSWORD_ENDPOINTS, passwordRoutes } from './http/passwords.ts'
import { PROFILE_ENDPOINTS, profileRoutes } from './http/profile.ts'
import { rateLimit, refusalLimit } from './http/rate-limit.ts'
import { RECOVERY_ENDPOINTS, recoveryRoutes } from './http/recovery.ts'
import { type Service, service, strictRouter } from './http/server.ts'
import { requireOwnPage } from './http/session-cookies.ts'
import { SIGN_IN_WITH_ENDPOINTS, signInWithRoutes } from './http/sign-in-with.ts'
import { USER_POOL_ENDPOINTS, userPoolRoutes } from './http/user-pool.ts'
import { USER_ENDPOINTS, userRoutes } from './http/users.ts'
import { cognitoUserPool, issuerOf } from './infra/cognito/user-pool.ts'
import { sharedCounters } from './infra/counters/shared-counters.ts'
import { breachedPasswords } from './infra/credentials/breached-passwords.ts'
import { commonPasswords } from './infra/credentials/common-passwords.ts'
import { passkeyCeremonies, passkeySite } from './infra/credentials/passkey-ceremonies.ts'
import { bcryptPasswordHasher } from './infra/credentials/password-hasher.ts'
import { recoveryCodes } from './infra/credentials/recovery-codes.ts'
import { refreshTokens } from './infra/credentials/refresh-tokens.ts'
import { strengthApart } from './infra/credentials/strength-apart.ts'
import { jwtTokens } from './infra/credentials/tokens.ts'
import { totpCodes } from './infra/credentials/totp-codes.ts'
import { secretKeyWrap } from './infra/encryption/text-cipher.ts'
import { oidcProvider } from './infra/oidc/oidc-provider.ts'
import { origins } from './infra/places/origins.ts'
import { postgresAccountLinks } from './infra/postgres/accounts/account-links.ts'
import { postgresAccountRecords } from './infra/postgres/accounts/account-records.ts'
import { postgresChallenges } from './infra/postgres/accounts/challenges.ts'
import { postgresFactors } from './infra/postgres/accounts/factors.ts'
import { postgresFormerPasswords } from './infra/postgres/accounts/former-passwords.ts'
import { postgresIdentities } from './infra/postgres/accounts/identities.ts'
import { postgresLoginAttempts } from './infra/postgres/accounts/login-attempts.ts'
import { postgresPoolLogins } from './infra/postgres/accounts/pool-logins.ts'
import { postgresProviderSignIns } from './infra/postgres/accounts/provider-sign-ins.ts'
import { postgresSecurityEvents } from './infra/postgres/accounts/security-events.ts'
import { postgresSessions } from './infra/postgres/accounts/sessions.ts'
import { postgresUserChanges } from './infra/postgres/accounts/user-changes.ts'
import { postgresUserList } from './infra/postgres/accounts/user-list.ts'
import { postgresUsers } from './infra/postgres/accounts/users.ts'
import { type Database, openDatabase, PLANNED_ONCE } from './infra/postgres/connection/database.ts'
import { type KeyedDatabase, keyedDatabase } from './infra/postgres/keys/required-key.ts'
import { passwordPepper } from './infra/postgres/keys/stored-keys.ts'
import { configured, type Running, run, serviceUsage } from './process.ts'
import { redisConfig } from './redis-config.ts'
import { token } from './token.ts'

const BASE = '/auth'
/** Answered even under overload: task-service depends on it. */
const VALIDATE = ['/auth/validate', '/auth/validate/batch']

/** What runs in a thread of its own: beside this program, in the source as in an image. */
const STRENGTH = new URL(
  `password-strength${extname(fileURLToPath(import.meta.url))}`,
  import.meta.url,
)

const Token = {
  config: token<AuthServiceConfig>('config'),
  log: token<Log>('log'),
  clock: token<Clock>('clock'),
  db: token<KeyedDatabase>('db'),
  users: token<Users>('users'),
  sessions: token<Sessions>('sessions'),
  securityEvents: token<SecurityEvents>('securityEvents'),
  attempts: token<LoginAttempts>('attempts'),
  links: token<AccountLinks>('links'),
  hasher: token<PasswordHasher>('hasher'),
  strength: token<PasswordStrength>('strength'),
  formerPasswords: token<FormerPasswords>('formerPasswords'),
  passwords: token<PasswordPolicy>('passwords'),
  origins: token<Origins>('origins'),
  userList: token<UserList>('userList'),
  userChanges: token<UserChanges>('userChanges'),
  profile: token<Profile>('profile'),
  userAdministration: token<UserAdministration>('userAdministration'),
  tokens: token<Tokens>('tokens'),
  counters: token<ClosableCounters>('counters'),
  factors: token<Factors>('factors'),
  challenges: token<Challenges>('challenges'),
  codes: token<Codes>('codes'),
  proofs: token<FactorProofs>('proofs'),
  ownFactors: token<FactorsOfUsers>('ownFactors'),
  signIn: token<SignIn>('signIn'),
  providers: token<IdentityProviders>('providers'),
  signIns: token<ProviderSignIns>('signIns'),
  identities: token<Identities>('identities'),
  accounts: token<Accounts>('accounts'),
  roles: token<Roles>('roles'),
  recovery: token<Recovery>('recovery'),
  externalSignIn: token<ExternalSignIn>('externalSignIn'),
  poolLogins: token<PoolLogins>('poolLogins'),
  poolAccounts: token<PoolAccounts | null>('poolAccounts'),
  service: token<Service>('service'),
}

/** What second factors are proven with. */
type Codes = {
  readonly totp: TotpCodes
  readonly recoveryCodes: RecoveryCodes
  readonly ceremonies: PasskeyCeremonies
}

const newSecret = () => randomBytes(32).toString('base64url')

const adapters = new ContainerModule(({ bind }) => {
  bind(Token.db)
    .toResolvedValue(
      ({ database, PASSWORD_PEPPER }, log) =>
        keyedDatabase(
          openDatabase({ ...database, role: 'tasktrail_auth', settings: PLANNED_ONCE, log }),
          [passwordPepper(PASSWORD_PEPPER)],
        ),
      [Token.config, Token.log],
    )
    .inSingletonScope()
  bind(Token.users).toResolvedValue(
    ({ FIRST_ADMIN }, db, log) => {
      const users = postgresUsers(db)
      return FIRST_ADMIN === undefined ? users : withFirstAdmin(users, FIRST_ADMIN, log)
    },
    [Token.config, Token.db, Token.log],
  )
  bind(Token.userList).toResolvedValue(postgresUserList, [Token.db])
  bind(Token.userChanges).toResolvedValue(postgresUserChanges, [Token.db])
  bind(Token.sessions).toResolvedValue(postgresSessions, [Token.db, Token.log])
  bind(Token.securityEvents).toResolvedValue(postgresSecurityEvents, [Token.db])
  bind(Token.attempts).toResolvedValue(postgresLoginAttempts, [Token.db])
  bind(Token.links).toResolvedValue(postgresAccountLinks, [Token.db])
  bind(Token.providers)
    .toResolvedValue(
      ({ providers }) =>
        new Map([...providers].map(([name, client]) => [name, oidcProvider(client)])),
      [Token.config],
    )
    .inSingletonScope()
  bind(Token.signIns).toResolvedValue(postgresProviderSignIns, [Token.db])
  bind(Token.identities).toResolvedValue(postgresIdentities, [Token.db])
  bind(Token.poolLogins).toResolvedValue(
    (db, { PASSWORD_PEPPER }) => postgresPoolLogins(db, PASSWORD_PEPPER),
    [Token.db, Token.config],
  )
  bind(Token.hasher)
    .toResolvedValue(
      ({ PASSWORD_PEPPER, BCRYPT_COST }) => bcryptPasswordHasher(PASSWORD_PEPPER, BCRYPT_COST),
      [Token.config],
    )
    .inSingletonScope()
  bind(Token.origins)
    .toResolvedValue(({ COUNTRY_DATABASE }) => origins(COUNTRY_DATABASE), [Token.config])
    .inSingletonScope()
  bind(Token.strength).toResolvedValue(() => strengthApart(STRENGTH))
  bind(Token.formerPasswords).toResolvedValue(postgresFormerPasswords, [Token.db])
  bind(Token.tokens).toResolvedValue(
    ({ JWT_SECRET, JWT_SECRET_PREVIOUS }) => jwtTokens(JWT_SECRET, JWT_SECRET_PREVIOUS),
    [Token.config],
  )
  bind(Token.factors).toResolvedValue(postgresFactors, [Token.db])
  bind(Token.challenges).toResolvedValue(postgresChallenges, [Token.db])
  bind(Token.codes).toResolvedValue(
    ({ PASSWORD_PEPPER, PUBLIC_URL, CORS_ORIGINS }) => ({
      totp: totpCodes(secretKeyWrap(PASSWORD_PEPPER)),
      recoveryCodes: recoveryCodes(PASSWORD_PEPPER),
      ceremonies: passkeyCeremonies(passkeySite(PUBLIC_URL, CORS_ORIGINS)),
    }),
    [Token.config],
  )
  bind(Token.counters)
    .toResolvedValue(
      (config, log) => sharedCounters(redisConfig(config), config.INTERNAL_API_KEY, log),
      [Token.config, Token.log],
    )
    .inSingletonScope()
})

const useCases = new ContainerModule(({ bind }) => {
  bind(Token.proofs).toResolvedValue(
    (factors, challenges, codes, attempts, securityEvents) => {
      const { hash } = refreshTokens
      return factorProofs({ factors, challenges, ...codes, hash, attempts, securityEvents })
    },
    [Token.factors, Token.challenges, Token.codes, Token.attempts, Token.securityEvents],
  )
  bind(Token.ownFactors).toResolvedValue(
    (factors, challenges, codes) =>
      factorsOfUsers({ factors, challenges, ...codes, tokens: refreshTokens, newId: randomUUID }),
    [Token.factors, Token.challenges, Token.codes],
  )
  bind(Token.signIn).toResolvedValue(
    ({ JWT_EXPIRATION: lifetime }, users, sessions, tokens, factors, challenges, proofs) =>
      signIn({
        ...{ users, sessions, tokens, refreshTokens, factors, challenges, proofs, lifetime },
        newSessionId: randomUUID,
      }),
    [
      Token.config,
      Token.users,
      Token.sessions,
      Token.tokens,
      Token.factors,
      Token.challenges,
      Token.proofs,
    ],
  )
  bind(Token.passwords)
    .toResolvedValue(passwordsOf, [
      Token.config,
      Token.strength,
      Token.formerPasswords,
      Token.hasher,
    ])
    .inSingletonScope()
  bind(Token.profile).toResolvedValue(
    (users, changes) => profile({ users, changes }),
    [Token.users, Token.userChanges],
  )
  bind(Token.userAdministration).toResolvedValue(
    (users, list, changes, sessions, securityEvents) =>
      userAdministration({ users, list, changes, sessions, securityEvents }),
    [Token.users, Token.userList, Token.userChanges, Token.sessions, Token.securityEvents],
  )
  bind(Token.accounts)
    .toResolvedValue(
      (
        config,
        users,
        sessions,
        securityEvents,
        attempts,
        links,
        hasher,
        passwords,
        tokens,
        signIn,
        proofs,
        log,
      ) =>
        accounts({
          ...{ users, sessions, securityEvents, attempts, links, hasher, passwords, tokens, log },
          ...{ signIn, proofs, secondFactorRoles: config.REQUIRE_SECOND_FACTOR },
        }),
      [
        Token.config,
        Token.users,
        Token.sessions,
        Token.securityEvents,
        Token.attempts,
        Token.links,
        Token.hasher,
        Token.passwords,
        Token.tokens,
        Token.signIn,
        Token.proofs,
        Token.log,
      ],
    )
    .inSingletonScope()
  bind(Token.roles).toResolvedValue(roles, [Token.users])
  bind(Token.recovery)
    .toResolvedValue(
      (links, hasher, passwords) => recovery({ links, hasher, passwords }),
      [Token.links, Token.hasher, Token.passwords],
    )
    .inSingletonScope()
  bind(Token.externalSignIn)
    .toResolvedValue(
      ({ PUBLIC_URL }, providers, signIns, identities, securityEvents, signIn, users) =>
        externalSignIn({
          ...{ providers, signIns, identities, securityEvents, signIn, newSecret },
          requireStepUp: (caller, now) => requireOwnStepUp(users, caller, now),
          callbackOf: (name) =>
            new URL(`${VERSION}/auth/providers/${name}/callback`, PUBLIC_URL).href,
        }),
      [
        Token.config,
        Token.providers,
        Token.signIns,
        Token.identities,
        Token.securityEvents,
        Token.signIn,
        Token.users,
      ],
    )
    .inSingletonScope()
  bind(Token.poolAccounts)
    .toResolvedValue(
      ({ userPool }, local, externalSignIn, logins, signIn, tokens, attempts, ...rest) => {
        if (userPool === null) return null
        const [users, sessions, securityEvents, log] = rest
        const pool = cognitoUserPool(userPool)
        const issuer = issuerOf(userPool)
        return poolAccounts({
          ...{ pool, issuer, local, externalSignIn, logins, signIn, tokens, attempts },
          ...{ users, sessions, securityEvents, newSecret, log },
        })
      },
      [
        Token.config,
        Token.accounts,
        Token.externalSignIn,
        Token.poolLogins,
        Token.signIn,
        Token.tokens,
        Token.attempts,
        Token.users,
        Token.sessions,
        Token.securityEvents,
        Token.log,
      ],
    )
    .inSingletonScope()
})

const http = new ContainerModule(({ bind }) => {
  bind(Token.service)
    .toResolvedValue(httpService, [
      Token.config,
      Token.log,
      Token.clock,
      Token.db,
      Token.counters,
      Token.accounts,
      Token.signIn,
      Token.ownFactors,
      Token.roles,
      Token.securityEvents,
      Token.recovery,
      Token.passwords,
      Token.origins,
      Token.profile,
      Token.userAdministration,
      Token.externalSignIn,
      Token.poolAccounts,
    ])
    .inSingletonScope()
})

function passwordsOf(
  config: AuthServiceConfig,
  strength: PasswordStrength,
  former: FormerPasswords,
  hasher: PasswordHasher,
): PasswordPolicy {
  const { PASSWORD_MIN_LENGTH: minLength, BREACHED_PASSWORDS: list } = config
  return passwordPolicy({
    minLength,
    history: { length: config.PASSWORD_HISTORY, roles: config.PASSWORD_HISTORY_ROLES },
    common: commonPasswords(minLength),
    breached: list === undefined ? async () => false : breachedPasswords(list),
    strength,
    former,
    hasher,
  })
}

function httpService(
  config: AuthServiceConfig,
  log: Log,
  clock: Clock,
  db: Database,
  { counters }: ClosableCounters,
  accounts: Accounts,
  signIn: SignIn,
  factors: FactorsOfUsers,
  roles: Roles,
  securityEvents: SecurityEvents,
  recovery: Recovery,
  passwords: PasswordPolicy,
  origins: Origins,
  profile: Profile,
  users: UserAdministration,
  externalSignIn: ExternalSignIn,
  poolAccounts: PoolAccounts | null,
): Service {
  const tokens = { validate: (token: string) => accounts.validate(token, clock()) }
  const second = { points: config.RATE_LIMIT_PER_SECOND, seconds: 1 }
  const minute = { points: config.LOGIN_LIMIT_PER_MINUTE, seconds: 60 }
  const hour = { points: config.MAIL_LIMIT_PER_HOUR, seconds: 3_600 }
  const limit = rateLimit(counters, { name: 'default', ...second })
  const refusals = refusalLimit(counters, { name: 'refused', ...second })
  const loginLimit = rateLimit(counters, { name: 'login', ...minute })
  const registerLimit = rateLimit(counters, { name: 'register', ...minute })
  const resetLimit = rateLimit(counters, { name: 'reset', ...minute })
  const linkLimit = rateLimit(counters, { name: 'link', ...minute })
  const mailLimit = rateLimit(counters, { name: 'mail', ...hour })
  // Somebody who types has one or two estimates a second.
  const estimates = { points: Math.ceil(config.RATE_LIMIT_PER_SECOND / 10), seconds: 1 }
  const strengthLimit = rateLimit(counters, { name: 'strength', ...estimates })
  const router = strictRouter()
  const { INTERNAL_API_KEY: current, INTERNAL_API_KEY_PREVIOUS: previous } = config
  const internalApiKeys = previous === undefined ? [current] : [current, previous]
  const ownPage = requireOwnPage(config.CORS_ORIGINS)
  const on = routes(
    router,
    admission({ tokens, internalApiKeys, limit, refusals, requireOwnPage: ownPage }),
    config.IDENTITY,
  )
  healthRoutes(on, { base: BASE, name: 'auth', ping: db.ping })
  const shared = { clock, loginLimit, requireOwnPage: ownPage }
  authRoutes(on, { ...shared, accounts: { ...accounts, ...poolAccounts }, origins, registerLimit })
  factorRoutes(on, { ...shared, factors, signIn: { ...signIn, ...poolAccounts } })
  accountRecordRoutes(on, { records: postgresAccountRecords(db), tokens })
  accountEventRoutes(on, { securityEvents })
  recoveryRoutes(on, { clock, recovery, resetLimit, linkLimit, mailLimit })
  accountPage(router, `${BASE}/link`)
  userRoutes(on, { users, roles, origins, clock })
  profileRoutes(on, { profile, accounts, mailLimit, clock })
  passwordRoutes(on, { passwords, limit: strengthLimit })
  const pages = [...config.CORS_ORIGINS, new URL(config.PUBLIC_URL).origin]
  signInWithRoutes(on, { ...shared, externalSignIn, newSecret, origins: pages })
  // Refused before they are called, where there is no pool.
  userPoolRoutes(on, { ...shared, accounts: poolAccounts as PoolAccounts })
  const title = 'Tasktrail auth-service'
  const endpoints = [
    ...healthEndpoints(BASE, 'auth'),
    ...AUTH_ENDPOINTS,
    ...RECOVERY_ENDPOINTS,
    ...FACTOR_ENDPOINTS,
    ...PASSWORD_ENDPOINTS,
    ...PROFILE_ENDPOINTS,
    ...USER_ENDPOINTS,
    ...ACCOUNT_RECORD_ENDPOINTS,
    ...ACCOUNT_EVENT_ENDPOINTS,
    ...SIGN_IN_WITH_ENDPOINTS,
    ...USER_POOL_ENDPOINTS,
  ]
  docsRoutes(router, BASE, title, openApi(title, packageJson.version, endpoints))
  return service(router, {
    log,
    newId: uuidv7,
    maxEventLoopDelay: config.MAX_EVENT_LOOP_DELAY_MS,
    clients: { origins: config.CORS_ORIGINS },
    spared: [`${BASE}/health`, '/ready', ...VALIDATE],
  })
}

/** Before anybody is answered; later, registration looks. */
async function makeFirstAdmin(
  { FIRST_ADMIN: username }: AuthServiceConfig,
  { grantFirst }: Roles,
  log: Log,
  clock: Clock,
): Promise<void> {
  if (username === undefined) return
  const context = { request_id: uuidv7(), ip: null, user_agent: 'FIRST_ADMIN', now: clock() }
  if (await grantFirst(username, context)) log.info({ username }, 'made the first admin')
}

/** All of auth-service, wired; not yet listening. */
export function authService(config: AuthServiceConfig, log: Log, clock: Clock): Running {
  const container = new Container()
  container.bind(Token.config).toConstantValue(config)
  container.bind(Token.log).toConstantValue(log)
  container.bind(Token.clock).toConstantValue(clock)
  container.load(adapters, useCases, http)
  return {
    service: container.get(Token.service),
    requireKeys: async () => {
      await container.get(Token.db).requireKeys()
      await makeFirstAdmin(config, container.get(Token.roles), log, clock)
    },
    dispose: async () => {
      await container.get(Token.counters).close()
      await container.get(Token.db).close()
    },
  }
}

if (import.meta.main) {
  commandLine({ usage: serviceUsage('start:auth', 'auth-service') })
  const config = configured(authServiceConfig)
  await run('auth-service', config, (log) => authService(config, log, () => new Date()))
}
