import type { PhotoType } from '../../domain/task/photos.ts'

/** Width times height. What decodes an image needs four bytes for each of them, in the worst case. */
export const MOST_PIXELS = 100_000_000
/** Its decoder takes twenty bytes for each: half a gigabyte. */
export const MOST_PIXELS_OF_AVIF = 25_000_000

/** Of either side. */
export const LONGEST_SIDE = 30_000

/**
 * How many of the first bytes show what an image is: a JPEG may have its place, its colours and a preview before its
 * size, of which a colour profile for print alone takes 550 kB.
 */
export const INSPECTED_BYTES = 1_048_576

/** In pixels as they are stored, so before the image is turned upright. */
export type ImageFacts = {
  readonly contentType: PhotoType
  readonly width: number
  readonly height: number
}

/**
 * What these bytes are, whatever anybody calls them; more than `INSPECTED_BYTES` are not looked at. `not_an_image`:
 * none of the types that a photo may be, or its size is not said among them. Says nothing about what follows: an image
 * that is damaged further on has a size, too. Never throws.
 */
export type ImageInspector = (
  beginning: Uint8Array,
) => ImageFacts | 'not_an_image' | 'too_many_pixels'

/** A WebP without any metadata: upright, in sRGB, as transparent as the image was. */
export type Thumbnail = {
  readonly bytes: Uint8Array
  readonly width: number
  readonly height: number
}

/** The longer side of each, in pixels; none is larger than its image. */
export const THUMBNAIL_SIDES = { small: 320, large: 1280 } as const

export type Thumbnails = Readonly<Record<keyof typeof THUMBNAIL_SIDES, Thumbnail>>

/**
 * Makes both of a whole image, of an animation's first. `not_decodable`: this is no image, or is damaged, or takes
 * longer than it may, and so it will be the next time. A rejection is a fault of ours.
 */
export type Thumbnailer = (
  image: Uint8Array,
) => Promise<Thumbnails | 'not_decodable' | 'too_many_pixels'>
