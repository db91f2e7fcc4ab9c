import { Stage, Tags } from 'aws-cdk-lib'
import type { Construct } from 'constructs'
import type { Environment } from './config/schema.ts'
import { DataStack } from './stacks/data.ts'
import { EdgeStack } from './stacks/edge.ts'
import { NetworkStack } from './stacks/network.ts'
import { ObservabilityStack } from './stacks/observability.ts'
import { PlatformStack } from './stacks/platform.ts'
import { RegistryStack } from './stacks/registry.ts'
import { ServicesStack } from './stacks/services.ts'
import { acknowledge } from './validation/acknowledgements.ts'

/** One environment: six stacks, and a seventh for an edge; each needs only earlier ones. */
export class Tasktrail extends Stage {
  constructor(scope: Construct, id: string, environment: Environment) {
    const { account, region, name } = environment
    super(scope, id, { env: { account, region } })
    const tags = { project: 'tasktrail', environment: name, 'managed-by': 'cdk' }
    for (const [key, value] of Object.entries(tags)) Tags.of(this).add(key, value)

    const common = { environment, tags, terminationProtection: environment.deletionProtection }
    const network = new NetworkStack(this, 'network', common)
    const registry = new RegistryStack(this, 'registry', common)
    const data = new DataStack(this, 'data', { ...common, network })
    const platform = new PlatformStack(this, 'platform', { ...common, network, data })
    const watching = new ObservabilityStack(this, 'observability', { ...common, data, platform })
    const services = new ServicesStack(this, 'services', { ...common, network, data, platform })

    // The references between them express only some of these dependencies.
    data.addStackDependency(network)
    platform.addStackDependency(data)
    services.addStackDependency(watching)
    services.addStackDependency(registry)

    const { edge } = environment
    if (edge !== undefined) {
      const front = new EdgeStack(this, 'edge', { ...common, edge, network, data, platform })
      // What it calls is there before it is.
      front.addStackDependency(services)
    }

    acknowledge(this, environment)
  }
}
