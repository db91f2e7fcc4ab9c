import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { openLogFiles } from '../../../src/infra/local/log-files.ts'
import { shortLine } from '../../../src/infra/local/short-line.ts'

describe('The console of npm start', () => {
  const request = (facts: object) =>
    shortLine(
      'task-service',
      JSON.stringify({
        level: 'info',
        msg: 'request',
        method: 'GET',
        path: '/tasks',
        status: 200,
        response_ms: 3.41,
        duration_ms: 900,
        ...facts,
      }),
    )
  const line = (facts: object) => shortLine('worker', JSON.stringify(facts))

  it('shows a request in one short line', () => {
    expect(request({})).to.deep.equal({ text: 'GET /tasks 200 3 ms', isWarning: false })
    expect(request({ status: 404, path: '/tasks/9', code: 'task_not_found' })?.text).to.equal(
      'GET /tasks/9 404 3 ms task_not_found',
    )
    expect(request({ aborted: true })?.text).to.equal('GET /tasks 200 3 ms aborted')
  })

  it('does not show what machines ask each other, unless it fails', () => {
    for (const path of [
      ...[
        '/health',
        '/ready',
        '/auth/health',
        '/tasks/health',
        '/worker/health',
        '/v1/health',
        '/worker/metrics',
      ],
      ...['/auth/validate', '/auth/validate/batch', '/witness/health', '/add-checkpoint'],
    ]) {
      expect(request({ path }), path).to.equal(null)
      expect(request({ path, status: 500 }), path).not.to.equal(null)
    }
    for (const path of ['/auth/login', '/tasks/17', '/auth/validated']) {
      expect(request({ path }), path).not.to.equal(null)
    }
  })

  it('shows warnings with their reason, and no reports', () => {
    expect(line({ level: 'info', msg: 'projection lag', lag_seconds: 0 })).to.equal(null)
    expect(line({ level: 'warn', msg: 'cannot lead', err: 'no' })).to.deep.equal({
      text: 'worker warn: cannot lead: no',
      isWarning: true,
    })
    const err = { type: 'Error', message: 'no', stack: 'Error: no\n  at x' }
    expect(line({ level: 'error', msg: 'unexpected', err })?.text).to.equal(
      'worker error: unexpected: no',
    )
  })

  it('shows what is no log line as it is', () => {
    for (const text of ['LOG_KEY is missing.', '"text"', '17', '']) {
      expect(shortLine('worker', text)).to.deep.equal({ text: `worker: ${text}`, isWarning: true })
    }
  })
})

describe('The log files of npm start', () => {
  it('hold every line, in files of their own that only their owner reads, and are rotated', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'tasktrail-logs-'))
    const logs = await openLogFiles(join(directory, 'logs'), '100K')
    const long = 'x'.repeat(10_000)
    for (let n = 0; n < 75; n++) logs.write('worker', `${n} ${long}`)
    logs.write('gateway', 'one')
    await logs.close()
    const files = await readdir(join(directory, 'logs'))
    expect(files).to.include.members(['worker.log', 'gateway.log'])
    expect(files.filter((name) => /^worker\.\d\.log$/.test(name))).to.have.lengthOf(5)
    const read = (name: string) => readFile(join(directory, 'logs', name), 'utf8')
    expect(await read('gateway.log')).to.equal('one\n')
    const newest = (await read('worker.log')) || (await read('worker.1.log'))
    expect(newest.split('\n').at(-2)).to.match(/^74 /)
    for (const name of files) {
      const { mode } = await stat(join(directory, 'logs', name))
      // The library notes in one of its own which files it has written.
      if (name.endsWith('.log')) expect(mode & 0o777, name).to.equal(0o600)
    }
    await rm(directory, { recursive: true })
  })
})
