import { expect } from 'chai'
import fc from 'fast-check'
import { INSPECTED_BYTES, LONGEST_SIDE, MOST_PIXELS } from '../../../src/app/ports/images.ts'
import { PHOTO_TYPES } from '../../../src/domain/task/photos.ts'
import { inspectImage } from '../../../src/infra/images/inspect-image.ts'
import { blackPng, NO_PHOTOS, plain, withSegment } from '../../support/images.ts'

/** Of the processor: more than any answer takes, and far less than an endless loop. */
const IN_TIME_MS = 300

const timed = (bytes: Uint8Array) => {
  const began = process.cpuUsage()
  const answer = inspectImage(bytes)
  const { user, system } = process.cpuUsage(began)
  expect((user + system) / 1_000).to.be.below(IN_TIME_MS)
  return answer
}

const kinds = () => ({
  'image/jpeg': [
    plain(40, 30).jpeg(),
    plain(40, 30).jpeg({ progressive: true }),
    plain(40, 30).toColourspace('cmyk').jpeg(),
    plain(40, 30).withMetadata({ orientation: 6 }).withIccProfile('p3').jpeg(),
  ],
  'image/png': [plain(40, 30).png(), plain(40, 30).png({ palette: true })],
  'image/webp': [
    plain(40, 30).webp(),
    plain(40, 30).webp({ lossless: true }),
    plain(40, 30).ensureAlpha(0.5).webp(),
  ],
  'image/avif': [plain(40, 30).avif(), plain(40, 30).withIccProfile('p3').avif()],
})

/** A PNG whose size is what its header says and nothing more. */
const saying = (width: number, height: number): Buffer => {
  const png = blackPng(1, 1)
  png.writeUInt32BE(width, 16)
  png.writeUInt32BE(height, 20)
  return png
}

const box = (type: string, ...content: Uint8Array[]): Buffer => {
  const data = Buffer.concat(content)
  const head = Buffer.from(`0000${type}`, 'latin1')
  head.writeUInt32BE(data.length + 8)
  return Buffer.concat([head, data])
}
/** An AVIF whose properties are these bytes. */
const avifOf = (properties: Uint8Array): Buffer =>
  Buffer.concat([
    box('ftyp', Buffer.from('avif\0\0\0\0avif', 'latin1')),
    box(
      'meta',
      Buffer.alloc(4),
      box('pitm', Buffer.from([0, 0, 0, 0, 0, 1])),
      box('iprp', properties),
    ),
  ])

const HOSTILE: Readonly<Record<string, Buffer>> = {
  'a JPEG of a million fill bytes': Buffer.concat([
    Buffer.from([0xff, 0xd8]),
    Buffer.alloc(INSPECTED_BYTES, 0xff),
  ]),
  'a JPEG of a million empty segments': Buffer.concat([
    Buffer.from([0xff, 0xd8]),
    Buffer.alloc(INSPECTED_BYTES, Buffer.from([0xff, 0xe0, 0, 2])),
  ]),
  'a JPEG of segments that do not get further': Buffer.concat([
    Buffer.from([0xff, 0xd8]),
    Buffer.alloc(INSPECTED_BYTES, Buffer.from([0xff, 0xe0, 0, 0])),
  ]),
  'an AVIF of as many brands': box('ftyp', Buffer.alloc(INSPECTED_BYTES - 8, 'avif')),
  'an AVIF of as many boxes': avifOf(
    box('ipco', Buffer.alloc(INSPECTED_BYTES / 2, box('free', Buffer.alloc(0)))),
  ),
  'an AVIF of as many sizes': avifOf(
    box('ipco', Buffer.alloc(INSPECTED_BYTES / 2, box('ispe', Buffer.alloc(12)))),
  ),
  'an AVIF of as many sizes as are looked at': avifOf(
    box('ipco', Buffer.alloc(120_000, box('ispe', Buffer.alloc(12)))),
  ),
  'an AVIF of as many associations': avifOf(
    box('ipma', Buffer.from([0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]), Buffer.alloc(900_000)),
  ),
  'an AVIF of boxes without a length': avifOf(Buffer.alloc(INSPECTED_BYTES / 2)),
}

describe('What an image is', () => {
  for (const type of PHOTO_TYPES) {
    it(`shows in the bytes of ${type}, with its size`, async () => {
      for (const kind of kinds()[type]) {
        const facts = inspectImage(await kind.toBuffer())
        expect(facts).to.deep.equal({ contentType: type, width: 40, height: 30 })
      }
    })
  }

  for (const [what, bytes] of Object.entries(NO_PHOTOS)) {
    it(`is no photo: ${what}`, async () => {
      expect(inspectImage(await bytes())).to.equal('not_an_image')
    })
  }

  it('is a size that we take, up to the last pixel', () => {
    const sizes = [
      [LONGEST_SIDE, 1],
      [1, LONGEST_SIDE],
      [10_000, MOST_PIXELS / 10_000],
    ] as const
    for (const [width, height] of sizes) {
      expect(inspectImage(saying(width, height))).to.include({ width, height })
      expect(inspectImage(saying(width + 1, height + 1))).to.equal('too_many_pixels')
    }
    expect(inspectImage(saying(30_000, 30_000))).to.equal('too_many_pixels')
    expect(inspectImage(saying(2 ** 32 - 1, 1))).to.equal('too_many_pixels')
  })

  it('is a smaller size for an AVIF, whose decoder takes more for each pixel', async () => {
    const avif = await plain(100, 101).avif().toBuffer()
    const sized = (width: number, height: number) => {
      const bytes = Buffer.from(avif)
      const at = bytes.indexOf(Buffer.from([0, 0, 0, 100, 0, 0, 0, 101]))
      bytes.writeUInt32BE(width, at)
      bytes.writeUInt32BE(height, at + 4)
      return inspectImage(bytes)
    }
    expect(sized(10_000, 2_500)).to.include({ contentType: 'image/avif', width: 10_000 })
    expect(sized(10_000, 2_501)).to.equal('too_many_pixels')
  })

  it('is no image without a pixel', () => {
    expect(inspectImage(saying(0, 9))).to.equal('not_an_image')
    expect(inspectImage(saying(9, 0))).to.equal('not_an_image')
  })

  it('is looked for behind profiles and previews, in the first bytes alone', async () => {
    let jpeg: Buffer = await plain(40, 30).jpeg().toBuffer()
    const segment = Buffer.alloc(65_000, 'ICC_PROFILE')
    while (jpeg.length + segment.length < INSPECTED_BYTES) jpeg = withSegment(jpeg, 0xe2, segment)
    const facts = { contentType: 'image/jpeg', width: 40, height: 30 }
    expect(inspectImage(jpeg)).to.deep.equal(facts)
    expect(inspectImage(jpeg.subarray(0, INSPECTED_BYTES))).to.deep.equal(facts)
    expect(inspectImage(withSegment(jpeg, 0xe2, segment))).to.equal('not_an_image')
  })

  it('is no AVIF that begins with more brands than there are', async () => {
    const avif = await plain(40, 30).avif().toBuffer()
    const brands = avif.readUInt32BE()
    const more = Buffer.concat([
      avif.subarray(0, brands),
      Buffer.alloc(1_020),
      avif.subarray(brands),
    ])
    more.writeUInt32BE(brands + 1_020)
    expect(inspectImage(more)).to.equal('not_an_image')
  })

  for (const [what, bytes] of Object.entries(HOSTILE)) {
    it(`is answered in time for ${what}`, () => {
      expect(timed(bytes)).to.equal('not_an_image')
    })
  }

  it('is answered in time for any bytes, and within the bounds', async () => {
    const images = await Promise.all(
      Object.values(kinds()).flatMap((all) => all.map((image) => image.toBuffer())),
    )
    const broken = fc
      .record({
        image: fc.constantFrom(...images),
        length: fc.nat(2_000),
        flips: fc.array(fc.record({ at: fc.nat(400), to: fc.nat(255) }), { maxLength: 4 }),
      })
      .map(({ image, length, flips }) => {
        const copy = Buffer.from(image.subarray(0, length))
        for (const { at, to } of flips) if (at < copy.length) copy[at] = to
        return copy
      })
    const anything = fc.oneof(fc.uint8Array({ maxLength: 4_000 }), broken)
    fc.assert(
      fc.property(anything, (bytes) => {
        const answer = timed(bytes)
        if (typeof answer === 'string') return
        expect(PHOTO_TYPES).to.include(answer.contentType)
        expect(answer.width).to.be.within(1, LONGEST_SIDE)
        expect(answer.height).to.be.within(1, LONGEST_SIDE)
        expect(answer.width * answer.height).to.be.at.most(MOST_PIXELS)
      }),
      { numRuns: 5_000 },
    )
  })
})
