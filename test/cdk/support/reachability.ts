import { ofType, type Resource, type Template } from './synthesis.ts'

type Properties = Resource['Properties']

/** One end of a rule: `group` lets traffic with `peer` pass on `port`. */
type Rule = {
  readonly direction: 'in' | 'out'
  readonly group: string
  readonly peer: string
  readonly port: string
}

export type Reachability = {
  /** `alb -> auth:3000`: both ends let it pass. */
  readonly pairs: readonly string[]
  /** Rules of which the other end knows nothing: they open nothing, and look as if they did. */
  readonly halfOpen: readonly string[]
}

/** Who can reach whom, computed from all security groups and rules of a template. */
export function reachability(template: Template): Reachability {
  const rules = rulesOf(template)
  const groups = new Set(rules.map(({ group }) => group))
  const hasOtherEnd = ({ direction, group, peer, port }: Rule): boolean =>
    rules
      .filter((rule) => rule.direction !== direction && rule.port === port)
      .some((rule) => rule.group === peer && rule.peer === group)
  const complete = rules.filter((rule) => !groups.has(rule.peer) || hasOtherEnd(rule))
  return {
    pairs: [...new Set(complete.map(asPair))].sort(),
    halfOpen: rules.filter((rule) => !complete.includes(rule)).map(asPair),
  }
}

const asPair = ({ direction, group, peer, port }: Rule): string =>
  direction === 'in' ? `${peer} -> ${group}:${port}` : `${group} -> ${peer}:${port}`

/** The library's way to say that nothing may leave a group. */
const NOWHERE = '255.255.255.255/32'

function rulesOf(template: Template): readonly Rule[] {
  const groups = ofType(template, 'AWS::EC2::SecurityGroup')
  const names = new Map(groups.map(([id, { Properties }]) => [id, party(Properties.GroupName)]))
  const groupOf = (reference: Properties): string =>
    typeof reference === 'string' ? reference : (names.get(reference?.['Fn::GetAtt']?.[0]) ?? '?')
  const rule = (direction: Rule['direction'], group: string, end: Properties): Rule => {
    const reference = end.SourceSecurityGroupId ?? end.DestinationSecurityGroupId
    const list = end.SourcePrefixListId ?? end.DestinationPrefixListId
    const address = end.CidrIp === '0.0.0.0/0' ? 'internet' : (end.CidrIp ?? end.CidrIpv6 ?? list)
    const port = end.FromPort === end.ToPort ? `${end.FromPort}` : `${end.FromPort}-${end.ToPort}`
    const peer = reference === undefined ? (address ?? 'anyone') : groupOf(reference)
    return { direction, group, peer, port: end.IpProtocol === 'tcp' ? port : end.IpProtocol }
  }
  const inline = groups.flatMap(([id, { Properties }]) => {
    const group = names.get(id) ?? '?'
    const { SecurityGroupIngress: ins = [], SecurityGroupEgress: outs = [] } = Properties
    return [
      ...ins.map((end: Properties) => rule('in', group, end)),
      ...outs
        .filter(({ CidrIp }: Properties) => CidrIp !== NOWHERE)
        .map((end: Properties) => rule('out', group, end)),
    ]
  })
  const apart = (direction: Rule['direction'], type: string) =>
    ofType(template, type).map(([, { Properties }]) =>
      rule(direction, groupOf(Properties.GroupId), Properties),
    )
  return [
    ...inline,
    ...apart('in', 'AWS::EC2::SecurityGroupIngress'),
    ...apart('out', 'AWS::EC2::SecurityGroupEgress'),
  ]
}

/** `task-mgmt-auth-sg` is `auth` here. */
export const party = (groupName: string): string =>
  groupName.replace(/^task-mgmt-/, '').replace(/-sg$/, '')
