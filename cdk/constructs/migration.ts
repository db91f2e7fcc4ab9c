import { CfnOutput, CustomResource, Duration, Stack } from 'aws-cdk-lib'
import type { ISecurityGroup, IVpc } from 'aws-cdk-lib/aws-ec2'
import { PolicyStatement } from 'aws-cdk-lib/aws-iam'
import type { IFunction } from 'aws-cdk-lib/aws-lambda'
import { type ILogGroup, LogGroup } from 'aws-cdk-lib/aws-logs'
import { Provider } from 'aws-cdk-lib/custom-resources'
import { Construct } from 'constructs'
import type { MigrationProperties } from '../handlers/run-migration.ts'
import { CLUSTER, handlerLogs } from '../names.ts'
import type { ContainerTask } from './container-task.ts'
import { privateSubnets } from './existing-vpc.ts'
import { handler } from './handler.ts'

export type MigrationProps = {
  readonly task: ContainerTask
  readonly vpc: IVpc
  readonly securityGroup: ISecurityGroup
  /** Of the image. A version lower than the previous one does not run. */
  readonly version: string
}

/** How long CloudFormation waits; the framework allows at most an hour. */
const PATIENCE = Duration.minutes(55)

/**
 * Migrates the database to the version of the images. It is complete when the task has ended with exit code
 * 0; any other end fails the deployment before a service is touched.
 */
export class Migration extends Construct {
  /** Everything that waits for the migration depends on this. */
  readonly run: CustomResource
  readonly #logs: ILogGroup

  constructor(scope: Construct, id: string, props: MigrationProps) {
    super(scope, id)
    const { task } = props
    this.#logs = LogGroup.fromLogGroupName(this, 'Logs', handlerLogs('migration'))
    const provider = new Provider(this, 'Provider', {
      onEventHandler: this.#function('onEvent', [...this.#mayRun(task), ...this.#mayLook()]),
      isCompleteHandler: this.#function('isComplete', this.#mayLook()),
      queryInterval: Duration.seconds(10),
      totalTimeout: PATIENCE,
      logGroup: this.#logs,
    })
    const subnets = privateSubnets(props.vpc).subnets.map(({ subnetId }) => subnetId)
    const properties: MigrationProperties = {
      cluster: CLUSTER,
      taskDefinition: task.definition.taskDefinitionArn,
      container: task.definition.defaultContainer?.containerName ?? '',
      subnets,
      securityGroup: props.securityGroup.securityGroupId,
      version: props.version,
    }
    this.run = new CustomResource(this, 'Run', {
      resourceType: 'Custom::Migration',
      serviceToken: provider.serviceToken,
      serviceTimeout: Duration.minutes(60),
      properties,
    })
    // Above all the role's policy: without it the task starts but cannot read its secrets.
    this.run.node.addDependency(task)
    this.#byHand(properties)
  }

  #function(name: string, statements: readonly PolicyStatement[]): IFunction {
    const logs = this.#logs
    // Starting may take a while, if there is no capacity for a task at first.
    const timeout = Duration.minutes(15)
    return handler(this, name, { file: 'migration', handler: name, logs, statements, timeout })
  }

  #mayRun({ definition }: ContainerTask): readonly PolicyStatement[] {
    const { account, region } = Stack.of(this)
    const roles = [definition.taskRole.roleArn, definition.obtainExecutionRole().roleArn]
    return [
      new PolicyStatement({
        sid: 'RunMigration',
        actions: ['ecs:RunTask'],
        // Every revision: this policy and the task change at the same time, in no particular order.
        resources: [`arn:aws:ecs:${region}:${account}:task-definition/${definition.family}:*`],
        conditions: { ArnEquals: { 'ecs:cluster': this.#cluster() } },
      }),
      new PolicyStatement({
        sid: 'PassRolesOfMigration',
        actions: ['iam:PassRole'],
        resources: roles,
        conditions: { StringEquals: { 'iam:PassedToService': 'ecs-tasks.amazonaws.com' } },
      }),
    ]
  }

  #mayLook(): readonly PolicyStatement[] {
    const { account, region } = Stack.of(this)
    return [
      new PolicyStatement({
        sid: 'LookAtTasks',
        actions: ['ecs:DescribeTasks'],
        resources: [`arn:aws:ecs:${region}:${account}:task/${CLUSTER}/*`],
      }),
    ]
  }

  #cluster(): string {
    const { account, region } = Stack.of(this)
    return `arn:aws:ecs:${region}:${account}:cluster/${CLUSTER}`
  }

  #byHand({ taskDefinition, subnets, securityGroup }: MigrationProperties): void {
    const network = `awsvpcConfiguration={subnets=[${subnets}],securityGroups=[${securityGroup}]}`
    new CfnOutput(this, 'ByHand', {
      description: 'Runs the migration again',
      value:
        `aws ecs run-task --cluster ${CLUSTER} --launch-type FARGATE ` +
        `--task-definition ${taskDefinition} --network-configuration '${network}'`,
    })
  }
}
