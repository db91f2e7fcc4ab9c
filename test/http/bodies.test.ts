import { once } from 'node:events'
import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { expect } from 'chai'
import fc from 'fast-check'
import { until } from '../support/processes.ts'
import { type System, startSystem } from '../support/system.ts'

const LIMIT = 128 * 1024
const JSON_TYPE = { 'content-type': 'application/json' }

describe('A request body', () => {
  let system: System
  let token: string
  let routes: readonly (readonly [method: string, path: string, url: string])[]

  before(async () => {
    system = await startSystem()
    token = (await system.newUser()).token
    const body = { title: 'A task' }
    const { task } = (await system.call('POST', '/tasks', { token, body })).body
    const { auth, task: tasks } = system.urls
    routes = [
      ['POST', '/tasks', tasks],
      ['PUT', `/tasks/${task.id}`, tasks],
      ['PATCH', `/tasks/${task.id}`, tasks],
      ['POST', '/auth/register', auth],
      ['POST', '/auth/login', auth],
      ['PUT', '/auth/password', auth],
    ]
  })
  after(() => system.stop())

  const open = ([method, path, url]: (typeof routes)[number], headers: object): ClientRequest =>
    request(url + path, { method, headers: { authorization: `Bearer ${token}`, ...headers } })
  const answerTo = async (sent: ClientRequest) => {
    const [response] = (await once(sent, 'response')) as [IncomingMessage]
    const body = JSON.parse(await text(response))
    sent.destroy()
    return { status: response.statusCode, body }
  }
  const send = (
    route: (typeof routes)[number],
    body: string | Buffer,
    headers: object = JSON_TYPE,
  ) => answerTo(open(route, headers).end(body))
  /** The code that every route answers with. */
  const codeOf = async (body: string | Buffer, headers?: object): Promise<string> => {
    const codes = await Promise.all(
      routes.map(async (route) => (await send(route, body, headers)).body.code),
    )
    expect(new Set(codes), codes.join()).to.have.length(1)
    return codes[0]
  }
  const post = (body: string | Buffer, headers?: object) => {
    const [tasks] = routes as [(typeof routes)[number]]
    return send(tasks, body, headers)
  }

  it('that is still on its way takes one of the places of its user, and no other’s', async () => {
    const [route] = routes as [(typeof routes)[number]]
    const slow = (headers: object = {}) => {
      const sent = open(route, { ...JSON_TYPE, 'content-length': 20, ...headers })
      sent.on('error', () => {}).write('{"title":')
      return sent
    }
    const held: ClientRequest[] = []
    // One after the other: validations of one token at the same moment are one.
    for (let n = 0; n < 32; n++) {
      held.push(slow({ 'x-request-id': `held-${n}-` }))
      await until(() => system.logged().includes(`"held-${n}-"`), 'its token to be validated')
    }
    const { status, body } = await answerTo(slow())
    expect([status, body.code]).to.deep.equal([429, 'too_many_requests'])
    const other = await system.newUser()
    const theirs = slow({ authorization: `Bearer ${other.token}` })
    theirs.end('"A task 2"}'.padEnd(11))
    expect((await answerTo(theirs)).status).to.equal(201)
    // What has come whole needs none.
    const whole = await system.call('POST', '/tasks', { token, body: { title: 'Whole' } })
    expect(whole.status).to.equal(201)
    for (const sent of held) sent.destroy()
    const later = slow()
    later.end('"A task 3"}'.padEnd(11))
    expect((await answerTo(later)).status).to.equal(201)
  })

  describe('that is too large', () => {
    const padded = (bytes: number) => '{"title":"Large"}'.padEnd(bytes)

    it('is 413 over 128 KiB, and fine up to there', async () => {
      expect((await post(padded(LIMIT))).status).to.equal(201)
      expect((await post(padded(LIMIT + 1))).status).to.equal(413)
      expect(await codeOf(padded(LIMIT + 1))).to.equal('body_too_large')
    })

    it('is not one whose texts are within their limits, however they are escaped', async () => {
      const description = '\u{1f600}'.repeat(10_000)
      const title = '\u{10ffff}'.repeat(200)
      const escaped = JSON.stringify({ title, description }).replace(
        /[^\0-\x7f]/g,
        (unit) => `\\u${unit.charCodeAt(0).toString(16)}`,
      )
      expect(escaped.length).to.be.above(120_000)
      const { status, body } = await post(escaped)
      expect(status).to.equal(201)
      expect(body.task).to.include({ title, description })
    })

    it('is 413 by its declared length alone, before a byte of it has come', async () => {
      for (const route of routes) {
        for (const bytes of [LIMIT + 1, 2 ** 31, 2 ** 32, 2 ** 53]) {
          const sent = open(route, { ...JSON_TYPE, 'content-length': bytes })
          sent.flushHeaders()
          expect((await answerTo(sent)).status, `${bytes}`).to.equal(413)
        }
      }
    })

    it('is 413 without a declared length, before its end has come', async () => {
      expect(
        (await post(padded(LIMIT), { ...JSON_TYPE, 'transfer-encoding': 'chunked' })).status,
      ).to.equal(201)
      for (const route of routes) {
        const sent = open(route, { ...JSON_TYPE, 'transfer-encoding': 'chunked' })
        sent.write(padded(LIMIT))
        sent.write('  ')
        expect((await answerTo(sent)).status).to.equal(413)
      }
    })
  })

  describe('of another kind', () => {
    it('is 415 when it is not called JSON in UTF-8, as it stands', async () => {
      for (const headers of [
        {},
        { 'content-type': '' },
        { 'content-type': 'text/plain' },
        { 'content-type': 'text/json' },
        { 'content-type': 'application/jsonp' },
        { 'content-type': 'application/xml' },
        { 'content-type': 'application/json-patch+json' },
        { 'content-type': 'application/x-www-form-urlencoded' },
        { 'content-type': 'multipart/form-data; boundary=x' },
        { 'content-type': 'application/json, application/json' },
        { 'content-type': 'json' },
        { 'content-type': 'application/json; charset=latin1' },
        { 'content-type': 'application/json; charset=utf-16' },
        { ...JSON_TYPE, 'content-encoding': 'gzip' },
        { ...JSON_TYPE, 'content-encoding': 'br' },
        { ...JSON_TYPE, 'content-encoding': 'identity, deflate' },
        { 'content-type': 'application/json; charset=utf-7' },
      ]) {
        const code = await codeOf('{"title":"A task"}', headers)
        expect(code, JSON.stringify(headers)).to.equal('unsupported_media_type')
      }
      expect((await post('{}', { 'content-type': 'text/plain' })).status).to.equal(415)
    })

    it('is taken with any spelling of application/json', async () => {
      for (const type of [
        'application/json',
        'Application/JSON',
        'application/json; charset=utf-8',
        'application/json;charset="UTF-8"',
        'application/json; charset=utf8',
        'application/json; Charset=UTF8',
      ]) {
        expect((await post('{"title":"A task"}', { 'content-type': type })).status).to.equal(201)
      }
      for (const coding of ['identity', 'Identity', 'IDENTITY', '']) {
        const headers = { ...JSON_TYPE, 'content-encoding': coding }
        expect((await post('{"title":"A task"}', headers)).status, coding).to.equal(201)
      }
    })

    it('counts as an empty object when there is none', async () => {
      const { status, body } = await post('', {})
      expect(status).to.equal(400)
      expect(body.details).to.deep.equal([{ field: 'title', message: 'Title is required' }])
      const put = await system.call('PUT', routes[1]?.[1] ?? '', { token })
      expect(put.status).to.equal(200)
      const chunked = await post('', { ...JSON_TYPE, 'transfer-encoding': 'chunked' })
      expect(chunked.body.details).to.deep.equal(body.details)
    })
  })

  describe('of a call that takes none', () => {
    const takingNone = () => {
      const { auth, task: tasks } = system.urls
      return [
        ['GET', '/tasks', tasks],
        ['GET', routes[1]?.[1] ?? '', tasks],
        ['DELETE', routes[1]?.[1] ?? '', tasks],
        ['GET', '/audit/events', tasks],
        ['GET', '/auth/me', auth],
        ['DELETE', '/auth/sessions/00000000-0000-4000-8000-000000000000', auth],
        ['GET', '/tasks/health', tasks],
      ] as const
    }

    it('is 400, whatever it holds and however it comes', async () => {
      for (const route of takingNone()) {
        for (const headers of [
          { 'content-length': 2, ...JSON_TYPE },
          { 'transfer-encoding': 'chunked', ...JSON_TYPE },
          { 'transfer-encoding': 'chunked' },
        ]) {
          const { status, body } = await answerTo(open(route, headers).end('{}'))
          expect(status, route.join(' ')).to.equal(400)
          expect(body).to.include({
            code: 'unexpected_body',
            message: 'This call takes no body',
          })
        }
      }
    })

    it('may be empty', async () => {
      for (const headers of [{ 'content-length': 0 }, { 'transfer-encoding': 'chunked' }]) {
        const [route] = takingNone()
        expect(
          (await answerTo(open(route as (typeof routes)[number], headers).end())).status,
        ).to.equal(200)
      }
    })
  })

  describe('that is no JSON', () => {
    const refused = 'malformed_body'

    it('is 400 and named malformed', async () => {
      for (const body of [
        ' ',
        '{',
        '{"title":"A task"',
        '{"title":"A task"}}',
        '{"title":"A task"} {}',
        '{"title":"A task",}',
        "{'title':'A task'}",
        '{title:1}',
        '{"title":undefined}',
        '{"title":NaN}',
        '{"title":01}',
        '{"title":"\u0001"}',
        '{"title":"\\x"}',
        '{"title":"\\ud8"}',
        '// a comment\n{"title":"A task"}',
        'title=A+task',
        '<task/>',
        '\0',
      ]) {
        expect(await codeOf(body), JSON.stringify(body)).to.equal(refused)
      }
      const { status, body } = await post('{')
      expect(status).to.equal(400)
      expect(body).to.include({ error: 'Bad Request', message: 'The body is not valid JSON' })
      expect(body).to.not.have.any.keys('details', 'stack')
    })

    it('is 400 when a byte of it is not UTF-8: nothing is stored in a damaged form', async () => {
      for (const bytes of [
        [0xff],
        [0xc3],
        [0xe2, 0x82],
        [0xc0, 0x80],
        [0xed, 0xa0, 0x80],
        [0xf5, 0x80, 0x80, 0x80],
      ]) {
        const body = Buffer.concat([
          Buffer.from('{"title":"A '),
          Buffer.from(bytes),
          Buffer.from('"}'),
        ])
        expect(await codeOf(body), bytes.join()).to.equal('validation_failed')
        const { details } = (await post(body)).body
        expect(details).to.deep.equal([{ field: 'body', message: 'Body must be UTF-8' }])
      }
      expect(await codeOf(Buffer.from('{"title":"A task"}', 'utf16le'))).to.equal(refused)
    })

    it('may begin with a byte order mark, which is not part of it', async () => {
      const { status, body } = await post('\ufeff{"title":"A task"}')
      expect(status).to.equal(201)
      expect(body.task.title).to.equal('A task')
    })
  })

  describe('with a structure that is not the contract’s', () => {
    const nested = (depth: number, heart: string) =>
      `{"title":${'['.repeat(depth - 1)}${heart}${']'.repeat(depth - 1)}}`

    it('is refused when it is deeper than 20, whatever lies at the bottom', async () => {
      const faultsIn = async (body: string) => (await post(body)).body.details
      const tooDeep = [{ field: 'body', message: 'Body must be at most 20 levels deep' }]
      for (const heart of ['', '1', 'null', '"x"']) {
        const [{ field }] = await faultsIn(nested(20, heart))
        expect(field).to.equal('title')
        expect(await faultsIn(nested(21, heart))).to.deep.equal(tooDeep)
      }
      const objects = `${'{"a":'.repeat(21)}1${'}'.repeat(21)}`
      expect(await faultsIn(objects)).to.deep.equal(tooDeep)
      expect(await codeOf(`[${'[{"a":'.repeat(8_000)}`)).to.equal('malformed_body')
      expect(await faultsIn(nested(60_000, ''))).to.deep.equal(tooDeep)
    })

    it('is refused when it is JSON, but not an object', async () => {
      for (const body of ['[{"title":"A task"}]', 'null', 'true', '1', '"title"']) {
        expect(await codeOf(body), body).to.equal('validation_failed')
        const { details } = (await post(body)).body
        expect(details, body).to.deep.equal([{ field: 'body', message: 'Body must be an object' }])
      }
    })

    it('is refused when one object has a key twice, which is named', async () => {
      for (const [body, key] of [
        ['{"title":"A","title":"B"}', 'title'],
        ['{"title":"A","title":"A"}', 'title'],
        ['{"title":"A","\\u0074itle" : "B"}', 'title'],
        ['{"ti\\"tle":"{\\"a\\":1","x":1,"ti\\u0022tle":2}', 'ti"tle'],
        ['{"title":"A","x":{"a":[{"b":1}],"b":{},"a":2}}', 'a'],
        ['{"__proto__":1,"__proto__":2}', '__proto__'],
        ['{"":1,"":2}', ''],
      ] as const) {
        const { status, body: answer } = await post(body)
        expect(status, body).to.equal(400)
        const message = `${key} is given more than once`
        expect(answer.details).to.deep.equal([{ field: key, message }])
        expect(await codeOf(body)).to.equal('validation_failed')
      }
      const again = '{"title":"\\"title\\":1,","description":"{\\"title\\":\\"title\\"}"}'
      expect((await post(again)).status).to.equal(201)
    })

    it('is refused for a name that JavaScript knows, and changes no prototype', async () => {
      for (const name of ['constructor', 'toString', 'hasOwnProperty', 'prototype', 'valueOf']) {
        const { status, body } = await post(`{"title":"A","${name}":{"prototype":{"odd":1}}}`)
        expect(status, name).to.equal(400)
        if (body.code === 'validation_failed') expect(body.details[0].field).to.equal(name)
      }
      for (const body of [
        '{"title":"A","__proto__":{"odd":1}}',
        '{"__proto__":{"title":"A"}}',
        '{"title":"A","\\u005f_proto__":{"odd":1}}',
        '{"title":{"__proto__":{"odd":1}}}',
      ]) {
        expect((await post(body)).status, body).to.equal(400)
      }
      expect(({} as { odd?: number }).odd).to.equal(undefined)
    })

    it('is refused for any field that is not the contract’s, and each is named', async () => {
      const known = ['title', 'description', 'status', 'priority', 'due_date']
      const names = fc.uniqueArray(
        fc.string({ minLength: 1, maxLength: 20 }).filter((name) => !known.includes(name)),
        { minLength: 1, maxLength: 5 },
      )
      await fc.assert(
        fc.asyncProperty(names, async (unknown) => {
          const fields = Object.fromEntries(unknown.map((name) => [name, 1]))
          const { status, body } = await post(JSON.stringify({ title: 'A task', ...fields }))
          expect(status).to.equal(400)
          if (body.code === 'malformed_body') return void expect(unknown).to.include('__proto__')
          const named = body.details.map(({ field }: { field: string }) => field)
          expect(named).to.have.members(unknown)
        }),
        { numRuns: 100 },
      )
    })
  })
})
