import { expect } from 'chai'
import fc from 'fast-check'
import { type System, startSystem } from '../support/system.ts'

type User = Awaited<ReturnType<System['newUser']>>

describe('The fields of a task', () => {
  let system: System
  let ann: User

  before(async () => {
    system = await startSystem()
    ann = await system.newUser()
  })
  after(() => system.stop())

  const create = (body: object) => system.call('POST', '/tasks', { token: ann.token, body })
  const stored = async (id: number) =>
    (await system.call('GET', `/tasks/${id}`, { token: ann.token })).body.task
  const faultOf = async (body: object) => {
    const answer = await create(body)
    expect(answer.status, JSON.stringify(body)).to.equal(400)
    expect(answer.body.details, JSON.stringify(answer.body)).to.have.length(1)
    return answer.body.details[0]
  }

  describe('that are texts', () => {
    const anyText = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 210, size: 'max' }),
      fc.string({ unit: 'grapheme', maxLength: 210, size: 'max' }),
      fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 9 }).map((units) => {
        return String.fromCharCode(...units)
      }),
      fc.constantFrom(
        '\0',
        '\ud800',
        '\udc00 ',
        '\udc00\ud800',
        '\u2028',
        '\ufeff',
        'a'.repeat(201),
      ),
    )

    it('come back as they were sent, or are refused: whatever the text', async () => {
      await fc.assert(
        fc.asyncProperty(anyText, async (title) => {
          const trimmed = title.trim()
          const length = [...trimmed].length
          const fits = length >= 1 && length <= 200 && !/\p{Cc}|[\u2028\u2029]/u.test(trimmed)
          const { status, body } = await create({ title, description: title })
          const described = !/\p{Cc}/u.test(title.replace(/[\t\r\n]/g, ''))
          const isSeen = /[^\p{White_Space}\p{DI}\p{Cf}\u2800]/u.test(title)
          if (fits && described && isSeen && title.isWellFormed()) {
            expect(status).to.equal(201)
            expect(await stored(body.task.id)).to.include({ title: trimmed, description: title })
          } else {
            expect(status).to.equal(400)
            expect(body.details[0].field).to.be.oneOf(['title', 'description'])
          }
        }),
        { numRuns: 200 },
      )
    })

    it('are counted in characters, not in UTF-16 units or bytes', async () => {
      const title = '😀'.repeat(200)
      const answer = await create({ title, description: '😀'.repeat(10_000) })
      expect(answer.status).to.equal(201)
      expect((await stored(answer.body.task.id)).title).to.equal(title)
      expect(await faultOf({ title: '😀'.repeat(201) })).to.deep.equal({
        field: 'title',
        message: 'Title must have at most 200 characters',
      })
      expect((await create({ title: ` ${'a'.repeat(200)} ` })).status).to.equal(201)
      expect((await create({ title: 'a', description: 'b'.repeat(10_000) })).status).to.equal(201)
      const long = { title: 'a', description: 'b'.repeat(10_001) }
      expect((await faultOf(long)).message).to.equal(
        'Description must have at most 10000 characters',
      )
    })

    it('have no half of a surrogate pair', async () => {
      const message = 'must not contain half of a surrogate pair'
      for (const text of ['a\ud83d', '\ude00b']) {
        expect((await faultOf({ title: text })).message).to.equal(`Title ${message}`)
        const described = { title: 'a', description: text }
        expect((await faultOf(described)).message).to.equal(`Description ${message}`)
      }
    })

    it('have no control characters, but a description has tabs and lines', async () => {
      const inLine = 'Title must not contain line breaks, tabs or other control characters'
      const inLines =
        'Description must not contain control characters other than tabs and line breaks'
      for (const control of ['\0', '\x07', '\b', '\x1b[31m', '\x7f', '\x85', '\x9b']) {
        const text = `a${control}b`
        expect((await faultOf({ title: text })).message).to.equal(inLine)
        expect((await faultOf({ title: 'a', description: text })).message).to.equal(inLines)
      }
      for (const lines of ['a\tb', 'a\nb', 'a\r\nb', 'a\u2028b', 'a\u2029b']) {
        expect((await faultOf({ title: lines })).message).to.equal(inLine)
        const { status, body } = await create({ title: 'a', description: lines })
        expect(status).to.equal(201)
        expect(body.task.description).to.equal(lines)
      }
    })

    it('are a title with something to see in it', async () => {
      const unseen = [
        '\u200b',
        '\u2800',
        '\u3164',
        '\u115f\u1160',
        '\u00ad',
        '\u200d',
        '\u2060 \u200e',
      ]
      for (const title of [
        ...unseen,
        '\u202e\u202c',
        '\ufe0f',
        '\u{e0041}',
        '\u2800\u3000\u2800',
      ]) {
        expect((await faultOf({ title })).message).to.equal(
          'Title must contain a visible character',
        )
      }
      for (const title of [
        '👩\u200d🚀',
        '❤\ufe0f',
        'נ\u200fא',
        'क्\u200dष',
        '.',
        '\u{1f3f4}\u{e0067}\u{e007f}',
      ]) {
        const { status, body } = await create({ title })
        expect(status, title).to.equal(201)
        expect((await stored(body.task.id)).title).to.equal(title)
      }
    })

    it('are a title that has something in it, and a description that may be empty', async () => {
      for (const title of ['', '   ', '\t\n', '\u00a0\u3000\ufeff']) {
        expect((await faultOf({ title })).message).to.equal('Title is required')
      }
      const { body } = await create({ title: 'a', description: '' })
      expect(body.task.description).to.equal('')
    })
  })

  it('have the type and the values that the contract names', async () => {
    const wrong = [1, true, [], {}, ['a'], 'x']
    for (const value of wrong.slice(0, -1)) {
      expect((await faultOf({ title: value })).message).to.equal('Title must be a string')
      const described = await faultOf({ title: 'a', description: value })
      expect(described.message).to.equal('Description must be a string')
    }
    for (const value of [...wrong, null, 'Pending', 'pending ']) {
      expect((await faultOf({ title: 'a', status: value })).message).to.equal(
        'Status must be one of: pending, in_progress, completed',
      )
      expect((await faultOf({ title: 'a', priority: value })).message).to.equal(
        'Priority must be one of: low, medium, high',
      )
    }
  })

  it('are all judged at once', async () => {
    const body = { title: '', description: 1, status: 'x', priority: 2, due_date: 'soon', color: 3 }
    const answer = await create(body)
    expect(answer.status).to.equal(400)
    expect(answer.body.message).to.equal('Validation failed')
    const named = answer.body.details.map(({ field }: { field: string }) => field)
    expect(named).to.have.members(Object.keys(body))
    expect(answer.body.details).to.deep.include({
      field: 'color',
      message: 'Unknown field; allowed: title, description, status, priority, due_date',
    })
  })

  describe('that are times', () => {
    const YEAR_1 = Date.parse('0001-01-01T00:00:00Z')
    const YEAR_9999 = Date.parse('9999-12-31T23:59:59.999Z')
    const two = (n: number) => String(n).padStart(2, '0')

    it('come back as the same moment in UTC, for any moment and offset', async () => {
      const moment = fc.oneof(
        fc.integer({ min: YEAR_1, max: YEAR_9999 }),
        fc.integer({ min: YEAR_1, max: Date.parse('0101-01-01T00:00:00Z') }),
        fc.constantFrom(YEAR_1, YEAR_9999),
      )
      const offset = fc.integer({ min: -1439, max: 1439 })
      await fc.assert(
        fc.asyncProperty(moment, offset, async (at, minutes) => {
          const local = new Date(at + minutes * 60_000)
          const year = local.getUTCFullYear()
          fc.pre(year >= 0 && year <= 9999)
          const sign = minutes < 0 ? '-' : '+'
          const [hours, rest] = [Math.trunc(Math.abs(minutes) / 60), Math.abs(minutes) % 60]
          const zone = minutes === 0 ? 'Z' : `${sign}${two(hours)}:${two(rest)}`
          const due_date = local.toISOString().replace('Z', zone)
          const { status, body } = await create({ title: 'Due', due_date })
          expect(status, due_date).to.equal(201)
          const expected = new Date(at).toISOString()
          expect(body.task.due_date).to.equal(expected)
          expect((await stored(body.task.id)).due_date).to.equal(expected)
        }),
        { numRuns: 150 },
      )
    })

    it('lie in the years 1 to 9999, in UTC', async () => {
      const message = 'Due date must be in the years 1 to 9999'
      for (const due_date of [
        '0000-01-01T00:00:00Z',
        '0000-12-31T23:59:59.999Z',
        '0001-01-01T00:00:00+00:01',
        '9999-12-31T23:59:59-00:01',
        '9999-12-31T23:59:59-23:59',
      ]) {
        expect((await faultOf({ title: 'a', due_date })).message, due_date).to.equal(message)
      }
    })

    it('say date, time with seconds, and offset; a day or second that never is does not pass', async () => {
      for (const due_date of [
        '',
        'tomorrow',
        '2026-01-31',
        '2026-01-31T09:00:00',
        '2026-01-31 09:00:00Z',
        '2026-01-31T09:00Z',
        '2026-01-31T09:00:00+0100',
        '2026-01-31T09:00:00Z ',
        '+002026-01-31T09:00:00Z',
        '-000001-01-31T09:00:00Z',
        '10000-01-01T00:00:00Z',
        '2026-01-31T09:00:00\u0000Z',
      ]) {
        const { field, message } = await faultOf({ title: 'a', due_date })
        expect(field, due_date).to.equal('due_date')
        expect(message).to.match(/^Due date must be an ISO 8601 time with Z or an offset/)
      }
      for (const [due_date, message] of [
        ['2026-02-29T09:00:00Z', 'be a day of the calendar'],
        ['2026-02-30T09:00:00Z', 'be a day of the calendar'],
        ['2026-04-31T25:00:00Z', 'be a day of the calendar'],
        ['2026-13-01T09:00:00.5+01:00', 'be a day of the calendar'],
        ['2026-00-10T09:00:00Z', 'be a day of the calendar'],
        ['2026-01-31T24:00:00Z', 'have a time from 00:00:00 to 23:59:59 and an offset up to 23:59'],
        ['2016-12-31T23:59:60Z', 'have a time from 00:00:00 to 23:59:59 and an offset up to 23:59'],
        [
          '2026-01-31T09:00:00+24:00',
          'have a time from 00:00:00 to 23:59:59 and an offset up to 23:59',
        ],
      ]) {
        const fault = await faultOf({ title: 'a', due_date })
        expect(fault, due_date).to.deep.equal({
          field: 'due_date',
          message: `Due date must ${message}`,
        })
      }
      expect((await create({ title: 'a', due_date: '2024-02-29T09:00:00Z' })).status).to.equal(201)
    })

    it('keep milliseconds; what is finer is cut off', async () => {
      for (const [sent, kept] of [
        ['2026-01-31T09:00:00Z', '2026-01-31T09:00:00.000Z'],
        ['2026-01-31T09:00:00.1Z', '2026-01-31T09:00:00.100Z'],
        ['2026-01-31T09:00:00.123456Z', '2026-01-31T09:00:00.123Z'],
        ['2026-01-31T23:59:59.999999999Z', '2026-01-31T23:59:59.999Z'],
      ]) {
        const { body } = await create({ title: 'a', due_date: sent })
        expect((await stored(body.task.id)).due_date).to.equal(kept)
      }
    })
  })
})
