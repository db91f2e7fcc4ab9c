import { randomBytes } from 'node:crypto'
import { expect } from 'chai'
import { passkeyCeremonies } from '../../src/infra/credentials/passkey-ceremonies.ts'
import { totpCodes } from '../../src/infra/credentials/totp-codes.ts'
import { secretKeyWrap } from '../../src/infra/encryption/text-cipher.ts'
import { passkeyDevice } from '../support/passkey-device.ts'
import { median } from '../support/welch.ts'

const SITE = { domain: 'localhost', origins: ['http://localhost'] }
const NOW = new Date('2026-11-29T12:00:00.000Z')
const newChallenge = () => randomBytes(32).toString('base64url')

/** The first median over the second, of works that take turns. */
async function ratio(one: () => Promise<unknown>, other: () => Promise<unknown>): Promise<number> {
  const times: [number[], number[]] = [[], []]
  for (let round = 0; round < 400; round++) {
    const which = round % 2 === 0 ? 0 : 1
    const began = performance.now()
    await (which === 0 ? one : other)()
    times[which].push(performance.now() - began)
  }
  return median(times[0]) / median(times[1])
}

describe('A passkey that nobody has', () => {
  const { registered, proven } = passkeyCeremonies(SITE)
  const device = passkeyDevice()
  const here = { origin: 'http://localhost' }
  const challenge = newChallenge()
  const answer = () => device.get({ challenge, rpId: 'localhost' }, here)

  it('takes as long as one that somebody has', async () => {
    const stranger = passkeyDevice()
    const begun = newChallenge()
    const created = stranger.create({ challenge: begun, rp: { id: 'localhost' } }, here)
    const passkey = await registered(created, begun)
    const key = passkey?.public_key ?? null
    expect(key).to.not.equal(null)
    const given = answer()
    const took = await ratio(
      () => proven(given, challenge, null),
      () => proven(given, challenge, key),
    )
    expect(took).to.be.within(0.6, 1.6)
  })

  it('is proven by nothing', async () => {
    expect(await proven(answer(), challenge, null)).to.equal(null)
  })
})

describe('A code of somebody who has no app', () => {
  const { newSecret, stepOf } = totpCodes(secretKeyWrap(randomBytes(32).toString('hex')))

  it('takes as long as that of somebody who has an app', async () => {
    const { wrapped } = await newSecret({ user_id: 7, username: 'ann' })
    const took = await ratio(
      () => stepOf(7, null, '123456', NOW),
      () => stepOf(7, wrapped, '123456', NOW),
    )
    expect(took).to.be.within(0.6, 1.6)
  })

  it('is of no time', async () => {
    for (let code = 0; code < 1_000; code++) {
      expect(await stepOf(7, null, String(code).padStart(6, '0'), NOW)).to.equal(null)
    }
  })
})
