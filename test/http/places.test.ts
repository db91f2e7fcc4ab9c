import { expect } from 'chai'
import { HttpError } from '../../src/http/errors.ts'
import { places } from '../../src/http/places.ts'

const MINUTE = 60_000

describe('Places', () => {
  const refusal = new HttpError('export_under_way')
  const codeOf = (error: unknown) => (error as HttpError).code

  it('let a user in one after the other, and refuse at once when too many wait', async () => {
    const enter = places({ all: 2, ms: MINUTE, refusal, retryAfter: 1 })
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

  it('refuse who has waited long enough, and then let the next one in', async () => {
    const enter = places({ all: 2, ms: 1, refusal, retryAfter: 1 })
    const leave = await enter(1)
    expect(await enter(1).catch((error: unknown) => error)).to.equal(refusal)
    leave()
    ;(await enter(1))()
  })

  it('are so many for all, and who waits for those in vain leaves their own free', async () => {
    const enter = places({ all: 3, each: 2, ms: 1, retryAfter: 7 })
    const leave = [await enter(1), await enter(1), await enter(2)]
    const refused: HttpError = await enter(2).catch((error) => error)
    expect([refused.code, refused.retryAfter]).to.deep.equal(['overloaded', 7])
    expect(await enter(1).catch(codeOf)).to.equal('too_many_requests')
    leave[0]?.()
    leave[0]?.()
    ;(await enter(2))()
    ;(await enter(3))()
  })
})
