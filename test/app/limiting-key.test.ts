import { isIPv6 } from 'node:net'
import { expect } from 'chai'
import fc from 'fast-check'
import { limitingKey } from '../../src/app/limiting-key.ts'

describe('The key that limits count an address by', () => {
  const table: Readonly<Record<string, string>> = {
    '198.51.100.7': '198.51.100.7',
    '::ffff:198.51.100.7': '198.51.100.7',
    '::FFFF:c633:6407': '198.51.100.7',
    '0:0:0:0:0:ffff:198.51.100.7': '198.51.100.7',
    '2001:db8:1:2:3:4:5:6': '2001:db8:1:2::/64',
    '2001:DB8:1:2::': '2001:db8:1:2::/64',
    '2001:0db8:0001:0002::1': '2001:db8:1:2::/64',
    '2001:db8::1': '2001:db8:0:0::/64',
    '2001::1:2:3:4:5': '2001:0:0:1::/64',
    '::1': '0:0:0:0::/64',
    'fe80::1%eth0': 'fe80:0:0:0::/64',
    '64:ff9b::198.51.100.7': '64:ff9b:0:0::/64',
    '': '',
  }
  for (const [address, key] of Object.entries(table)) {
    it(`of "${address}" is "${key}"`, () => expect(limitingKey(address)).to.equal(key))
  }

  it('is the same for two addresses exactly when their first 64 bits are', () => {
    const groups = (length: number) =>
      fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: length, maxLength: length })
    const text = (all: readonly number[]) => all.map((group) => group.toString(16)).join(':')
    fc.assert(
      fc.property(groups(4), groups(4), groups(4), groups(4), (a, b, low, other) => {
        const [one, same, third] = [
          text([...a, ...low]),
          text([...a, ...other]),
          text([...b, ...low]),
        ]
        expect([one, same, third].every(isIPv6)).to.equal(true)
        expect(limitingKey(one)).to.equal(limitingKey(same))
        expect(limitingKey(one) === limitingKey(third)).to.equal(text(a) === text(b))
      }),
    )
  })
})
