import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { expect } from 'chai'
import fc from 'fast-check'
import packageJson from '../../package.json' with { type: 'json' }
import type { Schema } from '../support/hostile-values.ts'
import { nastyObject } from '../support/hostile-values.ts'
import { type System, startSystem } from '../support/system.ts'

type Media = Record<string, { schema: Schema }>
type Response = { description: string; content?: Media; headers?: Record<string, object> }
type Operation = {
  operationId: string
  summary: string
  security: Record<string, unknown>[]
  parameters: { name: string; in: string; required?: boolean; schema: Schema }[]
  requestBody?: { required: boolean; content: Media }
  responses: Record<string, Response>
}
type Document = {
  openapi: string
  info: { title: string; version: string }
  servers: { url: string }[]
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, Schema>; securitySchemes: Record<string, object> }
}

/**
 * The statuses that the contract promises for each call; 429, 500 and 503 it promises for all, and 406 for all that
 * answer with a body.
 */
const PROMISED: Readonly<Record<string, readonly number[]>> = {
  'post /auth/register': [201, 202, 400, 409, 413, 415],
  'post /auth/login': [200, 400, 401, 403, 409, 413, 415],
  'post /auth/refresh': [200, 400, 401, 403, 413, 415],
  'post /auth/step-up': [200, 400, 401, 403, 409, 413, 415, 501],
  'post /auth/login/second-factor': [200, 400, 401, 403, 409, 413, 415],
  'post /auth/login/passkey': [200, 400, 403, 413, 415, 501],
  'post /auth/passkeys/challenge': [200, 400, 413, 415, 501],
  'get /auth/factors': [200, 400, 401, 501],
  'post /auth/factors/totp': [200, 400, 401, 403, 409, 413, 415, 501],
  'post /auth/factors/totp/confirm': [201, 400, 401, 403, 409, 413, 415, 501],
  'post /auth/factors/passkey': [200, 400, 401, 403, 409, 413, 415, 501],
  'post /auth/factors/passkey/confirm': [201, 400, 401, 403, 409, 413, 415, 501],
  'post /auth/factors/recovery-codes': [201, 400, 401, 403, 413, 415, 501],
  'delete /auth/factors/{id}': [204, 400, 401, 403, 404, 501],
  'get /auth/me/export': [200, 400, 401],
  'post /internal/account-records': [200, 400, 401, 403, 413, 415],
  'post /auth/validate': [200, 400, 401, 403],
  'post /auth/validate/batch': [200, 400, 403, 413, 415],
  'post /auth/logout': [204, 400, 401, 403, 413, 415],
  'get /auth/me': [200, 400, 401],
  'post /auth/email/verification': [202, 400, 401, 403, 413, 415, 501],
  'post /auth/email/verify': [200, 400, 409, 410, 413, 415, 501],
  'post /auth/email/cancel': [204, 400, 410, 413, 415, 501],
  'post /auth/password/reset-request': [202, 400, 413, 415, 501],
  'post /auth/password/reset': [204, 400, 410, 413, 415, 501],
  'delete /auth/me': [204, 400, 401, 403, 413, 415],
  'put /auth/password': [204, 400, 401, 403, 409, 413, 415, 501],
  'post /auth/password/strength': [200, 400, 413, 415],
  'patch /auth/me': [200, 400, 401, 403, 409, 413, 415],
  'get /auth/users': [200, 400, 401, 403],
  'get /auth/users/{id}': [200, 400, 401, 403, 404],
  'get /auth/users/{id}/sessions': [200, 400, 401, 403, 404],
  'delete /auth/users/{id}/sessions': [204, 400, 401, 403, 404],
  'delete /auth/users/{id}/sessions/{session_id}': [204, 400, 401, 403, 404],
  'post /auth/users/{id}/lock': [200, 400, 401, 403, 404, 409, 413, 415],
  'post /auth/users/{id}/unlock': [200, 400, 401, 403, 404, 413, 415],
  'get /auth/sessions': [200, 400, 401],
  'delete /auth/sessions': [204, 400, 401, 403],
  'delete /auth/sessions/{id}': [204, 400, 401, 403, 404],
  'get /auth/events': [200, 400, 401],
  'put /auth/users/{id}/role': [200, 400, 401, 403, 404, 409, 413, 415],
  'get /auth/providers': [200, 400],
  'post /auth/providers/{name}/start': [200, 400, 403, 404, 413, 415],
  'post /auth/providers/{name}/callback': [200, 204, 400, 401, 403, 404, 409, 413, 415],
  'get /auth/providers/{name}/callback': [200, 204, 400, 401, 403, 404, 409],
  'get /auth/me/identities': [200, 400, 401],
  'post /auth/me/identities/{name}/start': [200, 400, 401, 403, 404, 413, 415],
  'delete /auth/me/identities/{name}': [204, 400, 401, 403, 404, 409],
  'post /auth/register/confirm': [204, 400, 403, 409, 413, 415, 501],
  'post /auth/register/code': [202, 400, 413, 415, 501],
  'post /auth/password/code': [202, 400, 413, 415, 501],
  'post /auth/password/by-code': [204, 400, 403, 413, 415, 501],
  'get /auth/health': [200, 400],
  'get /ready': [200, 400],
  'post /tasks': [201, 400, 401, 403, 409, 413, 415, 422],
  'get /tasks': [200, 400, 401],
  'get /tasks/{id}': [200, 304, 400, 401, 403, 404, 412],
  'put /tasks/{id}': [200, 400, 401, 403, 404, 409, 412, 413, 415, 422],
  'patch /tasks/{id}': [200, 400, 401, 403, 404, 409, 412, 413, 415, 422],
  'delete /tasks/{id}': [204, 400, 401, 403, 404, 409, 412, 422],
  'get /tasks/{id}/history': [200, 400, 401, 403, 404],
  'post /tasks/{id}/undo': [200, 400, 401, 403, 404, 409, 410, 412, 413, 415, 422],
  'post /tasks/{id}/redo': [200, 400, 401, 403, 404, 409, 410, 412, 413, 415, 422],
  'post /tasks/{id}/restore': [200, 400, 401, 403, 404, 409, 412, 413, 415, 422],
  'post /tasks/{id}/photos': [201, 400, 401, 403, 404, 409, 413, 415, 501],
  'get /tasks/{id}/photos': [200, 400, 401, 403, 404],
  'get /tasks/{id}/photos/{photo_id}': [302, 400, 401, 403, 404, 501],
  'get /tasks/{id}/photos/{photo_id}/link': [200, 400, 401, 403, 404, 501],
  'post /tasks/{id}/photos/{photo_id}/complete': [
    200, 400, 401, 403, 404, 409, 410, 413, 415, 422, 501,
  ],
  'delete /tasks/{id}/photos/{photo_id}': [204, 400, 401, 403, 404, 409, 412, 422],
  'post /tasks/{id}/photos/{photo_id}/restore': [
    200, 400, 401, 403, 404, 409, 410, 412, 413, 415, 422,
  ],
  'post /internal/photo-uploads': [204, 400, 403, 404, 409, 410, 413, 415, 422, 501],
  'get /tasks/changes': [200, 400, 401],
  'get /tasks/stream': [200, 400, 401],
  'get /audit/events': [200, 400, 401],
  'get /audit/facets': [200, 400, 401],
  'get /audit/security-events': [200, 400, 401, 403],
  'get /audit/accesses': [200, 400, 401, 403],
  'get /audit/security-events/{id}/proof': [200, 400, 401, 404],
  'get /audit/accesses/{id}/proof': [200, 400, 401, 404],
  'get /audit/events/{position}/proof': [200, 400, 401, 404],
  'get /log/checkpoint': [200, 400, 401, 404],
  'get /log/key': [200, 400, 401, 404],
  'get /log/tile/{path}': [200, 400, 401, 404],
  'get /log/tile/entries/{path}': [200, 400, 401, 403, 404],
  'get /log/consistency': [200, 400, 401, 404],
  'get /tasks/health': [200, 400],
  'get /health': [200, 400],
}

const ajv = new Ajv2020({ strict: true, allowUnionTypes: true, allErrors: true })
;(addFormats as unknown as (to: Ajv2020) => void)(ajv)

describe('The OpenAPI documents', () => {
  let system: System
  let documents: Readonly<Record<'auth' | 'tasks', Document>>
  let operations: [name: string, Operation, Document][]

  const read = async (base: 'auth' | 'tasks'): Promise<Document> => {
    const url = base === 'auth' ? system.urls.auth : system.urls.task
    const answer = await fetch(`${url}/${base}/openapi.json`)
    expect(answer.status).to.equal(200)
    expect(answer.headers.get('content-type')).to.match(/^application\/json/)
    return (await answer.json()) as Document
  }
  before(async () => {
    system = await startSystem()
    documents = { auth: await read('auth'), tasks: await read('tasks') }
    operations = Object.values(documents).flatMap((document) =>
      Object.entries(document.paths).flatMap(([path, methods]) =>
        Object.entries(methods).map(([method, operation]): [string, Operation, Document] => [
          `${method} ${path}`,
          operation,
          document,
        ]),
      ),
    )
  })
  after(() => system.stop())

  it('are OpenAPI 3.1 of this version, for the base path of wherever they are served', () => {
    for (const { openapi, info, servers } of Object.values(documents)) {
      expect(openapi).to.match(/^3\.1\.\d+$/)
      expect(info.title).to.be.a('string').and.not.equal('')
      expect(info.version).to.equal(packageJson.version)
      expect(servers).to.deep.equal([{ url: '/v1' }])
    }
  })

  it('are sent once to whoever keeps them', async () => {
    const url = `${system.urls.task}/tasks/openapi.json`
    const { headers } = await fetch(url)
    const etag = headers.get('etag') ?? ''
    expect(headers.get('cache-control')).to.equal('public, no-cache')
    const again = await fetch(url, { headers: { 'if-none-match': `"other", ${etag}` } })
    expect([again.status, await again.text()]).to.deep.equal([304, ''])
    expect((await fetch(url, { headers: { 'if-none-match': '"other"' } })).status).to.equal(200)
  })

  it('name every call of the contract, and no other', () => {
    const named = operations.map(([name]) => name)
    expect([...new Set(named)]).to.have.members(Object.keys(PROMISED))
  })

  it('promise each call every status that the contract names, and no other', () => {
    for (const [name, { responses }] of operations) {
      const statuses = Object.keys(responses).map(Number)
      const promised = PROMISED[name] ?? []
      const hasContent = [200, 201, 202].some((status) => promised.includes(status))
      const common = [...(hasContent ? [406] : []), 429, 500, 503]
      expect(statuses, name).to.have.members([...promised, ...common])
    }
  })

  it('give each call an id of its own, a summary and described answers', () => {
    for (const document of Object.values(documents)) {
      const ids = operations.filter(([, , of]) => of === document).map(([, one]) => one.operationId)
      expect(new Set(ids).size).to.equal(ids.length)
      for (const id of ids) expect(id).to.match(/^[a-z][A-Za-z]+$/)
    }
    for (const [name, { summary, responses }] of operations) {
      expect(summary, name).to.be.a('string').and.not.equal('')
      for (const { description } of Object.values(responses)) expect(description).to.not.equal('')
    }
  })

  it('declare every parameter once, those of the path among them', () => {
    for (const [name, { parameters }] of operations) {
      const seen = parameters.map((parameter) => `${parameter.in} ${parameter.name.toLowerCase()}`)
      expect(new Set(seen).size, name).to.equal(seen.length)
      const inPath = [...name.matchAll(/\{(\w+)\}/g)].map(([, parameter]) => parameter)
      const declared = parameters.filter((parameter) => parameter.in === 'path')
      expect(declared.map((parameter) => parameter.name)).to.deep.equal(inPath)
      for (const parameter of parameters) {
        expect(parameter.in).to.be.oneOf(['path', 'query', 'header'])
        const isRequired =
          parameter.in === 'path' || name === 'get /log/consistency' || parameter.name === 'state'
        expect(parameter.required ?? false, `${name} ${parameter.name}`).to.equal(isRequired)
        // OpenAPI ignores these three as parameters.
        expect(parameter.name).to.not.match(/^(accept|content-type|authorization)$/i)
      }
    }
  })

  it('guard every call with a scheme that is declared; only the public ones are open', () => {
    const open: string[] = []
    for (const [name, { security }, { components }] of operations) {
      if (security.length === 0) open.push(name)
      for (const scheme of security.flatMap(Object.keys)) {
        expect(components.securitySchemes, name).to.have.property(scheme)
      }
    }
    expect([...new Set(open)]).to.have.members([
      'post /auth/register',
      'post /auth/login',
      'post /auth/refresh',
      'post /auth/login/second-factor',
      'post /auth/login/passkey',
      'post /auth/passkeys/challenge',
      'post /auth/email/verify',
      'post /auth/email/cancel',
      'post /auth/password/reset-request',
      'post /auth/password/reset',
      'post /auth/password/strength',
      'post /auth/register/confirm',
      'post /auth/register/code',
      'post /auth/password/code',
      'post /auth/password/by-code',
      'get /auth/providers',
      'post /auth/providers/{name}/start',
      'post /auth/providers/{name}/callback',
      'get /auth/providers/{name}/callback',
      'get /auth/health',
      'get /tasks/health',
      'get /health',
      'get /ready',
    ])
  })

  it('refer only to what is there, and hold nothing that is not referred to', () => {
    for (const document of Object.values(documents)) {
      const text = JSON.stringify(document)
      const refs = [...text.matchAll(/"\$ref":"([^"]*)"/g)].map(([, ref]) => ref ?? '')
      expect(refs).to.not.have.length(0)
      const names = new Set(refs.map((ref) => ref.replace('#/components/schemas/', '')))
      expect([...names]).to.have.members(Object.keys(document.components.schemas))
      for (const name of names) expect(name).to.match(/^[A-Za-z0-9._-]+$/)
      expect(text).to.not.include('$defs').and.not.include('"$schema"')
    }
  })

  it('have schemas that are JSON Schema 2020-12 through and through', () => {
    for (const [name, { parameters, requestBody, responses }, { components }] of operations) {
      const media = [requestBody, ...Object.values(responses)].flatMap((part) =>
        Object.values(part?.content ?? {}),
      )
      for (const { schema } of [...parameters, ...media]) {
        const whole = JSON.stringify({ ...schema, $defs: components.schemas })
        const alone = JSON.parse(whole.replaceAll('#/components/schemas/', '#/$defs/'))
        expect(() => ajv.compile(alone), name).to.not.throw()
      }
    }
  })

  it('require a body only where a call without one, which counts as {}, is refused', () => {
    const optional = operations.flatMap(([name, { requestBody }, { components }]) => {
      if (requestBody === undefined) return []
      const schema = requestBody.content['application/json']?.schema
      const whole = JSON.stringify({ ...schema, $defs: components.schemas })
      const accepts = ajv.compile(JSON.parse(whole.replaceAll('#/components/schemas/', '#/$defs/')))
      expect(requestBody.required, name).to.equal(!accepts({}))
      return requestBody.required ? [] : [name]
    })
    expect(optional).to.include.members(['post /tasks/{id}/undo', 'post /tasks/{id}/restore'])
  })

  it('show every error as JSON and as a problem', () => {
    for (const [name, { responses }] of operations) {
      for (const [status, { content = {} }] of Object.entries(responses)) {
        if (Number(status) < 400) continue
        expect(content, `${name} ${status}`).to.deep.equal({
          'application/json': { schema: { $ref: '#/components/schemas/Error' } },
          'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } },
        })
      }
    }
  })

  it('rule out nothing that the service lets in', async () => {
    const { token } = await system.newUser()
    const { NewTask = {} } = documents.tasks.components.schemas
    const validate = ajv.compile(NewTask)
    await fc.assert(
      fc.asyncProperty(nastyObject(NewTask.properties ?? {}, 1), async (body) => {
        const { status } = await system.call('POST', '/tasks', { token, body })
        expect(status).to.be.oneOf([201, 400, 413])
        if (!validate(JSON.parse(JSON.stringify(body)))) expect(status).to.not.equal(201)
      }),
      { numRuns: 200 },
    )
  })
})

describe('The documentation page', () => {
  let system: System
  before(async () => {
    system = await startSystem()
  })
  after(() => system.stop())

  for (const base of ['/auth', '/tasks']) {
    const get = (path: string) =>
      fetch((base === '/auth' ? system.urls.auth : system.urls.task) + base + path)

    it(`of ${base} is served with all that it needs, and needs nothing from elsewhere`, async () => {
      const page = await get('/docs')
      expect(page.status).to.equal(200)
      expect(page.headers.get('content-type')).to.match(/^text\/html/)
      const policy = page.headers.get('content-security-policy')
      expect(policy)
        .to.match(/^default-src 'none'/)
        .and.not.match(/https?:|\*/)
      for (const closed of ['frame-ancestors', 'base-uri', 'form-action']) {
        expect(policy?.split('; ')).to.include(`${closed} 'none'`)
      }
      const html = await page.text()
      expect(html).to.not.match(/\/\/|@import|<style|<script>|javascript:/)
      const references = [...html.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, path]) => path ?? '')
      expect(references).to.have.length(4)
      for (const reference of references) {
        // The page stands at `docs`, under the base path or without it.
        expect(reference).to.match(/^docs\/[^/]+$/)
        const asset = await get(`/${reference}`)
        expect(asset.status, reference).to.equal(200)
        const versioned = new URL(reference, `${page.url.replace(base, `/v1${base}`)}`)
        expect((await fetch(versioned)).status, versioned.href).to.equal(200)
        expect(asset.headers.get('content-type')).to.match(/javascript|css|image\/png/)
        expect((await asset.arrayBuffer()).byteLength).to.be.above(50)
      }
    })

    it(`of ${base} is asked for by TLS alone once it was, and only then`, async () => {
      const url = (base === '/auth' ? system.urls.auth : system.urls.task) + base
      for (const path of ['/docs', '/health', '/nothing']) {
        const plain = await fetch(url + path)
        expect(plain.headers.get('strict-transport-security')).to.equal(null)
        const secure = await fetch(url + path, { headers: { 'x-forwarded-proto': 'https' } })
        expect(secure.headers.get('strict-transport-security')).to.equal('max-age=31536000')
      }
    })

    it(`of ${base} shows this service’s document and asks no validator about it`, async () => {
      const script = await (await get('/docs/start.js')).text()
      expect(script).to.include("url: 'openapi.json'").and.include('validatorUrl: null')
      expect(script).to.not.include('//')
      const css = await (await get('/docs/swagger-ui.css')).text()
      expect(css).to.not.match(/@import|url\(\s*["']?(?!data:|["']?data:)/)
    })

    it(`of ${base} gives away no other file`, async () => {
      for (const path of ['/docs/package.json', '/docs/swagger-ui.js', '/docs/..%2fpackage.json']) {
        expect((await get(path)).status, path).to.be.oneOf([400, 401, 404])
      }
    })
  }
})
