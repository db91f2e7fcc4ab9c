import { expect } from 'chai'
import { type System, startSystem } from '../support/system.ts'

// Each finds the other, now and in the past.
const SAME = [
  ['ΣΚΥΛΟΣ', 'σκυλος'],
  ['σκυλοσ', 'ΣΚΥΛΟΣ'],
  ['izmir', 'İZMİR'],
  ['ISPANAK', 'ıspanak'],
  ['STRASSE', 'straße'],
  ['STRAẞE', 'strasse'],
  ['ma\u00f1ana', 'man\u0303ana'],
  ['MA\u00d1ANA', 'man\u0303ana'],
  ['ﬁnal', 'FINAL'],
  ['Ｆｕｌｌ', 'full'],
  ['Ǆ', 'ǆ'],
  ['会議', '会議'],
  ['É', 'e\u0301'],
  ['%', '%'],
  ['cooperate', 'co\u00adoperate'],
] as const

const DIFFERENT = [
  ['manana', 'ma\u00f1ana'],
  ['aaaa', 'aaa baa aab'],
  ['one two', 'one'],
  ['議会', '会議'],
] as const

describe('A search', () => {
  let system: System
  let ann: Awaited<ReturnType<System['newUser']>>
  before(async () => {
    system = await startSystem()
    ann = await system.newUser()
  })
  after(() => system.stop())

  const create = async (fields: object): Promise<number> =>
    (await system.call('POST', '/tasks', { token: ann.token, body: fields })).body.task.id
  const change = (id: number, body: object) =>
    system.call('PUT', `/tasks/${id}`, { token: ann.token, body })
  const found = async (q: string, more: object = {}): Promise<number[]> => {
    const query = new URLSearchParams({ q, ...more })
    const { status, body } = await system.call('GET', `/tasks?${query}`, { token: ann.token })
    expect(status, `${q}: ${JSON.stringify(body)}`).to.equal(200)
    return body.tasks.map(({ id }: { id: number }) => id)
  }
  const then = () => ({ as_of: new Date().toISOString() })

  it('treats letters as the same however they are written, now and in the past', async () => {
    const pairs = SAME.flatMap(([one, other]) => [
      [one, other],
      [other, one],
    ])
    for (const [q = '', text = ''] of pairs) {
      const ids = [
        await create({ title: `The ${text}.` }),
        await create({ title: 'Other', description: `The\n${text}` }),
      ]
      expect(await found(q), `${q} in ${text}`).to.include.members(ids)
      expect(await found(q, then()), `${q} in ${text}, then`).to.include.members(ids)
    }
  })

  it('does not find what only has the same parts, nor over the end of the title', async () => {
    for (const [q, text] of DIFFERENT) {
      await create({ title: text, description: 'two' })
      expect(await found(q), `${q} in ${text}`).to.deep.equal([])
      expect(await found(q, then()), `${q} in ${text}, then`).to.deep.equal([])
    }
  })

  it('finds what a text is now, not what it was', async () => {
    const id = await create({ title: 'Aardvark' })
    await change(id, { status: 'completed' })
    expect(await found('aardvark')).to.deep.equal([id])
    await change(id, { title: 'Buffalo', description: 'grazes' })
    expect(await found('aardvark')).to.deep.equal([])
    expect(await found('buffalo')).to.deep.equal([id])
    expect(await found('GRAZ')).to.deep.equal([id])
    await system.call('POST', `/tasks/${id}/undo`, { token: ann.token, body: {} })
    expect(await found('aardvark')).to.deep.equal([id])
  })

  it('for invisible characters only is refused', async () => {
    const q = encodeURIComponent('\u200b\u00ad')
    const { status, body } = await system.call('GET', `/tasks?q=${q}`, { token: ann.token })
    expect(status).to.equal(400)
    expect(body.details[0].field).to.equal('q')
  })

  it("does not show in a replayed answer what it keeps of a task's texts", async () => {
    const headers = { 'Idempotency-Key': 'search-1' }
    const post = () =>
      system.call('POST', '/tasks', { token: ann.token, body: { title: 'Cormorant' }, headers })
    const first = await post()
    const second = await post()
    expect(second.headers.get('idempotent-replayed')).to.equal('true')
    expect(second.body).to.deep.equal(first.body)
  })
})
