import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import pg from 'pg'
import packageJson from '../package.json' with { type: 'json' }
import { type TestDatabase, testDatabase } from './support/postgres.ts'
import { startProcess } from './support/processes.ts'

const SCRIPTS = Object.entries(packageJson.scripts)
/** Node's first argument that is a file of this repository's own. */
const isOwn = ([, script]: readonly [string, string]) => / (src|bench|scripts)\//.test(script)

/** Others answer for their own command lines. */
const OTHERS = /node_modules\/(mocha|typescript|aws-cdk)\/bin\/|^biome |npm (test|run) /

describe('Each command of package.json', () => {
  let database: TestDatabase
  let place: string

  before(async () => {
    database = await testDatabase()
    place = await mkdtemp(join(tmpdir(), 'tasktrail-usage-'))
  })
  after(async () => {
    await database.drop()
    await rm(place, { recursive: true })
  })

  const run = async (script: string, args: string) => {
    const env = { DATABASE_URL: database.url, DATA_DIR: place }
    const { ended, out, err } = startProcess('sh', ['-c', `${script} ${args}`], { env })
    return { ended: await ended, out, err }
  }
  /** All of the database that a command could have changed, and what is kept beside one. */
  const state = async () => {
    const sql = new pg.Client(database.url)
    await sql.connect()
    const { rows } = await sql.query(
      `select (select count(*) from knex_migrations) as migrations,
        (select count(*) from pg_class) as objects`,
    )
    await sql.end()
    return [...rows, ...(await readdir(place)), ...(await readdir('db/migrations'))]
  }

  it('is one of ours or of a tool', () => {
    for (const script of SCRIPTS) {
      expect(isOwn(script) || OTHERS.test(script[1]), script[0]).to.equal(true)
    }
  })

  for (const [name, script] of SCRIPTS.filter(isOwn)) {
    it(`says how ${name} is used, and does nothing`, async () => {
      const before = await state()
      const help = await run(script, '--help')
      const command = name === 'start' ? 'npm start' : `npm run (-s )?${name}`
      expect(help.err).to.deep.equal([])
      expect(help.ended).to.equal('code 0')
      expect(help.out[0]).to.match(/^Usage: npm (run|start)/)
      const others = '[^a-z:-]'
      expect(help.out.join('\n')).to.match(new RegExp(`${command}($|${others})`, 'm'))
      expect(await run(script, '--nonsense')).to.deep.equal({
        ended: 'code 2',
        out: [],
        err: ["Unknown option '--nonsense'.", '', ...help.out],
      })
      expect(await state()).to.deep.equal(before)
    })
  }

  it('refuses more arguments than it takes', async () => {
    const { ended, err, out } = await run('node bin/node.cjs src/log-key.ts', 'more')
    expect({ ended, out }).to.deep.equal({ ended: 'code 2', out: [] })
    expect(err[0]).to.equal("Unexpected argument 'more'.")
  })
})
