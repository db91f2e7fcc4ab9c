import sharp, { type OutputInfo } from 'sharp'
import {
  MOST_PIXELS,
  THUMBNAIL_SIDES,
  type Thumbnail,
  type Thumbnailer,
} from '../../app/ports/images.ts'
import { inspectImage } from './inspect-image.ts'

const QUALITY = 80
/** A photo takes half a second, the largest image that we take some seconds; decoding only. */
const TIMEOUT_SECONDS = 30

// Of all that libvips can read, from a file or from memory, only this: an SVG names files, a TIFF or GIF is what nobody
// may upload. The setting is the process's.
sharp.block({ operation: ['VipsForeignLoad'] })
sharp.unblock({
  operation: [
    'VipsForeignLoadJpegBuffer',
    'VipsForeignLoadPngBuffer',
    'VipsForeignLoadWebpBuffer',
    'VipsForeignLoadHeifBuffer',
  ],
})
// No image is looked at twice, and the work of one is to take one core.
sharp.cache(false)
sharp.concurrency(1)

/** Pixels in sRGB, three channels or four. */
type Pixels = { readonly data: Buffer; readonly info: OutputInfo }

const fitting = (side: number) =>
  ({ width: side, height: side, fit: 'inside', withoutEnlargement: true }) as const

/**
 * Decodes once, and shrinks while it does (a JPEG in its decoder already). A warning is no reason to refuse: cameras
 * write files that warn, and what is cut off is an error.
 */
const decode = (image: Uint8Array): Promise<Pixels> =>
  sharp(image, {
    failOn: 'error',
    limitInputPixels: MOST_PIXELS,
    sequentialRead: true,
    autoOrient: true,
  })
    .timeout({ seconds: TIMEOUT_SECONDS })
    .resize(fitting(THUMBNAIL_SIDES.large))
    .raw()
    .toBuffer({ resolveWithObject: true })

/** From pixels alone, so nothing that was beside them in the image can be in it. */
async function thumbnail({ data, info }: Pixels, side: number): Promise<Thumbnail> {
  const { width, height, channels } = info
  const encoded = await sharp(data, { raw: { width, height, channels } })
    .resize(fitting(side))
    .webp({ quality: QUALITY })
    .toBuffer({ resolveWithObject: true })
  return { bytes: encoded.data, width: encoded.info.width, height: encoded.info.height }
}

/**
 * By libvips. It sees only what begins as one of our types, with a size that we take; where it finds another size than
 * we did, the image is one that it cannot decode.
 */
export function vipsThumbnailer(): Thumbnailer {
  return async (image) => {
    const facts = inspectImage(image)
    if (facts === 'too_many_pixels') return facts
    if (facts === 'not_an_image') return 'not_decodable'
    const pixels = await decode(image).catch(() => null)
    if (pixels === null) return 'not_decodable'
    const large = await thumbnail(pixels, THUMBNAIL_SIDES.large)
    return { small: await thumbnail(pixels, THUMBNAIL_SIDES.small), large }
  }
}
