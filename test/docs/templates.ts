import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { App } from 'aws-cdk-lib'
import type { Environment } from '../../cdk/config/schema.ts'
import { Tasktrail } from '../../cdk/stage.ts'

type Properties = Record<string, unknown>
export type Resource = {
  readonly stack: string
  readonly id: string
  readonly type: string
  // biome-ignore lint/suspicious/noExplicitAny: whatever CloudFormation has there
  readonly props: any
}

export type Templates = {
  readonly ofType: (type: string) => readonly Resource[]
  /** The properties of a resource with everything that refers to another one written as its name. */
  // biome-ignore lint/suspicious/noExplicitAny: whatever CloudFormation has there
  readonly plain: (resource: Resource) => any
}

/** What `cdk/` makes of an environment, without bundling and without the linters. */
export async function templatesOf(environment: Environment): Promise<Templates> {
  const { context } = JSON.parse(readFileSync('cdk.json', 'utf8'))
  const outdir = await mkdtemp(join(tmpdir(), 'tasktrail-synth-'))
  try {
    const app = new App({
      outdir,
      context: {
        ...context,
        'aws:cdk:bundling-stacks': [],
        '@aws-cdk/core:validateAgainstDefaultRules': false,
      },
    })
    const stage = new Tasktrail(app, environment.name, environment)
    return read(stage.synth().stacks)
  } finally {
    await rm(outdir, { recursive: true, force: true })
  }
}

function read(stacks: readonly { readonly stackName: string; readonly template: Template }[]) {
  const resources = stacks.flatMap(({ stackName: stack, template }) =>
    Object.entries(template.Resources).map(
      ([id, { Type: type, Properties: props = {} }]): Resource => ({ stack, id, type, props }),
    ),
  )
  const exports = new Map(
    stacks.flatMap(({ stackName, template }) =>
      Object.values(template.Outputs ?? {}).map(
        ({ Value, Export }) => [Export?.Name, { stackName, Value }] as const,
      ),
    ),
  )

  const parameters = new Map(
    resources
      .filter(({ type }) => type === 'AWS::SSM::Parameter')
      .map(({ stack, props }) => [props.Name, { stack, value: props.Value }] as const),
  )
  const read = new Map(
    stacks.flatMap(({ stackName, template }) =>
      Object.entries(template.Parameters ?? {}).map(
        ([id, { Default }]) => [`${stackName} ${id}`, parameters.get(Default)] as const,
      ),
    ),
  )

  const nameOf = (stack: string, id: string): string => {
    const parameter = read.get(`${stack} ${id}`)
    if (parameter !== undefined) return String(plain(parameter.stack, parameter.value))
    const found = resources.find((resource) => resource.stack === stack && resource.id === id)
    const name = found && NAMES.map((key) => found.props[key]).find((value) => value !== undefined)
    return name === undefined ? id : String(plain(stack, name))
  }

  function plain(stack: string, value: unknown): unknown {
    if (Array.isArray(value)) return value.map((item) => plain(stack, item))
    if (typeof value !== 'object' || value === null) return value
    const entries = Object.entries(value)
    const [[key = '', argument = undefined] = []] = entries
    if (entries.length === 1 && key.match(/^(Ref|Fn::)/)) return intrinsic(stack, key, argument)
    return Object.fromEntries(entries.map(([name, item]) => [name, plain(stack, item)]))
  }

  function intrinsic(stack: string, key: string, argument: unknown): unknown {
    switch (key) {
      case 'Ref':
        return nameOf(stack, String(argument))
      case 'Fn::GetAtt': {
        const [id, attribute] = argument as readonly [string, string]
        return /^(Arn|GroupId|LoadBalancerFullName|TargetGroupFullName|Id)$/.test(attribute)
          ? nameOf(stack, id)
          : `${nameOf(stack, id)}.${attribute}`
      }
      case 'Fn::ImportValue': {
        const exported = exports.get(String(argument))
        return exported && plain(exported.stackName, exported.Value)
      }
      case 'Fn::Join': {
        const [separator, parts] = argument as readonly [string, readonly unknown[]]
        return parts.map((part) => String(plain(stack, part))).join(separator)
      }
      default:
        return key
    }
  }

  return {
    ofType: (type: string) => resources.filter((resource) => resource.type === type),
    plain: ({ stack, props }: Resource) => plain(stack, props),
  }
}

type Template = {
  readonly Parameters?: Record<string, { readonly Default?: unknown }>
  readonly Resources: Record<string, { readonly Type: string; readonly Properties?: Properties }>
  readonly Outputs?: Record<
    string,
    { readonly Value: unknown; readonly Export?: { readonly Name: string } }
  >
}

/** Properties that hold a resource's name, whatever its type calls it. */
const NAMES = [
  'GroupName',
  'LogGroupName',
  'RepositoryName',
  'RoleName',
  'PolicyName',
  'AlarmName',
  'TopicName',
  'DBInstanceIdentifier',
  'Name',
]
