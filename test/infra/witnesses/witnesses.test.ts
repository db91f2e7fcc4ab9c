import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import type { Log } from '../../../src/app/ports/process.ts'
import { witnessConfig } from '../../../src/config.ts'
import { secretWitnessSigner } from '../../../src/infra/credentials/note-signers.ts'
import { WitnessContradicts } from '../../../src/infra/witnesses/witness-contradicts.ts'
import { type Witnesses, witnesses } from '../../../src/infra/witnesses/witnesses.ts'
import type { Running } from '../../../src/process.ts'
import { readPolicy } from '../../../src/transparency-log/policy.ts'
import { verifiedBy } from '../../../src/transparency-log/signed-note.ts'
import { witness } from '../../../src/witness.ts'
import { silent } from '../../support/log.ts'
import { type TestLog, testLog } from '../../support/test-log.ts'

type Line = { readonly level: string; readonly facts: object; readonly message: string }

describe('The witnesses of a log', () => {
  let directory: string
  let log: TestLog
  let lines: Line[]
  const ends: (() => Promise<unknown>)[] = []

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'witnesses-'))
    log = testLog()
    lines = []
  })
  afterEach(async () => {
    for (const end of ends.splice(0)) await end()
    await rm(directory, { recursive: true })
  })

  const note = (level: string) => (facts: object, message: string) =>
    void lines.push({ level, facts, message })
  const noted: Log = { info: note('info'), warn: note('warn'), error: note('error') }
  const said = () => lines.map(({ message }) => message)

  const secretOf = (name: string) => name.padEnd(32, '.')
  const keyOf = (name: string) => secretWitnessSigner(name, secretOf(name), Date.now).key
  /** A real witness in this process. */
  const start = async (name: string, port = 0, store = name) => {
    const config = witnessConfig({
      WITNESS_KEY: secretOf(name),
      WITNESS_NAME: name,
      WITNESS_DIR: join(directory, store),
      WITNESS_LOGS: log.key.text,
    })
    const running: Running = await witness(config, silent, () => new Date())
    const address = await running.service.listen(port, '127.0.0.1')
    let isUp = true
    const stop = async () => {
      if (!isUp) return
      isUp = false
      await running.service.close(0)
      await running.dispose()
    }
    ends.push(stop)
    return { name, url: `http://127.0.0.1:${address.port}`, port: address.port, stop }
  }
  /** What answers in place of a witness. */
  const standIn = async (name: string, answer: RequestListener) => {
    const server: Server = createServer(answer).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    ends.push(async () => {
      server.closeAllConnections()
      server.close()
    })
    return { name, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
  }
  type Place = { readonly name: string; readonly url: string }
  const ask = (places: readonly Place[], needed: string, timeoutMs = 5_000): Witnesses => {
    const list = places.map(({ name, url }) => `witness ${name} ${keyOf(name).text} ${url}/`)
    const members = places.map(({ name }) => name).join(' ')
    const policy = [...list, `group all-of-them ${needed} ${members}`, 'quorum all-of-them']
    return witnesses(readPolicy(policy.join('\n')), { log: noted, timeoutMs })
  }
  const cosign = async (by: Witnesses, size = log.size()) =>
    by.cosign(await log.note(size), size, async (from) => log.prove(from, size))
  const refused = (by: Witnesses, size?: number): Promise<unknown> =>
    cosign(by, size).then(
      () => 'cosigned',
      (error) => error,
    )
  const signedBy = ({ note }: { readonly note: string }, places: readonly Place[]) => {
    const keys = [log.key, ...places.map(({ name }) => keyOf(name))]
    return verifiedBy(note, keys)?.map(({ name }) => name)
  }

  it('all sign what extends what they know', async () => {
    const places = await Promise.all([start('one'), start('two')])
    const all = ask(places, 'all')
    for (const size of [0, 1, 7, 300]) {
      log.grow(size - log.size())
      const answer = await cosign(all)
      expect(answer.met).to.equal(true)
      expect(signedBy(answer, places)).to.deep.equal([log.origin, 'one', 'two'])
    }
    expect(said()).to.deep.equal([])
  })

  it('sign the same checkpoint again, also for a process that does not know where they are', async () => {
    const one = await start('one')
    log.grow(9)
    await cosign(ask([one], 'all'))
    const again = ask([one], 'all')
    for (let n = 0; n < 2; n++) expect((await cosign(again)).met).to.equal(true)
    log.grow(3)
    expect((await cosign(ask([one], 'all'))).met).to.equal(true)
  })

  it('may be at different sizes', async () => {
    const [one, two] = await Promise.all([start('one'), start('two')])
    log.grow(5)
    await cosign(ask([one], 'all'))
    log.grow(5)
    expect((await cosign(ask([one, two], 'all'))).met).to.equal(true)
  })

  describe('who know a log that this one does not extend', () => {
    const cases: readonly (readonly [what: string, size: number, change: () => void])[] = [
      ['more leaves', 8, () => log.grow(0, 'leaf', 5)],
      ['another root of the same size', 8, () => log.grow(1, 'forged', 7)],
      ['another past', 8, () => log.grow(4, 'forged', 7)],
      ['a log that was begun anew', 4, () => log.grow(20, 'new', 0)],
      ['a log that was emptied', 4, () => log.grow(0, 'new', 0)],
    ]
    for (const [what, size, change] of cases) {
      it(`end it: ${what}`, async () => {
        const one = await start('one')
        log.grow(size)
        const known = ask([one], 'all')
        await cosign(known)
        change()
        for (const by of [known, ask([one], 'all')]) {
          const error = await refused(by)
          expect(error).to.be.instanceOf(WitnessContradicts)
          expect(error).to.include({ witness: 'one', size })
          expect((error as Error).message).to.match(
            RegExp(`^the witness one has cosigned ${size} leaves, `),
          )
        }
      })
    }

    it('end it also when enough others sign, until they sign themselves', async () => {
      const [one, two] = await Promise.all([start('one'), start('two')])
      log.grow(8)
      await cosign(ask([two], 'all'))
      log.grow(1, 'forged', 7)
      const both = ask([one, two], 'any')
      expect(await refused(both)).to.be.instanceOf(WitnessContradicts)
      await one.stop()
      await two.stop()
      // Nobody has taken it back.
      expect(await refused(both)).to.be.instanceOf(WitnessContradicts)
      await start('two', two.port)
      log.grow(1, 'leaf', 7)
      expect((await cosign(both)).met).to.equal(true)
    })

    it('end nothing for good when another process was only faster', async () => {
      const one = await start('one')
      log.grow(5)
      const late = ask([one], 'all')
      await cosign(late)
      log.grow(5)
      await cosign(ask([one], 'all'))
      expect(await refused(late, 7)).to.be.instanceOf(WitnessContradicts)
      expect((await cosign(late)).met).to.equal(true)
    })
  })

  it('who are away do not count, and hold up nobody', async () => {
    const one = await start('one')
    const hanging = await standIn('slow', () => {})
    const away = { name: 'away', url: 'http://127.0.0.1:9' }
    log.grow(3)
    const places = [one, hanging, away]
    const any = ask(places, 'any', 60_000)
    for (let n = 0; n < 3; n++) {
      const answer = await cosign(any)
      expect(answer.met).to.equal(true)
      expect(signedBy(answer, places)).to.deep.equal([log.origin, 'one'])
    }
    const two = await cosign(ask(places, '2', 100))
    expect(two.met).to.equal(false)
    expect(signedBy(two, places)).to.deep.equal([log.origin, 'one'])
    expect(lines.map(({ facts }) => facts)).to.deep.include({
      witness: 'slow',
      reason: 'it did not answer in time',
    })
  })

  it('who come back sign again; each is reported once', async () => {
    const one = await start('one')
    const by = ask([one], 'all')
    log.grow(3)
    await cosign(by)
    await one.stop()
    for (let n = 0; n < 3; n++) expect((await cosign(by)).met).to.equal(false)
    await start('one', one.port)
    log.grow(3)
    expect((await cosign(by)).met).to.equal(true)
    expect(said()).to.deep.equal(['a witness does not sign', 'a witness signs again'])
  })

  it('who have lost their memory sign, and are reported', async () => {
    const one = await start('one')
    const by = ask([one], 'all')
    log.grow(3)
    await cosign(by)
    await one.stop()
    await start('one', one.port, 'an empty store')
    log.grow(3)
    expect((await cosign(by)).met).to.equal(true)
    expect(lines).to.deep.equal([
      {
        level: 'warn',
        facts: { witness: 'one', known: 3, stands: 0 },
        message: 'a witness knows less than before',
      },
    ])
  })

  it('do not count by what is no signature of theirs over this checkpoint', async () => {
    log.grow(3)
    const text = log.text(3)
    const own = secretWitnessSigner('odd', secretOf('odd'), Date.now)
    const stranger = secretWitnessSigner('odd', secretOf('stranger'), Date.now)
    const answers = [
      '',
      'thanks\n',
      await stranger.sign(text),
      await own.sign(log.text(2)),
      (await own.sign(text)).trimEnd(),
      `${await own.sign(text)}\n`,
      'x'.repeat(100_000),
    ]
    for (const answer of answers) {
      const odd = await standIn('odd', (_, response) => void response.end(answer))
      const { note, met } = await cosign(ask([odd], 'all'))
      expect(met, answer).to.equal(false)
      expect(note).to.equal(await log.note(3))
    }
    const good = `${await stranger.sign(text)}${await own.sign(text)}`
    const odd = await standIn('odd', (_, response) => void response.end(good))
    const answer = await cosign(ask([odd], 'all'))
    expect(answer.met).to.equal(true)
    expect(answer.note).to.equal(`${await log.note(3)}${good.split('\n')[1]}\n`)
  })

  it('who answer nonsense do not count, and do not end it', async () => {
    log.grow(3)
    const nonsense: readonly (readonly [status: number, type: string, body: string])[] = [
      [500, 'text/plain', 'sorry'],
      [403, 'text/plain', ''],
      [404, 'text/plain', ''],
      [400, 'text/plain', ''],
      [302, 'text/plain', ''],
      [409, 'text/plain', '2\n'],
      [409, 'text/x.tlog.size', '2'],
      [409, 'text/x.tlog.size', 'two\n'],
      [409, 'text/x.tlog.size', '0\n'],
    ]
    for (const [status, type, body] of nonsense) {
      const odd = await standIn('odd', (_, response) => {
        response.writeHead(status, { 'content-type': type, location: '/elsewhere' }).end(body)
      })
      expect((await cosign(ask([odd], 'all'))).met, `${status} ${body}`).to.equal(false)
    }
  })

  it('are asked once more at most, at the size that they name', async () => {
    log.grow(9)
    const olds: string[] = []
    const odd = await standIn('odd', (request, response) => {
      request.setEncoding('utf8').on('data', (data) => olds.push(data.split('\n')[0]))
      response.writeHead(409, { 'content-type': 'text/x.tlog.size' }).end(`${olds.length + 4}\n`)
    })
    expect((await cosign(ask([odd], 'all'))).met).to.equal(false)
    expect(olds).to.have.length(2)
  })

  it('who are named without a URL are not asked', async () => {
    log.grow(1)
    const policy = readPolicy(`witness w ${keyOf('w').text}\nquorum none`)
    const answer = await cosign(witnesses(policy, { log: noted }))
    expect(answer).to.deep.equal({ note: await log.note(1), met: true })
  })
})
