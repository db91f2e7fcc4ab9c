// `npm run lint:templates`, after `npm run synth`: cfn-lint over all templates in cdk.out.
import { spawnSync } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { command } from '../src/command-line.ts'

type Finding = {
  readonly Filename: string
  readonly Message: string
  readonly Rule: { readonly Id: string }
  readonly Location: {
    readonly Path: readonly (string | number)[] | null
    readonly Start: { readonly LineNumber: number }
  }
}

/** Rules whose findings are harmless here. */
const SILENT = [
  'W3005', // The library adds dependencies on what it refers to; that is harmless.
  'W6001', // The command to migrate by hand names a security group of another stack.
  'W3691', // RDS accepts the major version alone, and chooses the minor one itself.
]
/** CloudFormation now supports tags on these; the schemas of older cfn-lints do not know it. */
const TAGGED = [
  'AWS::ApplicationAutoScaling::ScalableTarget',
  'AWS::CloudWatch::Dashboard',
  'AWS::ElasticLoadBalancingV2::Listener',
  'AWS::ElasticLoadBalancingV2::ListenerRule',
]

const isKnown = ({ Filename, Message, Rule, Location }: Finding): boolean => {
  if (Rule.Id !== 'E3002' || !Message.includes("'Tags' was unexpected")) return false
  const { Resources } = JSON.parse(readFileSync(Filename, 'utf8'))
  return TAGGED.includes(Resources[Location.Path?.[1] ?? '']?.Type)
}

function lint(): readonly string[] {
  const templates = globSync('cdk.out/**/*.template.json')
  if (templates.length === 0) {
    throw new Error('There are no templates in cdk.out: run "npm run synth" first.')
  }
  const args = ['--format', 'json', '--ignore-checks', ...SILENT, '--', ...templates]
  const { error, status, stdout, stderr } = spawnSync('cfn-lint', args, {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  })
  if ((error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT') {
    return [
      'SKIPPED: cfn-lint is not installed (pip install cfn-lint), so no template was checked.',
    ]
  }
  // The output of a successful run is just a list of findings.
  if (!stdout.startsWith('[')) {
    throw new Error(`cfn-lint failed (${error?.message ?? status}): ${stderr}${stdout}`.trim())
  }
  const unknown = (JSON.parse(stdout) as readonly Finding[]).filter((one) => !isKnown(one))
  if (unknown.length > 0) throw new Error(unknown.map(inOneLine).join('\n'))
  return [`cfn-lint finds nothing in ${templates.length} templates.`]
}

const inOneLine = ({ Filename, Location, Rule, Message }: Finding): string =>
  `${Filename}:${Location.Start.LineNumber} ${Rule.Id} ${Message}`

await command({ usage: 'Usage: npm run lint:templates' }, lint)
