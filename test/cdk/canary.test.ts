import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect } from 'chai'
import { visit } from '../../cdk/handlers/visit.ts'
import { type Gateway, startGateway } from '../../src/http/gateway.ts'
import { freePorts } from '../../src/infra/local/free-ports.ts'
import { type System, startSystem } from '../support/system.ts'
import { variation } from './support/environments.ts'
import { follow, referencesOf, within } from './support/references.ts'
import { ofType, only, properties, type Synthesis, synthesise } from './support/synthesis.ts'

const account = () => ({ username: `canary-${randomUUID()}`, password: `pw-${randomUUID()}` })

const failure = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'nothing failed',
    (error: Error) => error.message,
  )

describe('A visit of the canary', () => {
  let system: System
  let gateway: Gateway
  let url: string

  before(async () => {
    system = await startSystem()
    const upstream = (address: string) => ({
      host: '127.0.0.1',
      port: Number(new URL(address).port),
    })
    const upstreams = {
      'auth-service': upstream(system.urls.auth),
      'task-service': upstream(system.urls.task),
    }
    const [port = 0] = await freePorts(1)
    gateway = await startGateway({ host: '127.0.0.1', port, upstreams })
    url = `http://127.0.0.1:${port}`
  })
  after(async () => {
    gateway.destroy()
    await gateway.close()
    await system.stop()
  })

  it('makes its account the first time, and uses it from then on', async () => {
    const own = account()
    await visit(url, own)
    await visit(url, own)
    const { body } = await system.call('POST', '/auth/login', { body: own })
    expect(body.user.username).to.equal(own.username)
  })

  it('leaves no session behind', async () => {
    const own = account()
    await visit(url, own)
    const { token } = (await system.call('POST', '/auth/login', { body: own })).body
    const { sessions } = (await system.call('GET', '/auth/sessions', { token })).body
    expect(sessions.map(({ current }: { current: boolean }) => current)).to.deep.equal([true])
  })

  it('fails when the account has another password', async () => {
    const own = account()
    await visit(url, own)
    const wrong = { ...own, password: `pw-${randomUUID()}` }
    expect(await failure(visit(url, wrong))).to.equal(
      'POST /auth/login answered 401 invalid_credentials',
    )
  })
})

const TOKEN = 'the.token'
type Given = { readonly status: number; readonly body?: unknown; readonly after?: number }

/** As all is well: the account is there and has no tasks. */
const WELL: Readonly<Record<string, Given>> = {
  'POST /auth/login': { status: 200, body: { token: TOKEN } },
  'POST /auth/register': { status: 409, body: { code: 'username_taken' } },
  'GET /tasks?limit=1': { status: 200, body: { tasks: [], next_cursor: null } },
  'POST /auth/logout': { status: 204 },
}

describe('A visit that fails says why in one line', () => {
  const own = account()
  let server: Server
  let url: string
  let answers: Readonly<Record<string, Given>>
  let asked: string[]

  before(async () => {
    server = createServer(async ({ method, url: path, headers }, res) => {
      const step = `${method} ${path?.replace(/^\/v1/, '')}`
      asked.push(`${step} ${headers.authorization ?? ''}`.trim())
      const {
        status,
        body,
        after = 0,
      } = (path?.startsWith('/v1/') && answers[step]) || { status: 404 }
      await new Promise((resolve) => setTimeout(resolve, after))
      res.writeHead(status, status === 302 ? { location: '/elsewhere' } : {})
      res.end(typeof body === 'object' ? JSON.stringify(body) : body)
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  })
  after(() => server.close())

  const visiting = (change: Readonly<Record<string, Given>>, patienceMs = 2_000) => {
    answers = { ...WELL, ...change }
    asked = []
    return failure(visit(url, own, patienceMs))
  }

  it('and otherwise goes from the login to the logout with its token', async () => {
    expect(await visiting({})).to.equal('nothing failed')
    expect(asked).to.deep.equal([
      'POST /auth/login',
      `GET /tasks?limit=1 Bearer ${TOKEN}`,
      `POST /auth/logout Bearer ${TOKEN}`,
    ])
  })

  const FAILURES: readonly (readonly [what: string, step: string, given: Given, line: string])[] = [
    [
      'a login that is refused',
      'POST /auth/login',
      { status: 401, body: { code: 'invalid_credentials' } },
      'POST /auth/login answered 401 invalid_credentials',
    ],
    [
      'a login that is closed for a while',
      'POST /auth/login',
      { status: 429, body: { code: 'too_many_attempts' } },
      'POST /auth/login answered 429 too_many_attempts',
    ],
    [
      'a login without a token',
      'POST /auth/login',
      { status: 200, body: { token: 7 } },
      'POST /auth/login answered without a token',
    ],
    [
      'a redirect',
      'POST /auth/login',
      { status: 302, body: 'Moved' },
      'POST /auth/login answered 302',
    ],
    [
      'a list that ends in an error',
      'GET /tasks?limit=1',
      { status: 500, body: { code: 'internal_error' } },
      'GET /tasks?limit=1 answered 500 internal_error',
    ],
    [
      "a page of the load balancer's",
      'GET /tasks?limit=1',
      { status: 503, body: '<html>503 Service Temporarily Unavailable</html>' },
      'GET /tasks?limit=1 answered 503',
    ],
    [
      'a list of another shape',
      'GET /tasks?limit=1',
      { status: 200, body: { items: [] } },
      'GET /tasks?limit=1 answered without a list of tasks',
    ],
    [
      'a list that is no JSON',
      'GET /tasks?limit=1',
      { status: 200, body: 'null' },
      'GET /tasks?limit=1 answered without a list of tasks',
    ],
    [
      'a session that does not end',
      'POST /auth/logout',
      { status: 200 },
      'POST /auth/logout answered 200',
    ],
    [
      'an answer that repeats what is secret',
      'POST /auth/logout',
      { status: 400, body: { code: `${own.password} ${TOKEN}` } },
      'POST /auth/logout answered 400',
    ],
  ]
  for (const [what, step, given, line] of FAILURES) {
    it(`of ${what}`, async () => {
      expect(await visiting({ [step]: given })).to.equal(line)
    })
  }

  it('of a missing answer', async () => {
    const late = { 'GET /tasks?limit=1': { status: 200, body: { tasks: [] }, after: 500 } }
    expect(await visiting(late, 100)).to.equal('GET /tasks?limit=1: no answer within 100 ms')
  })

  it('of a server that does not listen', async () => {
    const [port = 0] = await freePorts(1)
    expect(await failure(visit(`http://127.0.0.1:${port}`, own))).to.equal(
      'POST /auth/login: ECONNREFUSED',
    )
  })
})

describe('The canary in the template', () => {
  const url = 'https://tasks.example.com'
  let synthesis: Synthesis
  let services: Synthesis['templates']['services']
  let visitor: ReturnType<typeof only>

  before(() => {
    synthesis = synthesise(variation({ canary: { url } }))
    services = synthesis.templates.services
    visitor = only(services, 'AWS::Lambda::Function', { FunctionName: 'task-mgmt-canary' })
  })

  it('is there only where the environment asks for one', () => {
    const without = synthesise(variation({})).templates
    expect(JSON.stringify([without.services, without.observability.Resources])).to.not.match(
      /CanaryVisitor|Canary: visits/,
    )
  })

  it('comes every five minutes, once, to the address of the users', () => {
    const { Targets } = only(services, 'AWS::Events::Rule', {
      ScheduleExpression: 'rate(5 minutes)',
    })
    const target = within(synthesis, 'services', Targets[0].Arn)
    expect(target?.resource.Properties).to.equal(visitor)
    const { MaximumRetryAttempts } = only(services, 'AWS::Lambda::EventInvokeConfig')
    expect(MaximumRetryAttempts).to.equal(0)
    expect(visitor.Environment.Variables.API_URL).to.equal(url)
    expect(visitor).to.not.have.property('VpcConfig')
  })

  it('has a password of its own under our key, which no container is given', () => {
    const [[id, secret] = [], ...others] = ofType(services, 'AWS::SecretsManager::Secret')
    expect(others).to.deep.equal([])
    expect(visitor.Environment.Variables.PASSWORD_ARN).to.deep.equal({ Ref: id })
    const { KmsKeyId, GenerateSecretString, Name } = secret?.Properties ?? {}
    expect(GenerateSecretString).to.deep.equal({ ExcludePunctuation: true, PasswordLength: 64 })
    expect(follow(synthesis, 'services', KmsKeyId)?.resource.Type).to.equal('AWS::KMS::Key')
    expect([Name, secret?.DeletionPolicy]).to.deep.equal([undefined, 'Delete'])
    const tasks = properties(services, 'AWS::ECS::TaskDefinition')
    expect(JSON.stringify(tasks)).to.not.include(id)
  })

  it('writes to a log that is there before it and kept as all are', () => {
    const { LogGroup } = visitor.LoggingConfig
    const logs = only(synthesis.templates.observability, 'AWS::Logs::LogGroup', {
      LogGroupName: LogGroup,
    })
    expect(logs.RetentionInDays).to.equal(90)
  })

  it('does not run before the services exist', () => {
    const [[, schedule] = []] = ofType(services, 'AWS::Events::Rule').filter(([id]) =>
      id.startsWith('CanarySchedule'),
    )
    const waitsFor = schedule && referencesOf(schedule)
    expect(waitsFor).to.include.members(ofType(services, 'AWS::ECS::Service').map(([one]) => one))
  })

  it('rings after two visits that failed, and when none is made', () => {
    const alarm = only(services, 'AWS::CloudWatch::Alarm', {
      AlarmName: 'task-mgmt-canary-failing',
    })
    expect(alarm).to.deep.include({
      Namespace: 'AWS/Lambda',
      MetricName: 'Errors',
      Dimensions: [{ Name: 'FunctionName', Value: 'task-mgmt-canary' }],
      Statistic: 'Sum',
      Period: 300,
      EvaluationPeriods: 2,
      ComparisonOperator: 'GreaterThanThreshold',
      Threshold: 0,
      TreatMissingData: 'breaching',
    })
  })

  it('is on the dashboard', () => {
    const { observability } = synthesis.templates
    const { DashboardBody } = only(observability, 'AWS::CloudWatch::Dashboard')
    const body = JSON.stringify(DashboardBody)
    for (const title of ['Canary: visits, failures', 'Canary: duration, ms']) {
      expect(body).to.include(title)
    }
    expect(body).to.include('task-mgmt-canary')
  })
})
