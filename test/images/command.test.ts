import { expect } from 'chai'
import { checkBase, versionOf } from '../../scripts/images.ts'
import { startProcess } from '../support/processes.ts'

describe('npm run images', () => {
  it('takes a semantic version as tag, with or without the v of a git tag', () => {
    expect(versionOf('v1.2.3')).to.equal('1.2.3')
    expect(versionOf('1.2.3')).to.equal('1.2.3')
    expect(versionOf('v10.0.0-rc.1')).to.equal('10.0.0-rc.1')
  })

  it('refuses every other tag', () => {
    for (const tag of [
      'latest',
      '',
      'v',
      '1',
      '1.2',
      '01.2.3',
      '1.2.3.4',
      'vv1.2.3',
      '1.2.3+b',
      'prod',
    ]) {
      expect(() => versionOf(tag), tag).to.throw('is not a semantic version')
    }
  })

  it('says so in one sentence before it builds anything', async () => {
    const command = startProcess(process.execPath, ['scripts/images.ts', '--tag', 'latest'])
    expect(await command.ended).to.equal('code 2')
    expect(command.out).to.deep.equal([])
    expect(command.err[0]).to.equal(
      '"latest" is not a semantic version: use one such as v1.2.3, which never moves.',
    )
  })

  it('takes for a registry only a base that is named by its digest', async () => {
    const base = 'docker.io/library/node:24-bookworm-slim'
    const digest = `sha256:${'0123456789abcdef'.repeat(4)}`
    expect(() => checkBase(base, undefined)).to.not.throw()
    expect(() => checkBase(`${base}@${digest}`, 'registry.example')).to.not.throw()
    expect(() => checkBase(`${base}@sha256:0123`, 'registry.example')).to.throw('by its digest')
    const command = startProcess(process.execPath, [
      ...['scripts/images.ts', '--tag', 'v1.2.3', '--repository', 'registry.example'],
      ...['--base', base],
    ])
    expect(await command.ended).to.equal('code 2')
    expect(command.out).to.deep.equal([])
    expect(command.err[0]).to.equal(
      `For registry.example name the base by its digest: --base ${base}@sha256:<digest>.`,
    )
  })

  it('says what is missing on a machine that cannot build', async () => {
    const nowhere = { env: { PATH: '/nowhere' } }
    const command = startProcess(
      process.execPath,
      ['scripts/images.ts', '--tag', 'v1.2.3'],
      nowhere,
    )
    expect(await command.ended).to.equal('code 1')
    expect(command.err).to.deep.equal([
      'There is neither a Docker engine nor buildah: start one, or install the other.',
    ])
  })
})
