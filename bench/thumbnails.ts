import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { commandLine } from '../src/command-line.ts'
import { thumbnailsApart } from '../src/infra/images/thumbnails-apart.ts'
import { photograph } from '../test/support/images.ts'
import { percentile } from './percentile.ts'
import type { Course } from './thumbnails-of.ts'

const LINE = {
  usage: `Usage: npm run bench:thumbnails [-- --quick]

Measures how long both thumbnails of a photo with 12 megapixels take in each format, in a process that goes on; and in
one that begins with each image, as the worker has it, which is where memory counts. Fails if a JPEG takes more than
500 ms there, or more than 150 MB, all of that process included.

  --quick    small photos, and each once: shows that it runs`,
  options: { quick: { type: 'boolean' } },
} as const

const QUICK = commandLine(LINE).values.quick === true
const [WIDTH, HEIGHT] = QUICK ? [800, 600] : [4_000, 3_000]
const ROUNDS = QUICK ? 1 : 15
const MOST_MS = 500
const MOST_MB = 150

const photo = photograph(WIDTH, HEIGHT)
const FORMATS = {
  jpeg: () => photo.clone().jpeg({ quality: 92 }),
  'jpeg, progressive': () => photo.clone().jpeg({ quality: 92, progressive: true }),
  'jpeg, on its side': () => photo.clone().withMetadata({ orientation: 6 }).jpeg({ quality: 92 }),
  png: () => photo.clone().png(),
  webp: () => photo.clone().webp({ quality: 90 }),
  avif: () => photo.clone().avif({ quality: 60, effort: 1 }),
} as const

const PROGRAM = fileURLToPath(new URL('./thumbnails-of.ts', import.meta.url))

async function courseOf(file: string, rounds: number): Promise<Course> {
  const { stdout } = await promisify(execFile)(process.execPath, [PROGRAM, file, `${rounds}`])
  return JSON.parse(stdout)
}

const apart = thumbnailsApart({
  program: fileURLToPath(new URL('../src/thumbnails.ts', import.meta.url)),
})

async function timesApart(file: string): Promise<readonly number[]> {
  const image = await readFile(file)
  const times: number[] = []
  while (times.length < ROUNDS) {
    const began = performance.now()
    const made = await apart(image)
    if (typeof made === 'string') throw new Error(`${file} is ${made}`)
    times.push(performance.now() - began)
  }
  return times
}

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1)

const directory = await mkdtemp(join(tmpdir(), 'tasktrail-thumbnails-'))
try {
  for (const [name, image] of Object.entries(FORMATS)) {
    const file = join(directory, 'photo')
    await writeFile(file, await image().toBuffer())
    const { elapsed, cpu } = await courseOf(file, ROUNDS)
    const { peak } = await courseOf(file, 1)
    const own = percentile(await timesApart(file), 0.5)
    console.log(
      `${name}, ${WIDTH} x ${HEIGHT}, ${megabytes((await stat(file)).size)} MB:`,
      `median ${percentile(elapsed, 0.5).toFixed(0)} ms, CPU ${percentile(cpu, 0.5).toFixed(0)} ms;`,
      `in a process of its own ${own.toFixed(0)} ms, at most ${megabytes(peak)} MB`,
    )
    if (QUICK || name !== 'jpeg') continue
    const isMissed = own > MOST_MS || peak > MOST_MB * 1e6
    console.log(`${isMissed ? 'MISSED' : 'met'}: at most ${MOST_MS} ms and ${MOST_MB} MB for it`)
    if (isMissed) process.exitCode = 1
  }
} finally {
  await rm(directory, { recursive: true, force: true })
}
