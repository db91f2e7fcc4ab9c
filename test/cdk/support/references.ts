import { ofType, type Resource, STACKS, type StackName, type Synthesis } from './synthesis.ts'

// biome-ignore lint/suspicious/noExplicitAny: a value of a template
type Value = any

/** A resource that a value refers to, wherever it is. */
export type Target = {
  readonly stack: StackName
  readonly id: string
  readonly attribute: string
  readonly resource: Resource
}

/** Follows `Ref`, `Fn::GetAtt`, imports and parameters in SSM to the resource at their end. */
export function follow(synthesis: Synthesis, stack: StackName, value: Value): Target | undefined {
  const exported = value?.['Fn::ImportValue']
  if (exported !== undefined) {
    const producer = String(exported).replace(/^test-(\w+):.*/, '$1') as StackName
    const outputs = Object.values(synthesis.templates[producer].Outputs ?? {})
    const output = outputs.find(({ Export }) => Export?.Name === exported)
    return follow(synthesis, producer, output?.Value)
  }
  const { Type, Default } = synthesis.templates[stack].Parameters?.[value?.Ref] ?? {}
  if (Type === 'AWS::SSM::Parameter::Value<String>') {
    const written = STACKS.flatMap((producer) =>
      ofType(synthesis.templates[producer], 'AWS::SSM::Parameter')
        .filter(([, { Properties }]) => Properties.Name === Default)
        .map(([, { Properties }]) => follow(synthesis, producer, Properties.Value)),
    )
    return written[0]
  }
  const [id, attribute] = value?.['Fn::GetAtt'] ?? [value?.Ref, 'Ref']
  const resource = synthesis.templates[stack].Resources[id]
  return resource && { stack, id, attribute, resource }
}

/** The first reference anywhere within a value, such as the secret's in `arn:field::`. */
export function within(synthesis: Synthesis, stack: StackName, value: Value): Target | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const direct = follow(synthesis, stack, value)
  if (direct !== undefined) return direct
  for (const part of Object.values(value)) {
    const found = within(synthesis, stack, part)
    if (found !== undefined) return found
  }
  return undefined
}

/** As a person would call it. */
export function nameOf(target: Target | undefined): string {
  if (target === undefined) return 'nothing'
  const { Type, Properties } = target.resource
  if (Type === 'AWS::RDS::DBInstance') return 'administrator'
  const own = Properties?.Name ?? Properties?.GroupName ?? Properties?.RoleName
  return (
    own ??
    Properties?.BucketName ??
    Properties?.RepositoryName ??
    Properties?.LogGroupName ??
    target.id
  )
}

/** All logical ids of its own template that a resource refers to or waits for. */
export function referencesOf(resource: Resource): readonly string[] {
  const found = new Set<string>(resource.DependsOn ?? [])
  const visit = (value: Value): void => {
    if (typeof value !== 'object' || value === null) return
    if (typeof value.Ref === 'string') found.add(value.Ref)
    if (Array.isArray(value['Fn::GetAtt'])) found.add(value['Fn::GetAtt'][0])
    if (typeof value['Fn::Sub'] === 'string') {
      for (const [, id] of value['Fn::Sub'].matchAll(/\$\{(\w+)/g)) if (id) found.add(id)
    }
    for (const part of Object.values(value)) visit(part)
  }
  visit(resource.Properties)
  return [...found]
}

/** The nodes of a cycle, or none. */
export function cycle(graph: Readonly<Record<string, readonly string[]>>): readonly string[] {
  const done = new Set<string>()
  const path: string[] = []
  const visit = (node: string): readonly string[] => {
    if (path.includes(node)) return path.slice(path.indexOf(node))
    if (done.has(node) || graph[node] === undefined) return []
    path.push(node)
    for (const next of graph[node]) {
      const found = visit(next)
      if (found.length > 0) return found
    }
    path.pop()
    done.add(node)
    return []
  }
  for (const node of Object.keys(graph)) {
    const found = visit(node)
    if (found.length > 0) return found
  }
  return []
}
