import { expect } from 'chai'
import { addressCooldowns } from '../../../src/infra/auth-client/address-cooldowns.ts'

describe('An address that failed', () => {
  let time: number
  const resting = () => addressCooldowns(5000, () => time)
  beforeEach(() => {
    time = 0
  })

  it('is passed over while there is another', () => {
    const addresses = resting()
    addresses.fail('a')
    expect(addresses.pick(['a', 'b'])).to.equal('b')
    expect(addresses.pick(['b', 'a'])).to.equal('b')
  })

  it('is used when all others failed too', () => {
    const addresses = resting()
    addresses.fail('a')
    addresses.fail('b')
    expect(addresses.pick(['b', 'a'])).to.equal('b')
    expect(addresses.pick(['a', 'b'])).to.equal('a')
  })

  it('is tried by one call after its rest, and by all once that worked', () => {
    const addresses = resting()
    addresses.fail('a')
    time = 5000
    expect(addresses.pick(['a', 'b'])).to.equal('a')
    expect(addresses.pick(['a', 'b'])).to.equal('b')
    addresses.work('a')
    expect(addresses.pick(['a', 'b'])).to.equal('a')
    expect(addresses.pick(['a', 'b'])).to.equal('a')
  })

  it('is forgotten when DNS no longer names it', () => {
    const addresses = resting()
    addresses.fail('a')
    addresses.pick(['b'])
    expect(addresses.pick(['a', 'b'])).to.equal('a')
  })
})
