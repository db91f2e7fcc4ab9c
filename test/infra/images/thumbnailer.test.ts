import { expect } from 'chai'
import fc from 'fast-check'
import sharp from 'sharp'
import { THUMBNAIL_SIDES, type Thumbnail, type Thumbnails } from '../../../src/app/ports/images.ts'
import { vipsThumbnailer } from '../../../src/infra/images/thumbnailer.ts'
import { blackPng, NO_PHOTOS, photograph, plain, withSegment } from '../../support/images.ts'

/** For AVIF, which takes seconds otherwise. */
const QUICKLY = { effort: 1, palette: false }

const MARKER = 'REMEMBER-WHERE-I-LIVE'
const CORNERS = ['#ff0000', '#00ff00', '#0000ff', '#ffffff'] as const

/** By the orientation that a camera writes: where each stored corner (0 to 3, row by row) is shown. */
const SHOWN: Readonly<Record<number, readonly number[]>> = {
  1: [0, 1, 2, 3],
  2: [1, 0, 3, 2],
  3: [3, 2, 1, 0],
  4: [2, 3, 0, 1],
  5: [0, 2, 1, 3],
  6: [2, 0, 3, 1],
  7: [3, 1, 2, 0],
  8: [1, 3, 0, 2],
}

/** Four corners in colours of their own. */
const cornered = (width: number, height: number) =>
  plain(width, height).composite(
    CORNERS.map((background, corner) => ({
      input: { create: { width: width / 2, height: height / 2, channels: 3, background } },
      left: corner % 2 === 0 ? 0 : width / 2,
      top: corner < 2 ? 0 : height / 2,
    })),
  )

const colour = ([r = 0, g = 0, b = 0]: readonly number[]): string =>
  `#${[r, g, b].map((value) => (value > 128 ? 'ff' : '00')).join('')}`

describe('Thumbnails', function () {
  this.timeout(60_000)
  const thumbnailer = vipsThumbnailer()

  const made = async (image: Uint8Array): Promise<Thumbnails> => {
    const answer = await thumbnailer(image)
    if (typeof answer === 'string') throw new Error(answer)
    return answer
  }
  const pixel = async ({ bytes }: Thumbnail, x: number, y: number): Promise<number[]> => {
    const { data, info } = await sharp(bytes).raw().toBuffer({ resolveWithObject: true })
    const at = (y * info.width + x) * info.channels
    return [...data.subarray(at, at + info.channels)]
  }

  for (const format of ['jpeg', 'png', 'webp', 'avif'] as const) {
    it(`of a ${format} are WebP in two sizes that keep its shape`, async () => {
      const thumbnails = await made(
        await photograph(2_000, 1_000).toFormat(format, QUICKLY).toBuffer(),
      )
      expect(thumbnails.small).to.include({ width: 320, height: 160 })
      expect(thumbnails.large).to.include({ width: 1_280, height: 640 })
      for (const { bytes, width, height } of Object.values(thumbnails)) {
        expect(await sharp(bytes).metadata()).to.include({ format: 'webp', width, height })
      }
    })
  }

  it('are never larger than the image', async () => {
    const small = await made(await plain(200, 20).png().toBuffer())
    expect(small.small).to.include({ width: 200, height: 20 })
    expect(small.large).to.include({ width: 200, height: 20 })
    const between = await made(await plain(500, 1_000).png().toBuffer())
    expect(between.small).to.include({ width: 160, height: 320 })
    expect(between.large).to.include({ width: 500, height: 1_000 })
  })

  it('of an image that is very wide have a pixel of height', async () => {
    const { small } = await made(await plain(20_000, 2).png().toBuffer())
    expect(small).to.include({ width: THUMBNAIL_SIDES.small, height: 1 })
  })

  for (const [orientation, shown] of Object.entries(SHOWN)) {
    it(`are upright, whichever way the camera was held: ${orientation}`, async () => {
      const stored = cornered(1_600, 800).withMetadata({ orientation: Number(orientation) })
      const { small, large } = await made(await stored.jpeg().toBuffer())
      const [width, height] = Number(orientation) < 5 ? [1_280, 640] : [640, 1_280]
      expect(large).to.include({ width, height })
      const corners = [
        [2, 2],
        [small.width - 3, 2],
        [2, small.height - 3],
        [small.width - 3, small.height - 3],
      ] as const
      const seen = await Promise.all(corners.map(([x, y]) => pixel(small, x, y)))
      expect(seen.map(colour)).to.deep.equal(shown.map((corner) => CORNERS[corner]))
    })
  }

  it('are made of an image with a small fault, as cameras write them', async () => {
    const jpeg = await plain(400, 300).jpeg().toBuffer()
    // APP0 ends here.
    const odd = Buffer.concat([jpeg.subarray(0, 20), Buffer.alloc(2), jpeg.subarray(20)])
    expect(await thumbnailer(odd)).to.be.an('object')
  })

  it('have nothing of what was beside the pixels: place, names, comments, profiles', async () => {
    const described = plain(400, 300)
      .withExif({
        IFD0: { ImageDescription: MARKER, Artist: MARKER },
        IFD3: { GPSLatitudeRef: 'N', GPSLatitude: '51/1 30/1 0/1', GPSAreaInformation: MARKER },
      })
      .withXmp(`<x:xmpmeta xmlns:x="adobe:ns:meta/"><a>${MARKER}</a></x:xmpmeta>`)
      .withIccProfile('p3')
    const iptc = Buffer.from(
      `Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x1a\x1c\x02\x78\0\x15${MARKER}`,
      'latin1',
    )
    const jpeg = await described.clone().jpeg().toBuffer()
    const images = {
      jpeg: withSegment(withSegment(jpeg, 0xfe, Buffer.from(MARKER)), 0xed, iptc),
      png: await described.clone().png().toBuffer(),
      webp: await described.clone().webp().toBuffer(),
      avif: await described.clone().avif().toBuffer(),
    }
    const before = await sharp(images.jpeg).metadata()
    expect(before).to.include.keys('exif', 'xmp', 'iptc', 'icc', 'orientation')
    for (const [format, image] of Object.entries(images)) {
      expect(image.includes(MARKER), format).to.equal(true)
      for (const { bytes } of Object.values(await made(image))) {
        expect(Buffer.from(bytes).includes(MARKER)).to.equal(false)
        const after = await sharp(bytes).metadata()
        expect(after).to.not.have.any.keys('exif', 'xmp', 'iptc', 'icc', 'orientation', 'comments')
      }
    }
  })

  it('have the colours of sRGB, whatever profile the image was in', async () => {
    const wide = await plain(400, 400, '#c86432').withIccProfile('p3').png().toBuffer()
    const asStored = await sharp(wide, { ignoreIcc: true }).raw().toBuffer()
    expect([...asStored.subarray(0, 3)]).to.not.deep.equal([200, 100, 50])
    const print = await plain(400, 400, '#c86432').toColourspace('cmyk').jpeg().toBuffer()
    const grey = await plain(400, 400, '#646464').toColourspace('b-w').png().toBuffer()
    const deep = await plain(400, 400, '#c86432').toColourspace('rgb16').png().toBuffer()
    const near = async (image: Buffer, expected: readonly number[], most: number) => {
      const { small } = await made(image)
      expect(await sharp(small.bytes).metadata()).to.include({ space: 'srgb' })
      const seen = await pixel(small, 9, 9)
      for (const [n, value] of expected.entries()) expect(seen[n]).to.be.closeTo(value, most)
    }
    await near(wide, [200, 100, 50], 4)
    await near(print, [200, 100, 50], 30)
    await near(grey, [100, 100, 100], 4)
    await near(deep, [200, 100, 50], 4)
  })

  it('are as transparent as the image', async () => {
    const half = plain(800, 800).ensureAlpha(0.5)
    for (const image of [await half.png().toBuffer(), await half.webp().toBuffer()]) {
      const { small } = await made(image)
      expect((await pixel(small, 9, 9))[3]).to.be.closeTo(128, 2)
    }
    const { small } = await made(await plain(800, 800).png().toBuffer())
    expect(await pixel(small, 9, 9)).to.have.lengthOf(3)
  })

  it('show the first image of an animation', async () => {
    const [first, second] = await Promise.all(
      ['#ff0000', '#0000ff'].map((shade) => plain(400, 300, shade).raw().toBuffer()),
    )
    const both = Buffer.concat([first as Buffer, second as Buffer])
    const animation = await sharp(both, {
      raw: { width: 400, height: 600, channels: 3, pageHeight: 300 },
    })
      .webp()
      .toBuffer()
    expect(await sharp(animation).metadata()).to.include({ pages: 2 })
    const { small } = await made(animation)
    expect(small).to.include({ width: 320, height: 240 })
    expect(colour(await pixel(small, 9, 9))).to.equal('#ff0000')
    expect(await sharp(small.bytes).metadata()).to.not.have.any.keys('pages')
  })

  describe('are not made', () => {
    for (const [what, bytes] of Object.entries(NO_PHOTOS)) {
      it(`of ${what}`, async () => {
        expect(await thumbnailer(await bytes())).to.equal('not_decodable')
      })
    }

    for (const format of ['jpeg', 'png', 'webp', 'avif'] as const) {
      it(`of a ${format} that is cut off`, async () => {
        const whole = await photograph(400, 300).toFormat(format).toBuffer()
        for (const share of [0.3, 0.6, 0.9]) {
          const part = whole.subarray(0, whole.length * share)
          expect(await thumbnailer(part), `${share}`).to.equal('not_decodable')
        }
      })
    }

    it('of an image with more pixels than we take, which costs neither time nor memory', async () => {
      const bomb = blackPng(30_000, 30_000)
      expect(bomb.length).to.be.below(200_000)
      const [began, before] = [process.cpuUsage(), process.memoryUsage.rss()]
      for (let n = 0; n < 20; n++) expect(await thumbnailer(bomb)).to.equal('too_many_pixels')
      expect(process.cpuUsage(began).user).to.be.below(500_000)
      expect(process.memoryUsage.rss() - before).to.be.below(20e6)
    })

    it('of one that says another size outside than inside', async () => {
      const avif = await plain(2_000, 1_000).avif().toBuffer()
      const at = avif.indexOf('ispe') + 8
      avif.writeUInt32BE(16, at)
      avif.writeUInt32BE(16, at + 4)
      expect(await thumbnailer(avif)).to.equal('not_decodable')
    })

    it('by the decoders of libvips that no photo needs', async () => {
      for (const what of ['an SVG with a script', 'a GIF', 'a TIFF']) {
        const refused = await sharp(await NO_PHOTOS[what]?.())
          .metadata()
          .catch((error) => error)
        expect(refused, what).to.be.instanceOf(Error)
      }
      const file = await sharp('package.json')
        .metadata()
        .catch((error) => error)
      expect(file).to.be.instanceOf(Error)
    })
  })

  it('are made, or not, of any broken image, and nothing else happens', async () => {
    const images = await Promise.all(
      (['jpeg', 'png', 'webp', 'avif'] as const).map((format) =>
        photograph(64, 48).toFormat(format).toBuffer(),
      ),
    )
    const flips = fc.array(fc.record({ at: fc.nat(9_999), to: fc.nat(255) }), { maxLength: 5 })
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...images), flips, async (image, changes) => {
        const copy = Buffer.from(image)
        for (const { at, to } of changes) copy[at % copy.length] = to
        const answer = await thumbnailer(copy)
        if (typeof answer === 'string') {
          expect(answer).to.be.oneOf(['not_decodable', 'too_many_pixels'])
        } else {
          expect(answer.small.width).to.be.within(1, THUMBNAIL_SIDES.small)
          expect(answer.large.height).to.be.within(1, THUMBNAIL_SIDES.large)
        }
      }),
      { numRuns: 200 },
    )
  })
})
