// Makes the thumbnails of one image, which the process that has started this one sends; that one ends it, too.
// It has no settings, no secrets and no connection, so that whoever gets further than an image should finds nothing.
import { writeFileSync } from 'node:fs'
import { vipsThumbnailer } from './infra/images/thumbnailer.ts'
import type { Made } from './infra/images/thumbnails-apart.ts'

// Linux ends this process, and not the worker, when memory runs out.
if (process.platform === 'linux') writeFileSync('/proc/self/oom_score_adj', '1000')

// Nobody waits any more.
process.once('disconnect', () => process.exit())

process.once('message', async (image: Uint8Array) => {
  const made = await vipsThumbnailer()(image).catch((error): Made => ({ fault: String(error) }))
  process.send?.(made)
})
