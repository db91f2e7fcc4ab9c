import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { expect } from 'chai'
import { startProcess } from '../support/processes.ts'

const SCRIPT = resolve('scripts/lint-templates.ts')

/** As cfn-lint writes it. */
const finding = (id: string, message: string, resource: string) => ({
  Filename: 'cdk.out/assembly-dev/network.template.json',
  Message: message,
  Rule: { Id: id },
  Location: { Path: ['Resources', resource, 'Properties'], Start: { LineNumber: 7 } },
})

describe('npm run lint:templates', () => {
  let place: string

  beforeEach(async () => {
    place = await mkdtemp(join(tmpdir(), 'tasktrail-lint-'))
  })
  afterEach(() => rm(place, { recursive: true, force: true }))

  const template = async () => {
    const file = join(place, 'cdk.out/assembly-dev/network.template.json')
    await mkdir(dirname(file), { recursive: true })
    const Resources = {
      Rule: { Type: 'AWS::ElasticLoadBalancingV2::ListenerRule' },
      Group: { Type: 'AWS::EC2::SecurityGroup' },
    }
    await writeFile(file, JSON.stringify({ Resources }))
  }
  /** A cfn-lint that says this. */
  const lintSays = async (text: string, status: number) => {
    const file = join(place, 'cfn-lint')
    await writeFile(file, `#!/bin/sh\ncat <<'END'\n${text}\nEND\nexit ${status}\n`)
    await chmod(file, 0o755)
  }
  const run = async () => {
    const PATH = `${place}:/usr/bin:/bin`
    const { ended, out, err } = startProcess(process.execPath, [SCRIPT], {
      cwd: place,
      env: { PATH },
    })
    return { ended: await ended, out, err }
  }

  it('names each finding and fails', async () => {
    await template()
    await lintSays(JSON.stringify([finding('E3012', 'no string', 'Group')]), 2)
    expect(await run()).to.deep.equal({
      ended: 'code 1',
      out: [],
      err: ['cdk.out/assembly-dev/network.template.json:7 E3012 no string'],
    })
  })

  it('lets pass only that older versions know no tags on four types', async () => {
    await template()
    const message = "Additional properties are not allowed ('Tags' was unexpected)"
    await lintSays(JSON.stringify([finding('E3002', message, 'Rule')]), 2)
    expect((await run()).ended).to.equal('code 0')
    await lintSays(JSON.stringify([finding('E3002', message, 'Group')]), 2)
    expect((await run()).ended).to.equal('code 1')
  })

  it('says in plain words that it was skipped where there is no cfn-lint', async () => {
    await template()
    const { ended, out } = await run()
    expect(ended).to.equal('code 0')
    expect(out.join()).to.match(/^SKIPPED: cfn-lint is not installed/)
  })

  it('fails when cfn-lint itself fails, and when there is nothing to check', async () => {
    await template()
    await lintSays('Traceback', 1)
    expect((await run()).err.join()).to.match(/^cfn-lint failed \(1\): Traceback/)
    await rm(join(place, 'cdk.out'), { recursive: true })
    expect((await run()).err).to.deep.equal([
      'There are no templates in cdk.out: run "npm run synth" first.',
    ])
  })
})
