import type { ServicesAnswer } from '@aws-sdk/client-ecs'

/** The one ECS call that this needs. */
export type Services = {
  readonly describeServices: (input: object) => Promise<ServicesAnswer>
}

export type DesiredCountEvent = {
  readonly RequestType: 'Create' | 'Update' | 'Delete'
  readonly ResourceProperties: {
    readonly cluster: string
    readonly service: string
    /** A number, which CloudFormation sends as a string. */
    readonly least: string
  }
}

export type DesiredCount = {
  readonly PhysicalResourceId: string
  readonly Data?: { readonly desiredCount: number }
}

/**
 * How many tasks the service should have after this deployment: as many as now, because scaling may have
 * raised the number, and `least` if it does not run yet.
 *
 * If the number cannot be read, the deployment fails before the service is touched. Using `least` instead
 * would take tasks away from a busy service.
 */
export async function desiredCount(
  { RequestType, ResourceProperties }: DesiredCountEvent,
  ecs: Services,
): Promise<DesiredCount> {
  const { cluster, service, least } = ResourceProperties
  const PhysicalResourceId = `${service}-desired-count`
  if (RequestType === 'Delete') return { PhysicalResourceId }

  const { services = [], failures = [] } = await ecs.describeServices({
    cluster,
    services: [service],
  })
  const refused = failures.filter(({ reason }) => reason !== 'MISSING')
  if (refused.length > 0) {
    const reasons = refused.map(({ reason }) => reason ?? 'no reason given').join(', ')
    throw new Error(`Cannot read how many tasks ${service} has: ${reasons}`)
  }
  // ECS remembers a deleted service for a while, with its last count.
  const running = services.find(({ status }) => status === 'ACTIVE')?.desiredCount ?? 0
  return { PhysicalResourceId, Data: { desiredCount: Math.max(Number(least), running) } }
}
