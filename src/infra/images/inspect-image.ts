import { imageDimensionsFromData } from 'image-dimensions'
import {
  type ImageInspector,
  INSPECTED_BYTES,
  LONGEST_SIDE,
  MOST_PIXELS,
} from '../../app/ports/images.ts'
import type { PhotoType } from '../../domain/task/photos.ts'

/** By the library's names. What it knows beyond that (GIF, HEIC) is nothing that we take. */
const TYPES: Readonly<Record<string, PhotoType>> = {
  jpeg: 'image/jpeg',
  png: 'image/png',
  webp: 'image/webp',
  avif: 'image/avif',
}

/**
 * A list of a million brands in an AVIF overflows the stack of the library, for one; it is not said to throw, nor that
 * it never does.
 */
function dimensionsOf(beginning: Uint8Array) {
  try {
    return imageDimensionsFromData(beginning.subarray(0, INSPECTED_BYTES))
  } catch {
    return undefined
  }
}

/** Reads a few fields in JavaScript and decodes nothing, so it may run in a process that holds secrets. */
export const inspectImage: ImageInspector = (beginning) => {
  const { type = '', width = 0, height = 0 } = dimensionsOf(beginning) ?? {}
  const contentType = TYPES[type]
  if (contentType === undefined || width === 0 || height === 0) return 'not_an_image'
  if (Math.max(width, height) > LONGEST_SIDE || width * height > MOST_PIXELS) {
    return 'too_many_pixels'
  }
  return { contentType, width, height }
}
