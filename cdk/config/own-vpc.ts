import type { Environment, OwnVpcConfig } from './schema.ts'

export const zonesOf = ({ zones }: OwnVpcConfig, region: string): readonly string[] =>
  zones ?? [`${region}a`, `${region}b`]

/** A zone without one would lose its way out when the other zone is lost. */
export const natGatewaysOf = (
  { natGateways = 2 }: OwnVpcConfig,
  { via }: Environment['egress'],
): number => (via === 'nat' ? natGateways : 0)

/** What is wrong with a VPC of ours, or ''. */
export const OWN_VPC_RULES: readonly ((environment: Environment) => string)[] = [
  ({ vpc, region }) => {
    const zones = vpc.by === 'own' ? (vpc.zones ?? []) : []
    return zones.some((zone) => zone.slice(0, -1) !== region)
      ? `vpc.zones must be zones of ${region}`
      : ''
  },
  ({ vpc }) =>
    vpc.by === 'own' && vpc.zones !== undefined && vpc.zones[0] === vpc.zones[1]
      ? 'vpc.zones must be two different zones'
      : '',
  ({ name, vpc }) =>
    name !== 'dev' && vpc.by === 'own' && vpc.natGateways === 1
      ? 'vpc.natGateways must be 2: only dev may lose its way out with one zone'
      : '',
  ({ vpc, egress }) =>
    vpc.by === 'own' && egress.via === 'endpoints' && vpc.natGateways !== undefined
      ? 'vpc.natGateways must be left out: egress goes via endpoints'
      : '',
  ({ vpc, egress }) =>
    vpc.by === 'own' &&
    egress.via === 'endpoints' &&
    (egress.s3GatewayExists || Object.keys(egress.existing).length > 0)
      ? 'egress must name no existing endpoints: a VPC of ours begins without any'
      : '',
]
