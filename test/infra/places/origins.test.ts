import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import fc from 'fast-check'
import { origins } from '../../../src/infra/places/origins.ts'

const { device, place } = origins()

const WEBKIT = 'AppleWebKit/537.36 (KHTML, like Gecko)'

describe('A device, in words,', () => {
  for (const [words, user_agent] of [
    [
      'Firefox on Windows',
      'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0',
    ],
    [
      'Chrome on Android',
      `Mozilla/5.0 (Linux; Android 14; Pixel 8) ${WEBKIT} Chrome/124.0.0.0 Mobile Safari/537.36`,
    ],
    [
      'Microsoft Edge on Windows',
      `Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${WEBKIT} Chrome/124.0.0.0 Safari/537.36 Edg/124.0.0.0`,
    ],
    [
      'Safari on iOS',
      'Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1',
    ],
    [
      'Safari on macOS',
      'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15',
    ],
    ['Googlebot', 'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)'],
    ['curl', 'curl/8.5.0'],
    ['python-requests', 'python-requests/2.31.0'],
    ['Go-http-client', 'Go-http-client/1.1'],
    ['node', 'node'],
    ['an unknown program', 'Mozilla/5.0'],
    ['an unknown program', 'www.evil.example/1.0'],
    ['an unknown program', '{"a":1}'],
    ['an unknown program', ''],
    ['an unknown program', null],
  ] as const) {
    it(`is ${words}: ${user_agent?.slice(0, 60)}`, () => {
      expect(device(user_agent)).to.equal(words)
    })
  }

  it('is a short line of letters, whatever the header says', () => {
    const piece = fc.constantFrom(
      'Mozilla/5.0 (',
      'Chrome/1',
      ';',
      'Android ',
      '\n',
      'https://x',
      '<b>',
    )
    const header = fc
      .array(fc.oneof(piece, fc.string()))
      .map((parts) => parts.join('').slice(0, 500))
    fc.assert(
      fc.property(header, (user_agent) => {
        expect(device(user_agent)).to.match(/^[\w .+()/'!-]{1,80}$/)
      }),
      { numRuns: 1_000 },
    )
  })
})

describe('A place, in words,', () => {
  for (const [ip, words] of [
    ['141.20.5.1', 'Germany'],
    ['8.8.8.8', 'United States'],
    ['::ffff:8.8.8.8', 'United States'],
    ['133.11.0.1', 'Japan'],
    ['2001:67c:2e8:22::c100:68b', 'Netherlands'],
    ['127.0.0.1', 'a private network'],
    ['::1', 'a private network'],
    ['::ffff:127.0.0.1', 'a private network'],
    ['192.168.7.1', 'a private network'],
    ['fe80::1%eth0', 'a private network'],
    ['fd12:3456::1', 'a private network'],
    ['203.0.113.7', null],
    ['2001:db8::1', null],
    ['999.1.1.1', null],
    ['', null],
    [null, null],
  ] as const) {
    it(`is ${words ?? 'not known'}: ${ip}`, () => {
      expect(place(ip)).to.equal(words)
    })
  }

  it('is looked up in another database, if one is named', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'tasktrail-places-'))
    const file = join(directory, 'other.mmdb')
    await writeFile(file, 'no database')
    expect(() => origins(file).place('8.8.8.8')).to.throw()
    await rm(directory, { recursive: true })
  })
})
