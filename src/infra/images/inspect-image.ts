import { imageDimensionsFromData } from 'image-dimensions'
import {
  type ImageInspector,
  INSPECTED_BYTES,
  LONGEST_SIDE,
  MOST_PIXELS,
  MOST_PIXELS_OF_AVIF,
} from '../../app/ports/images.ts'
import type { PhotoType } from '../../domain/task/photos.ts'

/** By the library's names. What it knows beyond that (GIF, HEIC) is nothing that we take. */
const TYPES: Readonly<Record<string, PhotoType>> = {
  jpeg: 'image/jpeg',
  png: 'image/png',
  webp: 'image/webp',
  avif: 'image/avif',
}

/** Of the list of brands that an AVIF begins with; one is some tens of bytes long. */
const LONGEST_BRANDS = 1_024

/**
 * An AVIF says all before its pixels, its colour profile included. A megabyte of boxes without any would keep the
 * library busy for half a second.
 */
const AVIF_BYTES = 131_072

/** What is looked at. The library makes a text of each brand, before it compares any: a list without end is no image. */
function inspected(bytes: Uint8Array): Uint8Array {
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 8))
  if (start.toString('latin1', 4) !== 'ftyp') return bytes.subarray(0, INSPECTED_BYTES)
  return bytes.subarray(0, start.readUInt32BE() > LONGEST_BRANDS ? 0 : AVIF_BYTES)
}

function dimensionsOf(bytes: Uint8Array) {
  try {
    return imageDimensionsFromData(inspected(bytes))
  } catch {
    // It passes each association of an AVIF as an argument of its own, and 300,000 of them are too many for a call.
    return undefined
  }
}

/** Reads a few fields in JavaScript and decodes nothing, so it may run in a process that holds secrets. */
export const inspectImage: ImageInspector = (beginning) => {
  const { type = '', width = 0, height = 0 } = dimensionsOf(beginning) ?? {}
  const contentType = TYPES[type]
  if (contentType === undefined || width === 0 || height === 0) return 'not_an_image'
  const most = contentType === 'image/avif' ? MOST_PIXELS_OF_AVIF : MOST_PIXELS
  if (Math.max(width, height) > LONGEST_SIDE || width * height > most) {
    return 'too_many_pixels'
  }
  return { contentType, width, height }
}
