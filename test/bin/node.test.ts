import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { allGone, startProcess } from '../support/processes.ts'

describe('bin/node.cjs', () => {
  let place: string
  before(async () => {
    place = await mkdtemp(join(tmpdir(), 'tasktrail-bin-'))
  })
  after(() => rm(place, { recursive: true, force: true }))

  /** With the node that is on the PATH, which may be an old one. */
  const launch = (...args: string[]) => startProcess('node', ['bin/node.cjs', ...args])
  const script = async (text: string) => {
    const file = join(place, `${Math.random()}.ts`)
    await writeFile(file, text)
    return file
  }
  const WAITS =
    'const n: number = 60_000; setTimeout(() => {}, n); console.log("up " + process.pid)'

  it('runs TypeScript on a node that can, with its arguments', async () => {
    const file = await script(
      'const [, , ...rest]: string[] = process.argv; console.log(process.versions.node, ...rest)',
    )
    const { out, ended } = launch(file, 'a b', '--c')
    expect(await ended).to.equal('code 0')
    const [, major, minor] = out[0]?.match(/^(\d+)\.(\d+)\.\d+ a b --c$/) ?? []
    expect(Number(major) * 100 + Number(minor)).to.be.at.least(2412)
  })

  it('keeps what TypeScript became beside the packages, or where it is told to', async () => {
    const file = await script('const where = process.env.NODE_COMPILE_CACHE; console.log(where)')
    const where = async (told: string) => {
      const env = { NODE_COMPILE_CACHE: told }
      const { out, ended } = startProcess('node', ['bin/node.cjs', file], { env })
      expect(await ended).to.equal('code 0')
      return out
    }
    expect(await where('')).to.eql([join(process.cwd(), 'node_modules/.cache/node')])
    const told = join(place, 'cache')
    expect(await where(told)).to.eql([told])
    expect(await readdir(told)).not.to.eql([])
  })

  it('ends with the exit code of the script', async () => {
    expect(await launch(await script('process.exit(7)')).ended).to.equal('code 7')
  })

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    it(`passes ${signal} on, and ends as the script does`, async () => {
      const handler = `process.on('${signal}', () => { console.log('heard'); process.exit(3) });`
      const handled = launch(await script(handler + WAITS))
      await handled.line(/^up/)
      handled.child.kill(signal)
      expect(await handled.ended).to.equal('code 3')
      expect(handled.out).to.include('heard')

      const unhandled = launch(await script(WAITS))
      const pid = Number((await unhandled.line(/^up/)).slice(3))
      unhandled.child.kill(signal)
      expect(await unhandled.ended).to.equal(`signal ${signal}`)
      await allGone([pid])
    })
  }
})
