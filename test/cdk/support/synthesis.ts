import { readFileSync } from 'node:fs'
import { App } from 'aws-cdk-lib'
import type { Environment } from '../../../cdk/config/schema.ts'
import { Tasktrail } from '../../../cdk/stage.ts'

export const STACKS = [
  'network',
  'registry',
  'data',
  'platform',
  'services',
  'observability',
  'edge',
] as const
export type StackName = (typeof STACKS)[number]

export type Resource = {
  readonly Type: string
  // biome-ignore lint/suspicious/noExplicitAny: a template is whatever CloudFormation takes
  readonly Properties: any
  readonly DependsOn?: readonly string[]
  readonly DeletionPolicy?: string
  readonly UpdateReplacePolicy?: string
}

export type Template = {
  readonly Resources: Readonly<Record<string, Resource>>
  readonly Outputs?: Readonly<Record<string, Output>>
  readonly Parameters?: Readonly<
    Record<string, { readonly Type: string; readonly Default?: unknown }>
  >
}

export type Output = { readonly Value: unknown; readonly Export?: { readonly Name: string } }

export type Synthesis = {
  readonly templates: Readonly<Record<StackName, Template>>
  /** Which stacks each stack is deployed after, as the CLI reads it. */
  readonly after: Readonly<Record<StackName, readonly StackName[]>>
  readonly stage: Tasktrail
  /** What it would have to ask the account for. */
  readonly missing: readonly Question[]
}

export type Question = {
  /** Where the answer stands in cdk.context.json. */
  readonly key: string
  readonly provider: string
  readonly props: object
}

export const CONTEXT: Record<string, unknown> = JSON.parse(readFileSync('cdk.json', 'utf8')).context

const done = new Map<string, Synthesis>()

/** All templates of an environment, made once, and without the rules of others. */
export function synthesise(environment: Environment, answers: object = {}): Synthesis {
  const key = JSON.stringify([environment, answers])
  const synthesis = done.get(key) ?? make(environment, answers)
  done.set(key, synthesis)
  return synthesis
}

function make(environment: Environment, answers: object): Synthesis {
  const before = process.env.CDK_VALIDATION
  process.env.CDK_VALIDATION = 'false'
  try {
    // No function is bundled: its code is tested as it stands.
    const app = new App({ context: { ...CONTEXT, ...answers, 'aws:cdk:bundling-stacks': [] } })
    const stage = new Tasktrail(app, 'test', environment)
    const { stacks, manifest } = app.synth().getNestedAssembly('assembly-test')
    const named = (id: string) => id.replace(/^test-?/, '').replace(/[0-9A-F]{8}$/, '') as StackName
    return {
      stage,
      missing: manifest.missing ?? [],
      templates: {
        ...NO_EDGE,
        ...byName(stacks.map(({ id, template }) => [named(id), template as Template])),
      },
      after: byName(
        stacks.map(({ id, dependencies }) => {
          const stacksBefore = dependencies.filter((artifact) => 'template' in artifact)
          return [named(id), stacksBefore.map((artifact) => named(artifact.id)).sort()]
        }),
      ),
    }
  } finally {
    if (before === undefined) delete process.env.CDK_VALIDATION
    else process.env.CDK_VALIDATION = before
  }
}

/** Most environments have none. */
const NO_EDGE = { edge: { Resources: {} } }

const byName = <T>(entries: readonly (readonly [StackName, T])[]) =>
  Object.fromEntries(entries) as Record<StackName, T>

/** The resources of a type, by logical id. */
export const ofType = ({ Resources }: Template, type: string): readonly [string, Resource][] =>
  Object.entries(Resources).filter(([, { Type }]) => Type === type)

/** The properties of all resources of a type. */
export const properties = (template: Template, type: string) =>
  ofType(template, type).map(([, { Properties }]) => Properties)

/** The one whose properties are meant; an error says how many there are otherwise. */
export function only(template: Template, type: string, match: object = {}) {
  const found = properties(template, type).filter((candidate) =>
    Object.entries(match).every(([key, value]) => candidate[key] === value),
  )
  if (found.length !== 1) throw new Error(`${found.length} ${type} like ${JSON.stringify(match)}`)
  return found[0]
}
