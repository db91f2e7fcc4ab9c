import { spawnSync } from 'node:child_process'
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect } from 'chai'

const biome = createRequire(import.meta.url).resolve('@biomejs/biome/bin/biome')

const use = (module: string) => `import * as x from '${module}'\nconsole.log(x)\n`

const FORBIDDEN: readonly (readonly [file: string, code: string, rule: string])[] = [
  ['src/domain/x.ts', use('node:crypto'), 'noRestrictedImports'],
  ['src/domain/x.ts', use('zod'), 'noRestrictedImports'],
  ['src/domain/x.ts', use('../app/ports/audit.ts'), 'noRestrictedImports'],
  ['src/domain/task/x.ts', use('../../app/ports/audit.ts'), 'noRestrictedImports'],
  ['src/domain/task/x.ts', use('uuid'), 'noRestrictedImports'],
  ['src/app/x.ts', use('node:fs'), 'noRestrictedImports'],
  ['src/app/x.ts', use('zod'), 'noRestrictedImports'],
  ['src/app/x.ts', use('../infra/credentials/tokens.ts'), 'noRestrictedImports'],
  ['src/app/x.ts', use('../http/errors.ts'), 'noRestrictedImports'],
  ['src/infra/local/x.ts', use('../../http/errors.ts'), 'noRestrictedImports'],
  ['src/infra/postgres/tasks/x.ts', use('../../../http/errors.ts'), 'noRestrictedImports'],
  ['src/app/ports/x.ts', use('node:fs'), 'noRestrictedImports'],
  ['src/app/ports/x.ts', use('../../infra/credentials/tokens.ts'), 'noRestrictedImports'],
  ['src/infra/local/x.ts', use('../../config.ts'), 'noRestrictedImports'],
  ['src/infra/postgres/tasks/x.ts', use('../../../config.ts'), 'noRestrictedImports'],
  [
    'src/infra/postgres/projections/drift/x.ts',
    use('../../../../config.ts'),
    'noRestrictedImports',
  ],
  ['src/http/x.ts', use('../config.ts'), 'noRestrictedImports'],
  ['src/infra/local/x.ts', use('inversify'), 'noRestrictedImports'],
  ['src/http/x.ts', use('../infra/credentials/tokens.ts'), 'noRestrictedImports'],
  ['src/http/x.ts', use('pg'), 'noRestrictedImports'],
  ['src/http/x.ts', use('@aws-sdk/client-s3'), 'noRestrictedImports'],
  ['src/http/x.ts', use('inversify'), 'noRestrictedImports'],
  ['src/infra/local/x.ts', 'console.log(process.env.PORT)\n', 'noProcessEnv'],
  ['src/verifier/x.ts', use('../app/errors.ts'), 'noRestrictedImports'],
  ['src/verifier/x.ts', use('canonicalize'), 'noRestrictedImports'],
  ['src/transparency-log/x.ts', use('../verifier/formats.ts'), 'noRestrictedImports'],
  ['src/transparency-log/x.ts', use('../app/errors.ts'), 'noRestrictedImports'],
  ['src/transparency-log/x.ts', use('canonicalize'), 'noRestrictedImports'],
  ['src/domain/x.ts', use('../transparency-log/tree.ts'), 'noRestrictedImports'],
  ['src/domain/task/x.ts', use('../../transparency-log/tree.ts'), 'noRestrictedImports'],
  ['src/app/x.ts', use('../transparency-log/tree.ts'), 'noRestrictedImports'],
  ['src/app/ports/x.ts', use('../../transparency-log/tree.ts'), 'noRestrictedImports'],
  ['src/http/x.ts', 'process.exit(1)\n', 'plugin'],
  ['src/infra/postgres/tasks/x.ts', 'process.exit(1)\n', 'plugin'],
  ['src/x.ts', 'export enum Colour { Red }\n', 'noEnum'],
  ['src/x.ts', 'export default 1\n', 'noDefaultExport'],
  ['src/x.ts', 'export class X { constructor(private y: number) {} }\n', 'noParameterProperties'],
  ['src/x.ts', 'namespace X { export const y = 1 }\nconsole.log(X)\n', 'noNamespace'],
]

const ALLOWED: readonly (readonly [file: string, code: string])[] = [
  ['src/domain/x.ts', use('./errors.ts')],
  ['src/domain/task/x.ts', use('../errors.ts')],
  ['src/app/x.ts', use('../domain/errors.ts')],
  ['src/app/x.ts', use('./ports/audit.ts')],
  ['src/infra/postgres/tasks/x.ts', use('../../../app/ports/audit.ts')],
  ['src/app/ports/x.ts', use('../../domain/errors.ts')],
  ['src/app/ports/x.ts', use('../errors.ts')],
  ['src/infra/postgres/projections/drift/x.ts', use('../projection.ts')],
  ['src/http/x.ts', use('../app/ports/audit.ts')],
  ['src/infra/postgres/audit/x.ts', use('../../../verifier/trail.ts')],
  ['src/verifier/x.ts', use('./formats.ts')],
  ['src/verifier/x.ts', use('node:crypto')],
  ['src/transparency-log/x.ts', use('./tree.ts')],
  ['src/transparency-log/x.ts', use('node:crypto')],
  ['src/infra/local/x.ts', use('../../transparency-log/tree.ts')],
  ['src/infra/postgres/tasks/x.ts', use('../../../transparency-log/tree.ts')],
  ['src/http/x.ts', use('../transparency-log/tiles.ts')],
  ['src/verifier/x.ts', use('../transparency-log/tree.ts')],
  ['src/x.ts', use('./transparency-log/keys.ts')],
  ['src/x.ts', use('inversify')],
  ['src/x.ts', 'console.log(process.env.PORT)\nprocess.exit(1)\n'],
]

describe('The layer rules', () => {
  const cases = [...FORBIDDEN, ...ALLOWED].map(([file, code], index) => {
    return { file: file.replace('x.ts', `x${index}.ts`), code }
  })
  let root: string
  let findings: { category: string; location: { path: string } }[]

  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'tasktrail-layers-'))
    await cp('biome.json', join(root, 'biome.json'))
    await cp('lint', join(root, 'lint'), { recursive: true })
    for (const { file, code } of cases) {
      await mkdir(join(root, dirname(file)), { recursive: true })
      await writeFile(join(root, file), code)
    }
    const options = ['lint', '--vcs-enabled=false', '--reporter=json', '--max-diagnostics=none']
    const { stdout } = spawnSync(process.execPath, [biome, ...options], {
      cwd: root,
      encoding: 'utf8',
    })
    findings = JSON.parse(stdout).diagnostics
  })
  after(() => rm(root, { recursive: true }))

  const rulesBrokenBy = (index: number) =>
    findings
      .filter(({ location }) => location.path.endsWith(cases[index]?.file ?? ''))
      .map(({ category }) => category.split('/').at(-1))

  FORBIDDEN.forEach(([file, code, rule], index) => {
    it(`refuse in ${file}: ${code.split('\n')[0]}`, () => {
      expect(rulesBrokenBy(index)).to.include(rule)
    })
  })

  ALLOWED.forEach(([file, code], index) => {
    it(`allow in ${file}: ${code.split('\n')[0]}`, () => {
      const rules = ['noRestrictedImports', 'noProcessEnv', 'plugin']
      const broken = rulesBrokenBy(FORBIDDEN.length + index)
      expect(broken.filter((rule) => rules.includes(rule ?? ''))).to.deep.equal([])
    })
  })
})
