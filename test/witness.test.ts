import { mkdtemp, readdir, rm, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import { until } from './support/processes.ts'
import { type TestLog, testLog } from './support/test-log.ts'
import { type StartedWitness, witnessProcesses } from './support/witness-processes.ts'

const KILLS = Number(process.env.WITNESS_KILLS ?? 4)

describe('The witness as a process', () => {
  let directory: string
  let log: TestLog
  let processes: ReturnType<typeof witnessProcesses>

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'witness-process-'))
    log = testLog()
    processes = witnessProcesses(join(directory, 'store'), [log.key])
  })
  afterEach(async () => {
    processes.killAll()
    await rm(directory, { recursive: true })
  })

  /** One that has cosigned eight leaves, and was killed since. */
  const startedAgain = async (): Promise<StartedWitness> => {
    log.grow(8)
    const first = await processes.start()
    expect((await first.add(await log.request(0))).status).to.equal(200)
    first.child.kill('SIGKILL')
    await first.ended
    return processes.start()
  }

  it('says all that its environment misses or holds that makes no sense, at once', async () => {
    const { ended, err } = processes.spawn({
      WITNESS_KEY: 'brief',
      WITNESS_DIR: '',
      WITNESS_LOGS: 'x',
      WITNESS_NAME: 'a b',
    })
    expect(await ended).to.equal('code 1')
    expect(err).to.deep.equal([
      'The environment is not complete: WITNESS_DIR is missing. ' +
        'The environment is malformed: WITNESS_KEY must be at least 32 characters long; ' +
        'WITNESS_NAME must be a name without spaces and +, such as tasktrail.example/log; ' +
        'WITNESS_LOGS must be verifier keys of logs, separated by commas.',
    ])
  })

  it('refuses a log that was rolled back', async () => {
    const witness = await startedAgain()
    for (const old of [0, 5]) {
      const answer = await witness.add(await log.request(old, 5))
      expect(answer).to.include({ status: 409, body: '8\n' })
    }
  })

  it('refuses a fork: another root of the same size', async () => {
    const witness = await startedAgain()
    log.grow(1, 'forged', 7)
    expect(await witness.add(await log.request(8))).to.include({ status: 409, body: '8\n' })
  })

  it('refuses a log that was made anew, and one that goes on from a fork', async () => {
    const witness = await startedAgain()
    log.grow(30, 'new', 0)
    expect(await witness.add(await log.request(0))).to.include({ status: 409, body: '8\n' })
    expect((await witness.add(await log.request(8))).status).to.equal(422)
    expect(await witness.logs()).to.deep.equal([{ origin: log.origin, size: 8 }])
    const lines = witness.out.map((line) => JSON.parse(line))
    const evidence = lines.find(({ msg }) => msg === 'a checkpoint does not extend the last one')
    expect(evidence).to.include({ level: 'error', origin: log.origin, size: 8, note: log.text(30) })
  })

  it('has lost nothing that it answered, whenever it is killed', async () => {
    let [answered, sent] = [0, 0]
    for (let kills = 0; kills < KILLS; kills++) {
      const witness = await processes.start()
      // What it stored before it could answer is not lost either.
      const { size = -1 } = (await witness.logs())[0] ?? {}
      expect(size).to.be.within(answered, sent)
      let doomed: Promise<unknown> | undefined
      for (let n = 0; !witness.child.killed; n++) {
        const at = n === 0 ? size : sent
        sent = log.grow(1, 'leaf', at)
        if (n === 3) doomed = sleep(Math.random() * 20).then(() => witness.child.kill('SIGKILL'))
        const answer = await witness.add(await log.request(at)).catch(() => null)
        if (answer === null) break
        expect(answer.status).to.equal(200)
        answered = sent
      }
      await doomed
      await witness.ended
    }
    expect(answered).to.be.at.least(3 * KILLS)
  })

  it('ends with a sentence when its store is damaged', async () => {
    const witness = await startedAgain()
    witness.child.kill('SIGKILL')
    await witness.ended
    const store = join(directory, 'store')
    const [name = ''] = (await readdir(store)).filter((name) => name.endsWith('.note'))
    await truncate(join(store, name), 40)
    const { ended, err } = processes.spawn()
    expect(await ended).to.equal('code 1')
    expect(err).to.deep.equal([
      `${join(store, name)} is damaged, or this is not the WITNESS_KEY or WITNESS_NAME that it was cosigned with.`,
    ])
  })

  it('takes over a store when the one before lets go of it, and not before', async () => {
    const first = await processes.start()
    log.grow(2)
    await first.add(await log.request(0, 1))
    const second = processes.start()
    let isUp = false
    const up = second.then(() => {
      isUp = true
    })
    expect((await first.add(await log.request(1))).status).to.equal(200)
    expect(isUp).to.equal(false)
    first.child.kill('SIGTERM')
    expect(await first.ended).to.equal('code 0')
    await up
    expect(await (await second).logs()).to.deep.equal([{ origin: log.origin, size: 2 }])
  })

  it('answers what was begun before it ends', async () => {
    const witness = await processes.start({ DRAIN_SECONDS: '1' })
    log.grow(1)
    const request = await log.request(0)
    witness.child.kill('SIGTERM')
    await until(() => witness.out.some((line) => line.includes('"stopping"')), 'its end')
    expect((await witness.add(request)).status).to.equal(200)
    expect(await witness.ended).to.equal('code 0')
  })
})
