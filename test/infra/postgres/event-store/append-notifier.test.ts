import { expect } from 'chai'
import type { Database } from '../../../../src/infra/postgres/connection/database.ts'
import { postgresAppendNotifier } from '../../../../src/infra/postgres/event-store/append-notifier.ts'
import { silent } from '../../../support/log.ts'

type Question = { readonly name: string; readonly answer: (rows: object[]) => void }

/** A database that answers when the test lets it. */
function slowDatabase() {
  const questions: Question[] = []
  const db: Database = {
    query: async <Row>({ name }: { name: string }) => {
      const rows = await new Promise<object[]>((answer) => questions.push({ name, answer }))
      return rows as Row[]
    },
    ping: async () => true,
    close: async () => {},
  }
  const next = async () => {
    for (;;) {
      const question = questions.shift()
      if (question !== undefined) return question
      await new Promise(setImmediate)
    }
  }
  return { db, questions, next }
}

describe('The append notifier', () => {
  it('begins again with nothing of its last subscriber', async () => {
    const { db, questions, next } = slowDatabase()
    const notifier = postgresAppendNotifier(db, { subscribe: () => () => {} }, silent)
    let calls = 0

    const leave = notifier.subscribe(1, () => {})
    const first = await next()
    leave()
    const stop = notifier.subscribe(2, () => calls++)
    first.answer([{ position: 10 }])
    const second = await next()
    second.answer([{ position: 1_000_000 }])
    await new Promise(setImmediate)

    // The new subscriber looks for itself; nobody searches the events of the time before.
    expect([calls, questions.map(({ name }) => name)]).to.deep.equal([1, []])
    stop()
  })
})
