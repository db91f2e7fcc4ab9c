import { createSign, generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import {
  createServer,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { type Adapter, type AdapterPayload, Provider } from 'oidc-provider'

/** What the provider knows of somebody, beside their subject. */
export type Person = {
  readonly email?: string
  readonly email_verified?: boolean | string
  readonly amr?: string[]
  readonly acr?: string
}

export type PeerAnswer = { readonly status: number; readonly body: string; readonly type?: string }
/** Changes an answer of the provider on its way. */
export type Tamper = (path: string, answer: PeerAnswer) => PeerAnswer | Promise<PeerAnswer>

export type OidcPeer = {
  readonly issuer: string
  readonly client: { readonly client_id: string; readonly client_secret: string }
  /** By their subject. */
  readonly people: Map<string, Person>
  /** From now on it signs with another key, and says nothing of the one before. */
  readonly rotate: () => void
  /** A token signed with the present key, or with this one. */
  readonly sign: (claims: object, header?: object, key?: KeyObject) => string
  readonly key: () => KeyObject
  readonly publicPem: () => string
  readonly tamper: (change: Tamper | null) => void
  /** Whether the address is in the ID token, or said by userinfo alone. */
  readonly claimsIn: (place: 'id_token' | 'userinfo') => void
  /** How often each path was asked for. */
  readonly asked: Map<string, number>
  readonly stop: () => Promise<void>
}

/** A provider of OpenID Connect on a free port: `oidc-provider` behind a proxy that can spoil what it says. */
export async function startOidcPeer(redirect_uris: string[]): Promise<OidcPeer> {
  const client = { client_id: 'tasktrail', client_secret: randomUUID() }
  const people = new Map<string, Person>()
  const asked = new Map<string, number>()
  const adapter = memoryAdapter()
  let change: Tamper | null = null
  let place: 'id_token' | 'userinfo' = 'id_token'
  let key = newKey()
  let provider: Provider

  const inner = createServer((req, res) => void answer(req, res))
  const outer = createServer((req, res) => void pass(req, res).catch(() => res.destroy()))
  const issuer = `http://127.0.0.1:${await listening(outer)}`
  const innerPort = await listening(inner)

  function renew(): void {
    provider = new Provider(issuer, {
      adapter,
      clients: [{ ...client, redirect_uris, token_endpoint_auth_method: 'client_secret_post' }],
      jwks: { keys: [{ ...key.private.export({ format: 'jwk' }), use: 'sig', kid: key.kid }] },
      cookies: { keys: ['tasktrail'] },
      features: { devInteractions: { enabled: false } },
      interactions: { url: (_ctx, { uid }) => `/interaction/${uid}` },
      claims: { openid: ['sub', 'amr', 'acr'], email: ['email', 'email_verified'] },
      conformIdTokenClaims: place === 'userinfo',
      ttl: { ...TTL, IdToken: 60 },
      findAccount: (_ctx, accountId) => ({
        accountId,
        claims: () => ({ sub: accountId, ...claimsOf(people.get(accountId)) }),
      }),
      loadExistingGrant: async (ctx) => {
        const { accountId } = ctx.oidc.session ?? {}
        const grant = new provider.Grant({ clientId: client.client_id, accountId: accountId ?? '' })
        grant.addOIDCScope('openid email')
        await grant.save()
        return grant
      },
    })
  }
  renew()

  async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    if (!req.url?.startsWith('/interaction/')) return void provider.callback()(req, res)
    if (req.method === 'GET') return void res.end('<form method="post"><input name="login"></form>')
    const accountId = new URLSearchParams(await text(req)).get('login') ?? ''
    if (accountId === '') {
      return provider.interactionFinished(req, res, { error: 'access_denied' })
    }
    const { amr, acr } = people.get(accountId) ?? {}
    const login = { accountId, ...(amr && { amr }), ...(acr && { acr }) }
    return provider.interactionFinished(req, res, { login })
  }

  async function pass(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const path = (req.url ?? '').replace(/\?.*/s, '')
    asked.set(path, (asked.get(path) ?? 0) + 1)
    const { method, headers, url } = req
    const onward = request({ host: '127.0.0.1', port: innerPort, method, path: url, headers })
    req.pipe(onward)
    const [said] = (await once(onward, 'response')) as [IncomingMessage]
    const { statusCode: status = 0, headers: own } = said
    const body = await text(said)
    const changed = (await change?.(path, { status, body })) ?? { status, body }
    const type = changed.type ?? own['content-type']
    const kept = { ...own, 'content-length': Buffer.byteLength(changed.body) }
    res.writeHead(changed.status, { ...kept, ...(type && { 'content-type': type }) })
    res.end(changed.body)
  }

  return {
    ...{ issuer, client, people, asked },
    key: () => key.private,
    publicPem: () => key.public.export({ format: 'pem', type: 'spki' }).toString(),
    rotate: () => {
      key = newKey()
      renew()
    },
    sign: (claims, header = {}, own = key.private) =>
      signed({ alg: 'RS256', kid: key.kid, ...header }, claims, own),
    tamper: (next) => {
      change = next
    },
    claimsIn: (next) => {
      place = next
      renew()
    },
    stop: async () => {
      for (const server of [outer, inner]) {
        server.closeAllConnections()
        await new Promise((resolve) => server.close(resolve))
      }
    },
  }
}

/** What a browser does: follows redirects, keeps cookies, and fills in the form. The URL that it is sent back to. */
export async function signInAt(url: string, login: string): Promise<URL> {
  const { origin } = new URL(url)
  const cookies = new Map<string, string>()
  const visit = async (to: URL, form?: URLSearchParams): Promise<URL> => {
    if (to.origin !== origin) return to
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const method = form ? 'POST' : 'GET'
    const headers = { cookie }
    const init = { method, headers, redirect: 'manual', ...(form && { body: form }) } as const
    const answer = await fetch(to, init)
    for (const line of answer.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      cookies.set(name, value)
    }
    const location = answer.headers.get('location')
    const said = await answer.text()
    if (location !== null) return visit(new URL(location, to))
    if (!said.includes('<form')) throw new Error(`${to} answers ${answer.status}: ${said}`)
    return visit(to, new URLSearchParams({ login }))
  }
  return visit(new URL(url))
}

const TTL = {
  ...{ AccessToken: 600, AuthorizationCode: 60, Grant: 600, Interaction: 600, Session: 600 },
}

const claimsOf = ({ email, email_verified }: Person = {}) => ({
  ...(email !== undefined && { email }),
  ...(email_verified !== undefined && { email_verified }),
})

function newKey() {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  return { private: privateKey, public: publicKey, kid: randomUUID() }
}

export const encoded = (value: object): string =>
  Buffer.from(JSON.stringify(value)).toString('base64url')

function signed(header: object, claims: object, key: KeyObject): string {
  const input = `${encoded(header)}.${encoded(claims)}`
  return `${input}.${createSign('sha256').update(input).sign(key, 'base64url')}`
}

async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** Shared by the providers that follow each other. */
function memoryAdapter(): (name: string) => Adapter {
  const stored = new Map<string, AdapterPayload>()
  return (name) => {
    const at = (id: string) => `${name}:${id}`
    const by = (facts: Partial<AdapterPayload>) =>
      [...stored].find(
        ([id, value]) =>
          id.startsWith(`${name}:`) &&
          Object.entries(facts).every(([field, wanted]) => value[field] === wanted),
      )?.[1]
    return {
      upsert: async (id, payload) => void stored.set(at(id), payload),
      find: async (id) => stored.get(at(id)),
      findByUid: async (uid) => by({ uid }),
      findByUserCode: async (userCode) => by({ userCode }),
      consume: async (id) => {
        const found = stored.get(at(id))
        if (found) stored.set(at(id), { ...found, consumed: Math.floor(Date.now() / 1000) })
      },
      destroy: async (id) => void stored.delete(at(id)),
      revokeByGrantId: async (grantId) => {
        for (const [id, value] of stored) if (value.grantId === grantId) stored.delete(id)
      },
    }
  }
}
