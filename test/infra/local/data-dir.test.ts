import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { findDatabase } from '../../../src/find-database.ts'
import { keepSecrets } from '../../../src/infra/local/data-dir.ts'

describe('The secrets under DATA_DIR', () => {
  let env: { DATA_DIR: string }
  let file: string
  beforeEach(async () => {
    env = { DATA_DIR: await mkdtemp(join(tmpdir(), 'tasktrail-secrets-')) }
    file = join(env.DATA_DIR, 'secrets.json')
  })
  afterEach(() => rm(env.DATA_DIR, { recursive: true }))

  it('are made up once, each its own, long enough for anybody', async () => {
    const secrets = await keepSecrets(env)
    expect(new Set(Object.values(secrets)).size).to.equal(8)
    for (const secret of Object.values(secrets)) expect(secret).to.match(/^[\w-]{43}$/)
    expect(await keepSecrets(env)).to.deep.equal(secrets)
  })

  it('are the same for all who ask first at the same time', async () => {
    const all = await Promise.all(Array.from({ length: 20 }, () => keepSecrets(env)))
    for (const secrets of all) expect(secrets).to.deep.equal(all[0])
    expect(await readdir(env.DATA_DIR)).to.deep.equal(['secrets.json'])
  })

  it('stay when others are added to them', async () => {
    const { DB_PASSWORD } = await keepSecrets(env)
    await writeFile(file, JSON.stringify({ DB_PASSWORD, JWT_SECRET: '' }))
    const secrets = await keepSecrets(env)
    expect(secrets.DB_PASSWORD).to.equal(DB_PASSWORD)
    expect(secrets.JWT_SECRET).to.have.lengthOf(43)
    expect(JSON.parse(await readFile(file, 'utf8'))).to.deep.equal(secrets)
  })
})

describe('The database of a command', () => {
  it('is the one that the environment names, whatever runs', async () => {
    const env = { DATA_DIR: '/nowhere', DATABASE_URL: 'postgres://me@db/x' }
    expect(await findDatabase(env)).to.deep.equal({
      connection: { connectionString: 'postgres://me@db/x' },
      poolMax: 10,
    })
  })
})
