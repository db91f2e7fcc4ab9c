import { CustomResource, Lazy, Stack, Token, TreeInspector } from 'aws-cdk-lib'
import type { BaseService, CfnService } from 'aws-cdk-lib/aws-ecs'
import { PolicyStatement } from 'aws-cdk-lib/aws-iam'
import { LogGroup } from 'aws-cdk-lib/aws-logs'
import { Provider } from 'aws-cdk-lib/custom-resources'
import { Construct } from 'constructs'
import { HTTP_SERVICE_NAMES, type HttpServiceName, MIN_TASKS } from '../catalogue.ts'
import { CLUSTER, handlerLogs } from '../names.ts'
import { handler } from './handler.ts'

/**
 * Reads how many tasks a service has, just before a deployment updates it. CloudFormation accepts only a
 * number: without one, a new service begins with one task; with a fixed one, each deployment resets a
 * service that has scaled out.
 */
export class DesiredCounts extends Construct {
  readonly #provider: Provider

  constructor(scope: Construct, id: string) {
    super(scope, id)
    const { account, region } = Stack.of(this)
    const logs = LogGroup.fromLogGroupName(this, 'Logs', handlerLogs('desired-count'))
    this.#provider = new Provider(this, 'Provider', {
      onEventHandler: handler(this, 'onEvent', {
        file: 'read-desired-count',
        handler: 'onEvent',
        logs,
        statements: [
          new PolicyStatement({
            sid: 'LookAtServices',
            actions: ['ecs:DescribeServices'],
            resources: HTTP_SERVICE_NAMES.map(
              (name) => `arn:aws:ecs:${region}:${account}:service/${CLUSTER}/${name}`,
            ),
          }),
        ],
      }),
      logGroup: logs,
    })
  }

  /** The `desiredCount` of a service, which is created with it. */
  of(scope: Construct, name: HttpServiceName, service: () => BaseService): number {
    const reader = new CustomResource(scope, 'DesiredCount', {
      resourceType: 'Custom::DesiredCount',
      serviceToken: this.#provider.serviceToken,
      properties: {
        cluster: CLUSTER,
        service: name,
        least: MIN_TASKS,
        // Nobody reads these. Whatever changes the service changes this resource too, so that the number is
        // never from an earlier deployment.
        settings: Lazy.any({ produce: () => settingsOf(service()) }),
      },
    })
    return Token.asNumber(reader.getAtt('desiredCount'))
  }
}

/** Everything that CloudFormation knows about the service except the number itself. */
function settingsOf({ node }: BaseService): object {
  const inspector = new TreeInspector()
  ;(node.findChild('Service') as CfnService).inspect(inspector)
  const { desiredCount: _, ...settings } = inspector.attributes['aws:cdk:cloudformation:props']
  return settings
}
