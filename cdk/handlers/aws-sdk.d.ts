// The part of the AWS SDK that the handlers use. It is in Lambda's runtime and not among our
// packages: a hundred of them for two calls.
declare module '@aws-sdk/client-ecs' {
  export class ECSClient {
    constructor(config: object)
    send(command: RunTaskCommand | DescribeTasksCommand): Promise<TasksAnswer>
  }
  export class RunTaskCommand {
    constructor(input: object)
  }
  export class DescribeTasksCommand {
    constructor(input: object)
  }

  export type TasksAnswer = {
    readonly tasks?: readonly {
      readonly taskArn?: string
      readonly lastStatus?: string
      readonly stoppedReason?: string
      readonly containers?: readonly {
        readonly name?: string
        readonly exitCode?: number
        readonly reason?: string
      }[]
    }[]
    readonly failures?: readonly { readonly arn?: string; readonly reason?: string }[]
  }
}
