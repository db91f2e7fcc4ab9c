import { nameOf, within } from './references.ts'
import { ofType, STACKS, type StackName, type Synthesis } from './synthesis.ts'

export type Statement = {
  readonly role: string
  readonly stack: StackName
  readonly effect: string
  readonly actions: readonly string[]
  readonly resources: readonly unknown[]
  // biome-ignore lint/suspicious/noExplicitAny: conditions have any shape
  readonly conditions: any
}

const list = <T>(value: T | readonly T[] | undefined): readonly T[] =>
  value === undefined ? [] : Array.isArray(value) ? value : [value as T]

/** Every statement that any role of the environment has, whether in a policy or in the role. */
export function statements(synthesis: Synthesis): readonly Statement[] {
  return STACKS.flatMap((stack) => {
    const template = synthesis.templates[stack]
    const attached = ['AWS::IAM::Policy', 'AWS::IAM::ManagedPolicy'].flatMap((type) =>
      ofType(template, type).flatMap(([, { Properties }]) =>
        list(Properties.Roles).flatMap((role) => {
          const name = nameOf(within(synthesis, stack, role))
          return read(stack, name, Properties.PolicyDocument)
        }),
      ),
    )
    const inline = ofType(template, 'AWS::IAM::Role').flatMap(([id, { Properties }]) =>
      list<{ PolicyDocument: Document }>(Properties.Policies).flatMap(({ PolicyDocument }) =>
        read(stack, Properties.RoleName ?? id, PolicyDocument),
      ),
    )
    return [...attached, ...inline]
  })
}

type Document = {
  readonly Statement: readonly {
    readonly Effect: string
    readonly Action: string | readonly string[]
    readonly Resource?: unknown
    readonly Condition?: unknown
  }[]
}

const read = (stack: StackName, role: string, { Statement }: Document): readonly Statement[] =>
  Statement.map(({ Effect, Action, Resource, Condition }) => ({
    role,
    stack,
    effect: Effect,
    actions: list(Action),
    resources: list(Resource),
    conditions: Condition ?? {},
  }))

/** Whether the statement allows the action, also by a wildcard. */
export const allows = ({ effect, actions }: Statement, action: string): boolean =>
  effect === 'Allow' &&
  actions.some((pattern) => {
    const [head = '', ...tail] = pattern.toLowerCase().split('*')
    const wanted = action.toLowerCase()
    return tail.length === 0 ? head === wanted : wanted.startsWith(head)
  })

/** For each role that may do it: on what, by name. */
export function whoMay(
  synthesis: Synthesis,
  action: string,
): Readonly<Record<string, readonly string[]>> {
  const found: Record<string, string[]> = {}
  for (const statement of statements(synthesis).filter((one) => allows(one, action))) {
    const names = statement.resources.map((resource) =>
      // A literal ARN is one of a fixed name.
      typeof resource === 'string'
        ? resource.replace(/^arn:.*:(repository\/|log-group:)/, '').replace(/:\*$/, '')
        : nameOf(within(synthesis, statement.stack, resource)),
    )
    found[statement.role] = [...(found[statement.role] ?? []), ...names].sort()
  }
  return found
}
