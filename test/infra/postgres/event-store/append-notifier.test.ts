import { expect } from 'chai'
import type { Database } from '../../../../src/infra/postgres/connection/database.ts'
import { postgresAppendNotifier } from '../../../../src/infra/postgres/event-store/append-notifier.ts'
import { silent } from '../../../support/log.ts'

describe('The append notifier', () => {
  it('knows nothing of its last subscriber when it begins again', async () => {
    // The database answers when the test lets it.
    const asked: { name: string; values: readonly unknown[]; answer: (rows: object[]) => void }[] = []
    const query = ({ name }: { name: string }, values: readonly unknown[]) =>
      new Promise((resolve) => asked.push({ name, values, answer: resolve }))
    const wake = { subscribe: () => () => {} }
    const notifier = postgresAppendNotifier({ query } as unknown as Database, wake, silent)
    const next = async () => {
      while (asked.length === 0) await new Promise(setImmediate)
      return asked.shift() as (typeof asked)[number]
    }

    notifier.subscribe(1, () => {})()
    let called = 0
    const stop = notifier.subscribe(2, () => called++)
    const [first, second] = [await next(), await next()]
    first.answer([{ position: 10 }])
    await new Promise(setImmediate)
    second.answer([{ position: 1_000_000 }])
    await new Promise(setImmediate)
    // The new subscriber looks for itself; the events of the time before it are not searched.
    expect([called, asked]).to.deep.equal([1, []])
    stop()
  })
})
