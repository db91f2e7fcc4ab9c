// What Lambda calls for the custom resource in constructs/desired-counts.ts.
import { DescribeServicesCommand, ECSClient } from '@aws-sdk/client-ecs'
import { type DesiredCountEvent, desiredCount, type Services } from './desired-count.ts'

const client = new ECSClient({})
const ecs: Services = {
  describeServices: (input) => client.send(new DescribeServicesCommand(input)),
}

export const onEvent = (event: DesiredCountEvent) => desiredCount(event, ecs)
