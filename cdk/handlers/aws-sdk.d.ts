// The part of the AWS SDK that the handlers use. Lambda's runtime has it; installing it would add a hundred
// packages for four calls.
declare module '@aws-sdk/client-ecs' {
  export class ECSClient {
    constructor(config: object)
    send<Answer>(command: Command<Answer>): Promise<Answer>
  }
  class Command<Answer> {
    constructor(input: object)
    private readonly answer: Answer
  }
  export class RunTaskCommand extends Command<TasksAnswer> {}
  export class DescribeTasksCommand extends Command<TasksAnswer> {}
  export class DescribeServicesCommand extends Command<ServicesAnswer> {}

  export type Failure = { readonly arn?: string; readonly reason?: string }

  export type TasksAnswer = {
    readonly tasks?: readonly {
      readonly taskArn?: string
      readonly lastStatus?: string
      readonly stopCode?: string
      readonly stoppedReason?: string
      readonly containers?: readonly {
        readonly name?: string
        readonly exitCode?: number
        readonly reason?: string
      }[]
    }[]
    readonly failures?: readonly Failure[]
  }

  export type ServicesAnswer = {
    readonly services?: readonly { readonly status?: string; readonly desiredCount?: number }[]
    readonly failures?: readonly Failure[]
  }
}

declare module '@aws-sdk/client-secrets-manager' {
  export class SecretsManagerClient {
    constructor(config: object)
    send(command: GetSecretValueCommand): Promise<SecretAnswer>
  }
  export class GetSecretValueCommand {
    constructor(input: object)
  }

  export type SecretAnswer = { readonly SecretString?: string; readonly VersionId?: string }
}
