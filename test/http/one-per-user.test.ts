import { expect } from 'chai'
import { HttpError } from '../../src/http/errors.ts'
import { onePerUser } from '../../src/http/one-per-user.ts'

const MINUTE = 60_000

describe('One at a time for each user', () => {
  const refusal = new HttpError('too_many_requests')

  it('lets them in one after the other, and refuses at once when too many wait', async () => {
    const enter = onePerUser(MINUTE, refusal)
    const order: number[] = []
    let inside = 0
    const turns = Array.from({ length: 11 }, async (_, turn) => {
      const leave = await enter(1)
      expect(++inside).to.equal(1)
      order.push(turn)
      await new Promise(setImmediate)
      inside--
      leave()
    })
    const refused = await enter(1).catch((error: unknown) => error)
    expect(refused).to.equal(refusal)
    ;(await enter(2))()
    await Promise.all(turns)
    expect(order).to.deep.equal(Array.from({ length: 11 }, (_, turn) => turn))
    ;(await enter(1))()
  })

  it('refuses who has waited long enough, and then lets the next one in', async () => {
    const enter = onePerUser(1, refusal)
    const leave = await enter(1)
    expect(await enter(1).catch((error: unknown) => error)).to.equal(refusal)
    leave()
    ;(await enter(1))()
  })
})
