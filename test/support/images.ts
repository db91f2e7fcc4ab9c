import { crc32, deflateSync } from 'node:zlib'
import sharp, { type Sharp } from 'sharp'

/** As a camera sees it: soft shades, and noise everywhere. */
export function photograph(width: number, height: number): Sharp {
  const data = Buffer.alloc(width * height * 3)
  let noise = 1
  for (let at = 0; at < data.length; at += 3) {
    const [x, y] = [(at / 3) % width, Math.floor(at / 3 / width)]
    noise = (noise * 48_271) % 2_147_483_647
    const grain = (noise % 29) - 14
    data[at] = 128 + 90 * Math.sin(x / 300) + grain
    data[at + 1] = 128 + 90 * Math.cos(y / 200) + grain
    data[at + 2] = 128 + 60 * Math.sin((x + y) / 500) + grain
  }
  return sharp(data, { raw: { width, height, channels: 3 } })
}

export const plain = (width: number, height: number, background = '#4080c0'): Sharp =>
  sharp({ create: { width, height, channels: 3, background } })

const chunk = (type: string, data: Buffer): Buffer => {
  const named = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const framed = Buffer.alloc(named.length + 8)
  framed.writeUInt32BE(data.length)
  named.copy(framed, 4)
  framed.writeUInt32BE(crc32(named), named.length + 4)
  return framed
}

/** A whole PNG in black, with a bit for each pixel: as small as a file of its size can be. */
export function blackPng(width: number, height: number): Buffer {
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header[8] = 1
  const rows = deflateSync(Buffer.alloc((Math.ceil(width / 8) + 1) * height))
  const signature = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1')
  const chunks = [chunk('IHDR', header), chunk('IDAT', rows), chunk('IEND', Buffer.alloc(0))]
  return Buffer.concat([signature, ...chunks])
}

/** With one more segment behind its first two bytes; `marker`: 0xe0 is APP0. */
export function withSegment(jpeg: Buffer, marker: number, data: Uint8Array): Buffer {
  const head = Buffer.from([0xff, marker, 0, 0])
  head.writeUInt16BE(data.length + 2, 2)
  return Buffer.concat([jpeg.subarray(0, 2), head, data, jpeg.subarray(2)])
}

/** What somebody might call a photo. */
export const NO_PHOTOS: Readonly<Record<string, () => Promise<Buffer> | Buffer>> = {
  'an SVG with a script': () =>
    Buffer.from(
      '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>',
    ),
  'a GIF': () => plain(9, 9).gif().toBuffer(),
  'a TIFF': () => plain(9, 9).tiff().toBuffer(),
  'a page of HTML': () => Buffer.from('<!doctype html><script>alert(1)</script>'),
  'a text': () => Buffer.from('photo.jpg'),
  'a PDF': () => Buffer.from('%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n'),
  'an archive': () => Buffer.from('PK\x03\x04 and so on', 'latin1'),
  'a JPEG behind a line of HTML': async () =>
    Buffer.concat([Buffer.from('<html>\n'), await plain(9, 9).jpeg().toBuffer()]),
  'an image in HEVC, as iPhones write it': async () => {
    const avif = await plain(9, 9).avif().toBuffer()
    return Buffer.from(avif.toString('latin1').replaceAll('avif', 'heic'), 'latin1')
  },
  'the start of a JPEG': async () => (await plain(9, 9).jpeg().toBuffer()).subarray(0, 24),
  'nothing at all': () => Buffer.alloc(0),
}
