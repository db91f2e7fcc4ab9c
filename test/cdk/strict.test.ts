import { execFileSync, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { CfnGuardValidator } from '@cdklabs/cdk-validator-cfnguard'
import { App, type PolicyValidationPluginReport, Stack } from 'aws-cdk-lib'
import { Bucket } from 'aws-cdk-lib/aws-s3'
import { expect } from 'chai'
import { dev } from '../../cdk/config/dev.ts'
import { parseEnvironment } from '../../cdk/config/parse.ts'
import type { Environment } from '../../cdk/config/schema.ts'
import { Tasktrail } from '../../cdk/stage.ts'
import { ACKNOWLEDGEMENTS, resolveId } from '../../cdk/validation/acknowledgements.ts'
import { GuardRules } from '../../cdk/validation/guard.ts'
import { addValidations } from '../../cdk/validation/plugins.ts'
import { VARIANTS, variation } from './support/environments.ts'
import { CONTEXT } from './support/synthesis.ts'

const { fargate, ec2, aurora } = VARIANTS
const restoreFrom = { snapshot: 'before-the-loss', instance: 'task-mgmt-db-2' }
/**
 * Each way to have it somewhere, also a canary, a replica, an edge, databases that were restored, a VPC of ours and
 * photos under our key.
 */
const ENVIRONMENTS: Readonly<Record<string, Environment>> = {
  fargate: {
    ...fargate,
    canary: { url: 'https://tasks.example.com' },
    database: { ...fargate.database, readReplica: true } as Environment['database'],
  },
  ec2: {
    ...ec2,
    database: { ...ec2.database, restoreFrom },
    photos: { bucketPrefix: 'tasktrail', encryption: 'kms' },
  },
  ownVpc: { ...fargate, vpc: { by: 'own', cidr: '10.0.0.0/16' } },
  dev: parseEnvironment({ ...dev, database: { ...dev.database, readReplica: true } }),
  edge: variation({
    edge: { domain: 'api.example.com' },
    corsOrigins: ['https://app.example.com'],
  }),
  cognito: variation({
    identity: {
      by: 'cognito',
      sender: 'tasks@example.com',
      hostedUi: { domainPrefix: 'tasktrail', callbackUrls: ['https://tasks.example.com/callback'] },
    },
  }),
  edgeOfDev: parseEnvironment({ ...dev, edge: {} }),
  aurora: { ...aurora, photos: undefined, redis: undefined },
  auroraOfDev: parseEnvironment({
    ...dev,
    database: { ...aurora.database, readers: 0, restoreFrom },
  }),
}
const LIBRARY = 'CloudFormation Validate'
/** Half a minute on an idle machine. On a busy one it takes as long as it takes. */
const PATIENCE = 600_000

type Violation = {
  readonly ruleName: string
  readonly violatingConstructs: readonly { readonly constructPath: string }[]
}
type Report = {
  readonly pluginReports: readonly {
    readonly pluginName: string
    readonly conclusion: string
    readonly violations: readonly Violation[]
    readonly suppressedViolations?: readonly (Violation & {
      readonly acknowledgedId: string
      readonly acknowledgedAt: string
    })[]
  }[]
}

/** Synthesises as `npm run synth` does; the error, if the rules find something, and the report. */
function strictly(build: (app: App) => void): { error: string; outdir: string; report: Report } {
  const outdir = mkdtempSync(join(tmpdir(), 'tasktrail-cdk-'))
  const app = new App({ outdir, context: { ...CONTEXT, [FAIL_BY_EXCEPTION]: 'inmemory' } })
  addValidations(app)
  build(app)
  let error = ''
  try {
    app.synth()
  } catch (thrown) {
    error = String(thrown)
  }
  const report: Report = JSON.parse(readFileSync(join(outdir, 'validation-report.json'), 'utf8'))
  return { error, outdir, report }
}

const FAIL_BY_EXCEPTION = '@aws-cdk/core:appMode'

describe('The strict synthesis', () => {
  let error: string
  let outdir: string
  let report: Report

  before(function () {
    this.timeout(PATIENCE)
    const began = performance.now()
    const result = strictly((app) => {
      for (const [name, environment] of Object.entries(ENVIRONMENTS)) {
        new Tasktrail(app, name, environment)
      }
    })
    ;({ error, outdir, report } = result)
    const seconds = Math.round((performance.now() - began) / 1000)
    console.log(`    ${Object.keys(ENVIRONMENTS).length} environments in ${seconds} s`)
  })
  after(() => rmSync(outdir, { recursive: true, force: true }))

  it('of Fargate and EC2 leaves no finding of any rule', () => {
    expect(error).to.equal('')
    expect(report.pluginReports.map(({ pluginName }) => pluginName)).to.have.members([
      LIBRARY,
      'AwsSolutions',
      'NIST.800.53.R5',
      'cdk-validator-cfnguard',
    ])
    for (const { pluginName, conclusion, violations } of report.pluginReports) {
      expect(conclusion, pluginName).to.equal('success')
      expect(violations, pluginName).to.deep.equal([])
    }
  })

  it('has acknowledgements with a reason each, and each still matches a finding', () => {
    const matched = new Set(
      report.pluginReports.flatMap(({ suppressedViolations = [] }) =>
        suppressedViolations.map(({ acknowledgedId, acknowledgedAt }) => {
          return `${acknowledgedId} at ${acknowledgedAt}`
        }),
      ),
    )
    for (const { at, rules, because, when } of ACKNOWLEDGEMENTS) {
      expect(because).to.match(/^[A-Z].{20,}\.$/s)
      for (const rule of rules) {
        const places = Object.entries(ENVIRONMENTS)
          .filter(([, environment]) => when?.(environment) !== false)
          .map(([name, environment]) => {
            const path = [name, at].filter((part) => part !== '').join('/')
            return `${resolveId(rule, environment)} at ${path}`
          })
        expect(
          places.some((place) => matched.has(place)),
          `${rule} at ${at}`,
        ).to.equal(true)
      }
    }
  })

  it('bundles the handlers so that Lambda can run them', async () => {
    const answers: Record<string, object> = {
      RunTask: { tasks: [{ taskArn: 'arn' }] },
      DescribeTasks: {
        tasks: [{ lastStatus: 'STOPPED', containers: [{ name: 'm', exitCode: 0 }] }],
      },
      DescribeServices: { services: [{ status: 'ACTIVE', desiredCount: 3 }] },
      GetSecretValue: { SecretString: SECRET, VersionId: '0c0c' },
    }
    const sent: string[] = []
    const sendToAws = async ({ command }: { command: string }) => {
      sent.push(command)
      return answers[command]
    }
    Object.assign(globalThis, { sendToAws })
    const commands = Object.keys(answers).map(
      (name) => `exports.${name}Command = class { command = '${name}' }`,
    )
    const clients = ['ECS', 'SecretsManager'].map(
      (name) => `exports.${name}Client = class { send = globalThis.sendToAws }`,
    )
    const bundles = readdirSync(outdir, { recursive: true, encoding: 'utf8' })
      .filter((file) => /^asset\.[0-9a-f]+\/index\.js$/.test(file))
      // One of the library closes the default group of a VPC of ours.
      .filter((file) => !readFileSync(join(outdir, file), 'utf8').includes('client-ec2'))
      .map((file) => load(join(outdir, file), [...clients, ...commands].join('\n')))

    const ResourceProperties = { container: 'm', subnets: [], version: '1.0.0', least: '2' }
    const event = { RequestType: 'Create', RequestId: 'id', ResourceProperties }
    const ends = bundles.map(async ({ onEvent, isComplete, onRequest, ...other }) => {
      if (onRequest !== undefined) return onRequest(MADE_UP)
      const { onSchedule, onObjectCreated } = other
      if (onSchedule !== undefined) return firstBody('API_URL', () => onSchedule({}))
      if (onObjectCreated !== undefined) {
        const detail = { object: { key: 'users/17/photos/0193/original', 'version-id': 'v1' } }
        return firstBody('REPORT_URL', () => onObjectCreated({ detail }))
      }
      const answer = await onEvent(event)
      return isComplete === undefined ? answer : isComplete({ ...event, ...answer })
    })
    expect(await Promise.all(ends)).to.have.deep.members([
      { IsComplete: true },
      { PhysicalResourceId: 'undefined-desired-count', Data: { desiredCount: 3 } },
      { username: 'canary-0c0c', password: SECRET },
      { key: 'users/17/photos/0193/original', version: 'v1' },
      REFUSED,
    ])
    expect([...new Set(sent)]).to.have.members(Object.keys(answers))
  })
})

const SECRET = JSON.stringify({ secret: 'k'.repeat(64) })

/** What API Gateway asks the authorizer about a token that nobody signed, and what it says. */
const MADE_UP = {
  methodArn: 'arn',
  httpMethod: 'GET',
  path: '/tasks',
  headers: { Authorization: 'Bearer a.b.c' },
}
const REFUSED = {
  principalId: 'caller',
  policyDocument: {
    Version: '2012-10-17',
    Statement: [{ Action: 'execute-api:Invoke', Effect: 'Deny', Resource: 'arn' }],
  },
  context: { code: 'token_invalid', message: 'Invalid token' },
}

/** What a handler says first to an API where all is well, whose address it finds in a variable. */
async function firstBody(variable: string, handle: () => Promise<unknown>): Promise<object> {
  const bodies: string[] = []
  const server = createServer(async (req, res) => {
    bodies.push(await text(req))
    res.writeHead(req.url === '/v1/auth/logout' ? 204 : 200)
    res.end(JSON.stringify({ token: 'token', tasks: [] }))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  process.env[variable] = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  try {
    await handle()
  } finally {
    delete process.env[variable]
    server.close()
  }
  return JSON.parse(bodies[0] ?? '')
}

type Handler = (event: object) => Promise<object>
type Bundle = {
  onEvent: Handler
  isComplete?: Handler
  onSchedule?: Handler
  onObjectCreated?: Handler
  onRequest?: Handler
}

/** Loads a bundle as Lambda does, with this in the place of the SDK that Lambda brings. */
function load(file: string, sdk: string): Bundle {
  const require = createRequire(import.meta.url)
  const run = (code: string, requireFrom: (name: string) => unknown) => {
    const module = { exports: {} as Bundle }
    new Function('module', 'exports', 'require', code)(module, module.exports, requireFrom)
    return module.exports
  }
  return run(readFileSync(file, 'utf8'), (name) =>
    name.startsWith('@aws-sdk/') ? run(sdk, require) : require(name),
  )
}

describe('The rules', () => {
  it('of Control Tower find the same when each is held only against what it is about', () => {
    const outdir = mkdtempSync(join(tmpdir(), 'tasktrail-guard-'))
    const templatePath = join(outdir, 'bad.template.json')
    const Resources = Object.fromEntries(
      ['S3::Bucket', 'RDS::DBInstance', 'ECS::TaskDefinition', 'SNS::Topic', 'EC2::Route'].map(
        (type) => [type.replace('::', ''), { Type: `AWS::${type}`, Properties: {} }],
      ),
    )
    writeFileSync(templatePath, JSON.stringify({ Resources }))
    const namesIn = ({ violations }: PolicyValidationPluginReport) =>
      violations.map(({ ruleName }) => ruleName).sort()
    const appConstruct = new App()
    const templatePaths = [templatePath]
    const found = namesIn(
      new GuardRules().validate({
        stackTemplates: [
          { accountId: undefined, region: undefined, stackConstructPath: 'Bad', templatePath },
        ],
        templatePaths,
        appConstruct,
      }),
    )
    expect(found).to.have.length.above(5)
    expect(found).to.deep.equal(
      namesIn(new CfnGuardValidator().validate({ templatePaths, appConstruct })),
    )
    rmSync(outdir, { recursive: true, force: true })
  })

  it('find what is wrong: each set of them, and synthesis fails', () => {
    const { error, outdir, report } = strictly((app) => {
      const stack = new Stack(app, 'Bad', { env: { account: '333333333333', region: 'us-east-1' } })
      const bucket = new Bucket(stack, 'Bucket')
      const { defaultChild } = bucket.node
      ;(defaultChild as never as Overridable).addPropertyOverride('VersioningConfiguration', 'yes')
    })
    rmSync(outdir, { recursive: true, force: true })
    expect(error).to.not.equal('')
    const found = report.pluginReports.map(({ pluginName, violations }) => {
      return [pluginName, violations.length > 0]
    })
    expect(Object.fromEntries(found)).to.deep.equal({
      [LIBRARY]: true,
      AwsSolutions: true,
      'NIST.800.53.R5': true,
      'cdk-validator-cfnguard': true,
    })
  })
})

type Overridable = { addPropertyOverride(path: string, value: unknown): void }

/** What starts a program on a network without any interface, where this machine allows that. */
const OFFLINE = ['unshare', '--user', '--map-current-user', '--net']

describe('cdk synth', () => {
  it('needs neither network nor credentials, with every rule', function () {
    this.timeout(PATIENCE)
    const home = mkdtempSync(join(tmpdir(), 'tasktrail-home-'))
    const cdk = createRequire(import.meta.url).resolve('aws-cdk/bin/cdk')
    const synth = [process.execPath, cdk, 'synth', '--quiet', '--output', join(home, 'out')]
    const [unshare = '', ...options] = OFFLINE
    const { status } = spawnSync(unshare, [...options, 'true'])
    const [command = '', ...args] = status === 0 ? [...OFFLINE, ...synth] : synth
    // Elsewhere Node's own requests end at a proxy that is not there.
    const nowhere = 'http://127.0.0.1:9'
    const proxies = { NODE_USE_ENV_PROXY: '1', HTTP_PROXY: nowhere, HTTPS_PROXY: nowhere }
    execFileSync(command, args, {
      stdio: 'pipe',
      env: { PATH: process.env.PATH, HOME: home, ...proxies },
    })
    const assemblies = readdirSync(join(home, 'out')).filter((name) => name.startsWith('assembly-'))
    expect(assemblies).to.deep.equal(['assembly-dev', 'assembly-prod', 'assembly-staging'])
    rmSync(home, { recursive: true, force: true })
  })
})
