import { globSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { authServiceConfig, taskServiceConfig, workerConfig } from '../../src/config.ts'
import { PATH_RULES } from '../../src/http/routing.ts'
import { freePorts } from '../../src/infra/local/free-ports.ts'
import type { Env } from '../../src/settings.ts'
import { killAll, type Started, startProcess } from '../support/processes.ts'
import {
  type Fence,
  fences,
  literals,
  marked,
  markedJson,
  read,
  rows,
  section,
} from './markdown.ts'

const guide = read('docs/implementation-guide.md')
const blocks = fences(guide)

describe('The calls of the implementation guide', () => {
  const calls = blocks.filter(({ mark }) => mark === 'run')
  let directory: string
  let system: Started
  let printed: readonly string[] = []
  const pids: number[] = []

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'tasktrail-guide-'))
    const [port] = await freePorts(1)
    const env = { DATA_DIR: directory, PORT: String(port), BCRYPT_COST: '10' }
    system = startProcess('node', ['bin/node.cjs', 'src/local.ts'], { env })
    pids.push(system.pid)
    await system.line(/^Tasktrail is ready/, 100_000)
    printed = await runAll(calls, `http://127.0.0.1:${port}/v1`)
  })
  after(async () => {
    system.child.kill('SIGTERM')
    await system.ended.finally(() => killAll(pids))
    await rm(directory, { recursive: true, force: true })
  })

  for (const [at, { line, code }] of calls.entries()) {
    it(`print what the guide says, line ${line}: ${code.split('\n')[0]}`, () => {
      const next = blocks.find((block) => block.line > line)
      if (next?.mark !== 'prints') return expect(printed[at]).not.to.equal('')
      if (next.language === 'json') {
        const answer: unknown = JSON.parse(printed[at] ?? '')
        return expect(likened(answer, JSON.parse(next.code))).to.deep.equal(JSON.parse(next.code))
      }
      return expect(printed[at]?.trim()).to.match(asPattern(next.code))
    })
  }

  /** The console shows requests in short; the services' own lines are in files. */
  const logLines = (): readonly string[] =>
    ['auth-service', 'task-service'].flatMap((name) =>
      read(join(directory, 'logs', `${name}.log`)).split('\n'),
    )

  it('leave the two lines in the log that the guide promises', () => {
    const lines = logLines()
      .filter((line) => line.includes('"request_id":"guide-create"'))
      .map((line) => JSON.parse(line))
      .map(({ service, method, path, status, msg }) => [service, method, path, status, msg])
    expect(lines).to.deep.include.members([
      ['auth-service', 'POST', '/auth/validate', 200, 'request'],
      ['task-service', 'POST', '/v1/tasks', 201, 'request'],
    ])
  })

  it('leave lines with the fields that the metric filters read', () => {
    const shown = Object.keys(
      JSON.parse(fences(section(guide, '### 7.2 Metrics from the access log'))[0]?.code ?? ''),
    )
    const line = logLines().find((text) => /"path":"\/v1\/tasks".*"status":201/.test(text)) ?? '{}'
    expect(JSON.parse(line)).to.include.all.keys(...shown)
    const reads = [...marked(guide, 'metric filters').matchAll(/\$\.(\w+)/g)].map(
      ([, name = '']) => name,
    )
    expect(shown).to.include.members(reads)
  })
})

/** Runs the blocks one after the other in one shell; what each printed. */
async function runAll(calls: readonly Fence[], api: string): Promise<readonly string[]> {
  const mark = (at: number) => `----- block ${at} -----`
  const script = calls.map(({ code }, at) => `${code}\nprintf '\\n%s\\n' '${mark(at)}'`).join('\n')
  const run = startProcess('bash', ['-uc', script], { env: { API: api } })
  expect(await run.ended).to.equal('code 0')
  expect(run.err).to.deep.equal([])
  let rest = run.out.join('\n')
  return calls.map((_call, at) => {
    const [before = '', after = ''] = rest.split(`${mark(at)}`)
    rest = after
    return before.trim()
  })
}

/** `actual` with the sample's `…` wherever the sample leaves a value open. */
function likened(actual: unknown, sample: unknown): unknown {
  if (sample === '…') return actual === undefined ? undefined : '…'
  if (Array.isArray(actual) && Array.isArray(sample)) {
    return actual.map((item, at) => likened(item, sample[at]))
  }
  if (typeof actual !== 'object' || actual === null || typeof sample !== 'object') return actual
  const open = (sample ?? {}) as Record<string, unknown>
  return Object.fromEntries(
    Object.entries(actual).map(([key, value]) => [key, likened(value, open[key])]),
  )
}

/** Text in which `…` stands for anything on its line. */
const asPattern = (text: string): RegExp =>
  new RegExp(`^${text.trim().split('…').map(RegExp.escape).join('.+')}$`)

describe('The settings in the implementation guide', () => {
  const table = rows(marked(guide, 'settings')).flatMap(([names = '', ...cells]) =>
    literals(names).map((name) => ({ name, cells })),
  )

  it('are all that src/config.ts and those beside it know', () => {
    const known = globSync('src/*config.ts').flatMap((path) => [
      ...read(path).matchAll(/(?<=[{\s])([A-Z][A-Z0-9_]+):/g),
    ])
    const named = table.map(({ name }) => name)
    const left = known
      .map(([, name = '']) => name)
      // The database is given in parts, and nothing is read from a replica.
      .filter((name) => name !== 'DATABASE_URL' && !name.startsWith('READ_'))
      .filter((name) => !named.includes(name))
    expect(left).to.deep.equal([])
  })

  const parsers = {
    'auth-service': authServiceConfig,
    'task-service': taskServiceConfig,
    worker: workerConfig,
    migration: undefined,
  } as const
  for (const [column, [family, parse]] of Object.entries(parsers).entries()) {
    const definition = markedJson(guide, `task definition of ${family}`)
    const [container] = definition.containerDefinitions
    const plain: Record<string, string> = Object.fromEntries(
      container.environment.map(({ name, value }: Record<string, string>) => [name, value]),
    )
    const secret: Record<string, string> = Object.fromEntries(
      container.secrets.map(({ name, valueFrom }: Record<string, string>) => [name, valueFrom]),
    )

    it(`of ${family} stand in its task definition as in the table`, () => {
      const given = [...Object.keys(plain), ...Object.keys(secret)]
      const set = table.filter(({ cells }) => !/^(–|default)$/.test(cells[column] ?? ''))
      expect(given).to.have.members(set.map(({ name }) => name))
      for (const { name, cells } of set) {
        const [cell = ''] = cells.slice(column)
        if (cell === 'secret') expect(secret).to.have.property(name)
        else if (cell.startsWith('`')) expect(plain[name]).to.equal(literals(cell)[0])
        else expect(plain[name]).to.include('rds.amazonaws.com')
      }
    })

    if (parse === undefined) continue
    it(`of ${family} are enough for it to start`, () => {
      const env: Env = { ...plain, ...Object.fromEntries(Object.keys(secret).map(long)) }
      expect(() => parse(env)).not.to.throw()
      for (const name of Object.keys(env).filter((name) => !OPTIONAL.has(name))) {
        expect(() => parse({ ...env, [name]: undefined }), name).to.throw(`${name} is missing`)
      }
    })
  }
})

const long = (name: string) => [name, 'x'.repeat(64)]
/** Those that have a default, or that Node reads and we do not. */
const OPTIONAL = new Set([
  'LOG_ORIGIN',
  'NODE_ENV',
  'NODE_EXTRA_CA_CERTS',
  'PORT',
  'DB_PORT',
  'DB_SSLMODE',
  'DB_POOL_MAX',
  'JWT_EXPIRATION',
  'JWT_SECRET_PREVIOUS',
  'INTERNAL_API_KEY_PREVIOUS',
  'LOG_KEY_PREVIOUS',
  'TEXT_KEY_PREVIOUS',
  'DRAIN_SECONDS',
])

describe('The implementation guide', () => {
  it('has the path rules of the code, in their order', () => {
    const ours = rows(marked(guide, 'listener rules')).map(([priority, paths = '', action]) => [
      Number(priority),
      literals(paths),
      action,
    ])
    const actions = {
      refused: 'fixed response 403',
      'auth-service': 'forward to `auth-service-tg`',
      'task-service': 'forward to `task-service-tg`',
      'not-found': '',
    }
    expect(ours).to.deep.equal(
      PATH_RULES.map(({ priority, patterns, target }) => [
        priority,
        [...patterns],
        actions[target],
      ]),
    )
  })

  it('lets each family read and decrypt exactly what its task definition injects', () => {
    for (const family of ['auth-service', 'task-service', 'worker', 'migration']) {
      const { Statement } = markedJson(guide, `policy of ${family}`)
      const statement = (sid: string) => Statement.find(({ Sid }: { Sid: string }) => Sid === sid)
      const [container] = markedJson(guide, `task definition of ${family}`).containerDefinitions
      const injected = container.secrets.map(({ valueFrom }: { valueFrom: string }) =>
        valueFrom.replace(/:\w+::$/, ''),
      )
      const readable = statement('ReadOwnSecrets').Resource
      expect(readable).to.have.members([...new Set(injected)])
      const { Condition, Action, Resource } = statement('DecryptOwnSecrets')
      expect(Condition.StringEquals['kms:EncryptionContext:SecretARN']).to.deep.equal(readable)
      expect([Action, Resource]).to.deep.equal(['kms:Decrypt', expectedKey])
      const group = container.logConfiguration.options['awslogs-group']
      expect(statement('WriteOwnLog').Resource).to.match(RegExp(`:log-group:${group}:\\*$`))
      expect(container.image).to.match(
        RegExp(`/${statement('PullOwnImage').Resource.split('/')[1]}:\\d`),
      )
    }
  })

  it('adds up its costs', () => {
    const table = rows(section(guide, '## Cost'))
    const items = table.map(([, arithmetic = '', sum = '']) => ({ arithmetic, sum }))
    for (const { arithmetic, sum } of items) {
      const [expression = ''] = arithmetic.replaceAll(' x ', ' * ').split(',')
      if (!/^[\d.\s*+()]+$/.test(expression)) continue
      expect(evaluated(expression), arithmetic).to.be.closeTo(Number(sum), 0.005)
    }
    const all = items.map(({ sum }) => Number(sum)).filter(Number.isFinite)
    const total = all.reduce((sum, dollars) => sum + dollars, 0)
    const [, , written = ''] = table.at(-1) ?? []
    const [without, withNat] = [...written.matchAll(/\d+/g)].map(Number)
    expect(withNat).to.be.closeTo(total, 0.5)
    expect(without).to.be.closeTo(total - 36.5, 0.5)
  })
})

const expectedKey = 'arn:aws:kms:us-east-1:123456789012:key/11111111-2222-4333-8444-555555555555'

/** Numbers, parentheses, `*` and `+`. */
function evaluated(expression: string): number {
  const tokens = expression.match(/[\d.]+|[()*+]/g) ?? []
  let at = 0
  const factor = (): number => {
    const token = tokens[at++]
    if (token !== '(') return Number(token)
    const inner = sum()
    at++
    return inner
  }
  const product = (): number => {
    let value = factor()
    while (tokens[at] === '*') {
      at++
      value *= factor()
    }
    return value
  }
  const sum = (): number => {
    let value = product()
    while (tokens[at] === '+') {
      at++
      value += product()
    }
    return value
  }
  return sum()
}
