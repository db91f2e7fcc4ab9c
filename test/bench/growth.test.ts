import { expect } from 'chai'
import { startProcess } from '../support/processes.ts'

/** What a bench prints in its short form, which ends it with an error if an answer is wrong. */
async function shown(script: string): Promise<string> {
  const { ended, out, err } = startProcess(process.execPath, [script, '--quick'])
  expect(await ended, err.join('\n')).to.equal('code 0')
  return out.join('\n')
}

describe('The measurements of how cost grows', function () {
  this.timeout(180_000)

  it('run, with every answer right, for tasks with few and many versions', async () => {
    const text = await shown('bench/versions.ts')
    for (const name of [
      'PUT',
      'undo',
      'GET',
      'GET \\?version= the middle',
      'history, the last page',
    ]) {
      expect(text).to.match(new RegExp(`^${name} +\\d.* ms`, 'm'))
    }
    expect(text).to.match(/^undo after 497 changes were undone: \d/m)
  })

  it('run, with every answer right, for users with few and many tasks', async () => {
    const text = await shown('bench/growth.ts')
    for (const name of ['GET /tasks\\?sort=-created_at', 'PUT /tasks/:id']) {
      expect(text).to.match(new RegExp(`^${name} +\\d.* ms`, 'm'))
    }
  })
})
