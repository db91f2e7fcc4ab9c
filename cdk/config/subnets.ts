/** An existing subnet, from the configuration or from the account. */
export type Subnet = {
  readonly id: string
  readonly zone: string
  readonly routeTableId: string
}
export type Subnets = {
  readonly publicSubnets: readonly Subnet[]
  readonly privateSubnets: readonly Subnet[]
}

/**
 * A load balancer and an endpoint accept only one per zone, and losing one zone must not take everything.
 */
export function isOneAZone(subnets: readonly Subnet[]): boolean {
  const zones = new Set(subnets.map(({ zone }) => zone))
  return zones.size >= 2 && zones.size === subnets.length
}

/** Whether the smallest subnets of a VPC of ours can hold a load balancer (own-vpc.ts). */
export const isLargeEnough = (cidr: string): boolean => prefix(cidr) >= 16 && prefix(cidr) <= 19

/** What public and private subnets must have in common; each returns a fault, or '' for none. */
export const SUBNET_RULES: readonly ((subnets: Subnets, region: string) => string)[] = [
  // The load balancer reaches tasks only in its own zones, and the library pairs subnets by their order.
  ({ publicSubnets, privateSubnets }) =>
    zonesOf(publicSubnets) === zonesOf(privateSubnets)
      ? ''
      : 'vpc.publicSubnets must be in the zones of vpc.privateSubnets, in the same order',

  ({ publicSubnets, privateSubnets }, region) =>
    [...publicSubnets, ...privateSubnets].every(({ zone }) => zone.slice(0, -1) === region)
      ? ''
      : `vpc must have its subnets in zones of ${region}`,
]

const zonesOf = (subnets: readonly Subnet[]): string => subnets.map(({ zone }) => zone).join(' ')

// ----------------------------------------------------------------- -------- subnets of a looked-up VPC

/** Where its route table leads, in the library's words. */
export type SubnetKind = 'public' | 'with a NAT gateway' | 'isolated'
export type FoundSubnet = Subnet & { readonly cidr: string; readonly kind: SubnetKind }

export type Wish = {
  /** @default - the largest of each zone */
  readonly publicSubnetIds?: readonly string[] | undefined
  readonly privateSubnetIds?: readonly string[] | undefined
  /** Which kinds a private subnet may be. */
  readonly privateKinds: readonly SubnetKind[]
}

/** One public and one private subnet per zone. Error: a sentence, if none are suitable. */
export function chooseSubnets(found: readonly FoundSubnet[], wish: Wish, region: string): Subnets {
  const { publicSubnetIds, privateSubnetIds, privateKinds } = wish
  const publicOnes = pick(found, 'publicSubnetIds', publicSubnetIds, ['public'])
  const privateOnes = pick(found, 'privateSubnetIds', privateSubnetIds, privateKinds)
  const chosen = {
    publicSubnets: publicSubnetIds ? publicOnes : inZonesOf(privateOnes, publicOnes),
    privateSubnets: privateSubnetIds ? privateOnes : inZonesOf(publicOnes, privateOnes),
  }
  if (!isOneAZone(chosen.publicSubnets) || !isOneAZone(chosen.privateSubnets)) {
    throw new Error(
      `vpc must have a public subnet and a private one (${privateKinds.join(' or ')}) in the same ` +
        'zone, one per zone, in at least two zones',
    )
  }
  const faults = SUBNET_RULES.map((rule) => rule(chosen, region)).filter((fault) => fault !== '')
  if (chosen.publicSubnets.some(({ cidr }) => prefix(cidr) > SMALLEST)) {
    faults.push(`vpc must have public subnets of /${SMALLEST} or larger for its load balancer`)
  }
  if (faults.length > 0) throw new Error(faults.join('; '))
  return chosen
}

const SMALLEST = 27

function pick(
  found: readonly FoundSubnet[],
  field: string,
  ids: readonly string[] | undefined,
  kinds: readonly SubnetKind[],
): readonly FoundSubnet[] {
  const candidates = found.filter(({ kind }) => kinds.includes(kind))
  if (ids === undefined) return largestOfEachZone(candidates)
  const named = ids.map((id) => {
    const subnet = candidates.find((candidate) => candidate.id === id)
    if (subnet !== undefined) return subnet
    throw new Error(`vpc.${field}: the VPC has no subnet ${id} that is ${kinds.join(' or ')}`)
  })
  return named.toSorted((a, b) => inOrder(a.zone, b.zone))
}

/** Space for tasks decides; between equals the id, so that the choice stays the same. */
function largestOfEachZone(subnets: readonly FoundSubnet[]): readonly FoundSubnet[] {
  const largestFirst = subnets.toSorted(
    (a, b) => prefix(a.cidr) - prefix(b.cidr) || inOrder(a.id, b.id),
  )
  const zones = [...new Set(subnets.map(({ zone }) => zone))].sort()
  return zones.flatMap((zone) => largestFirst.find((subnet) => subnet.zone === zone) ?? [])
}

const inZonesOf = (others: readonly Subnet[], subnets: readonly FoundSubnet[]) =>
  subnets.filter(({ zone }) => others.some((other) => other.zone === zone))

const inOrder = (a: string, b: string): number => (a < b ? -1 : Number(a > b))

const prefix = (cidr: string): number => Number(cidr.split('/')[1])
