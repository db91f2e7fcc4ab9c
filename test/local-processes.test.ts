import { readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'chai'
import { npmStart } from './support/npm-start.ts'
import { allGone, isRunning, until } from './support/processes.ts'

const KILLS = Number(process.env.POSTGRES_KILLS ?? 3)
const APART_MS = 1_200

describe('npm start', function () {
  this.timeout(240_000)
  const { begin, end, makeData, removeData, pids, place, ...local } = npmStart()
  const { run, start, startAgain, stop, processes, processOf, call, post, login } = local

  before(makeData)
  after(removeData)
  beforeEach(begin)
  afterEach(end)

  describe('watches its processes', () => {
    it('and starts again what dies, at the same address', async () => {
      const runner = await startAgain()
      const token = await login()
      const mortals = ['auth-service', 'task-service', 'worker', 'witness', 'postgres'] as const
      for (const name of mortals) {
        const { pid, address } = processOf(runner, name)
        process.kill(pid, 'SIGKILL')
        const line = await runner.line(new RegExp(`^${name} died`))
        const again = Number(line.match(/pid (\d+)/)?.[1])
        pids.push(again)
        expect(line).to.equal(
          `${name} died (signal SIGKILL), started again: pid ${again}, ${address}`,
        )
        expect(isRunning(again)).to.equal(true)
        // The services find their database again by themselves.
        await until(
          async () => (await post('/tasks', { title: name }, token)).status === 201,
          `a task after the death of ${name}`,
        )
      }
      expect((await call('/tasks', { token })).body.tasks).to.have.lengthOf(mortals.length)
      await stop(runner)
    })

    it(`and writes go on after each of ${KILLS} kills of PostgreSQL, 1.2 s apart`, async function () {
      this.timeout(60_000 + KILLS * 30_000)
      const runner = await startAgain({ RATE_LIMIT_PER_SECOND: '0' })
      const token = await login()
      let { pid } = processOf(runner, 'postgres')
      const seconds: number[] = []
      for (let kill = 1; kill <= KILLS; kill++) {
        await sleep(APART_MS)
        const began = performance.now()
        process.kill(pid, 'SIGKILL')
        await until(async () => {
          const died = runner.out.filter((line) => line.startsWith('postgres died')).at(kill - 1)
          pid = Number(died?.match(/pid (\d+)/)?.[1])
          return died !== undefined
        }, 'another PostgreSQL')
        pids.push(pid)
        await until(
          async () => (await post('/tasks', { title: `${kill}` }, token)).status === 201,
          `a task after kill ${kill}`,
        )
        seconds.push((performance.now() - began) / 1_000)
      }
      // Only where nothing else keeps the machine busy.
      if (process.env.POSTGRES_KILLS !== undefined) {
        console.log(seconds.map((s) => s.toFixed(2)).join(' '))
        expect(Math.max(...seconds)).to.be.lessThan(2)
      }
      await stop(runner)
    })

    it('and stops what it has started again', async () => {
      const runner = await startAgain()
      process.kill(processOf(runner, 'task-service').pid, 'SIGKILL')
      const line = await runner.line(/^task-service died/)
      const again = Number(line.match(/pid (\d+)/)?.[1])
      pids.push(again)
      await stop(runner)
      expect(isRunning(again)).to.equal(false)
    })
  })

  describe('stops everything', () => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      it(`on ${signal}, with exit code 0`, async () => {
        const runner = await startAgain()
        await stop(runner, signal)
        expect(readdirSync(place('data', 'postgres'))).not.to.include('postmaster.pid')
        expect(runner.out.at(-1)).to.equal('Tasktrail is stopping.')
      })
    }

    it('on the first of many signals', async () => {
      const runner = await startAgain()
      const impatient = setInterval(() => runner.child.kill('SIGINT'), 5)
      expect(await runner.ended).to.equal('code 0')
      clearInterval(impatient)
      await allGone(processes(runner).map(({ pid }) => pid))
      expect(runner.out.filter((line) => /stopping/.test(line))).to.have.lengthOf(1)
    })

    it('on a signal while it starts', async () => {
      for (const moment of [/^(postgres|witness)/, /^((auth|task)-service|worker) /]) {
        const runner = run()
        await runner.line(moment)
        await stop(runner, 'SIGINT')
        expect(runner.out.filter((line) => /ready/.test(line))).to.deep.equal([])
      }
    })

    it('when it is killed, and starts again at once', async () => {
      const first = await startAgain()
      const token = await login()
      process.kill(first.pid, 'SIGKILL')
      const second = await start()
      await allGone(processes(first).map(({ pid }) => pid))
      expect((await call('/tasks', { token })).status).to.equal(200)
      await stop(second)
    })

    it('when its launcher is killed', async () => {
      const launcher = await startAgain({}, [process.execPath, 'bin/node.cjs', 'src/local.ts'])
      expect(processOf(launcher, 'gateway').pid).not.to.equal(launcher.pid)
      process.kill(launcher.pid, 'SIGKILL')
      await allGone(processes(launcher).map(({ pid }) => pid))
    })

    it('when npm is killed', async () => {
      const npm = await startAgain({ HOME: place() }, ['npm', 'start'])
      process.kill(npm.pid, 'SIGKILL')
      await allGone(processes(npm).map(({ pid }) => pid))
    })

    it('when npm is told to stop', async () => {
      await stop(await startAgain({ HOME: place() }, ['npm', 'start']), 'SIGTERM')
    })
  })
})
