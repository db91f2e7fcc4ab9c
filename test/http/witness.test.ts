import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { witnessConfig } from '../../src/config.ts'
import type { Running } from '../../src/process.ts'
import { writeAddCheckpoint } from '../../src/transparency-log/add-checkpoint.ts'
import { parseVerifierKey } from '../../src/transparency-log/keys.ts'
import { verifiedBy, writeNote } from '../../src/transparency-log/signed-note.ts'
import { leafHash } from '../../src/transparency-log/tree.ts'
import { witness } from '../../src/witness.ts'
import { silent } from '../support/log.ts'
import { type TestLog, testLog } from '../support/test-log.ts'
import { addCheckpoint } from '../support/witness-processes.ts'

describe('The witness over HTTP', () => {
  let directory: string
  let log: TestLog
  let running: Running
  let url: string

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'witness-http-'))
    log = testLog()
    const config = witnessConfig({
      WITNESS_KEY: 'w'.repeat(32),
      WITNESS_DIR: directory,
      WITNESS_LOGS: log.key.text,
    })
    running = await witness(config, silent, () => new Date())
    url = `http://127.0.0.1:${(await running.service.listen(0, '127.0.0.1')).port}`
    log.grow(7)
    await add(log.request(0, 5))
  })
  afterEach(async () => {
    await running.service.close(0)
    await running.dispose()
    await rm(directory, { recursive: true })
  })

  const add = async (request: string | Promise<string>) => addCheckpoint(url, await request)
  const health = async () => {
    const response = await fetch(`${url}/witness/health`)
    // biome-ignore lint/suspicious/noExplicitAny: each test looks for something else in it
    const body: any = await response.json()
    return { status: response.status, body }
  }

  it('answers 200 with its signature lines', async () => {
    const { status, body } = await add(log.request(5))
    expect(status).to.equal(200)
    const key = parseVerifierKey((await health()).body.keys[0])
    const found = key && verifiedBy(writeNote(log.text(7), [body]), [key])
    expect(found).to.deep.equal([key])
  })

  const refusals: readonly (readonly [
    status: number,
    what: string,
    request: () => Promise<string>,
  ])[] = [
    [400, 'what is no such request', async () => 'old 5\n'],
    [400, 'an old size above the new one', async () => log.request(5, 4)],
    [
      403,
      'a checkpoint that the log has not signed',
      async () => {
        const forger = testLog(log.origin, 'another secret')
        forger.grow(7)
        return forger.request(5)
      },
    ],
    [404, 'a log that it does not know', async () => testLog('other.test/log').request(0)],
    [409, 'an old size at which it does not stand', async () => log.request(4)],
    [
      409,
      'another root of the size at which it stands',
      async () => {
        log.grow(1, 'forged', 4)
        return log.request(5)
      },
    ],
    [
      422,
      'a proof that is wrong',
      async () => writeAddCheckpoint({ old: 5, proof: [leafHash('x')], note: await log.note(7) }),
    ],
    [413, 'more than 64 KiB', async () => `${await log.request(5)}${'x'.repeat(64 * 1024)}`],
  ]
  for (const [status, what, request] of refusals) {
    it(`answers ${status} to ${what}`, async () => {
      const answer = await add(request())
      expect(answer.status).to.equal(status)
      if (status === 409) {
        expect(answer).to.deep.equal({ status, type: 'text/x.tlog.size', body: '5\n' })
      }
      expect((await health()).body.logs).to.deep.equal([{ origin: log.origin, size: 5 }])
      expect((await add(log.request(5))).status).to.equal(
        status === 409 && log.size() === 5 ? 409 : 200,
      )
    })
  }

  it('takes a request of exactly 64 KiB', async () => {
    const request = `${await log.request(5)}`
    const more = 'x'.repeat(64 * 1024 - Buffer.byteLength(request))
    expect((await add(request + more)).status).to.equal(400)
  })

  it('says who it is and how far the logs are', async () => {
    const { status, body } = await health()
    expect(status).to.equal(200)
    expect(body).to.deep.include({
      status: 'healthy',
      service: 'witness',
      logs: [{ origin: log.origin, size: 5 }],
    })
    expect(body.keys).to.have.length(1)
    expect(parseVerifierKey(body.keys[0])?.name).to.equal('tasktrail.local/witness')
  })

  it('has nothing else', async () => {
    expect((await fetch(`${url}/add-checkpoint`)).status).to.equal(405)
    expect((await fetch(`${url}/`)).status).to.equal(404)
  })
})
