import type { TasksAnswer } from '@aws-sdk/client-ecs'
import lt from 'semver/functions/lt.js'

/** The two ECS calls that a migration needs, and how to wait between them. */
export type Ecs = {
  readonly runTask: (input: object) => Promise<TasksAnswer>
  readonly describeTasks: (input: object) => Promise<TasksAnswer>
  /** Milliseconds. */
  readonly pause: (ms: number) => Promise<void>
}

/** What the stack says about the task; CloudFormation sends it with every event. */
export type MigrationProperties = {
  readonly cluster: string
  readonly taskDefinition: string
  readonly container: string
  readonly subnets: readonly string[]
  readonly securityGroup: string
  /** The image's tag. A version lower than the previous one does not run. */
  readonly version: string
}

export type MigrationEvent = {
  readonly RequestType: 'Create' | 'Update' | 'Delete'
  readonly RequestId: string
  readonly ResourceProperties: MigrationProperties
  readonly OldResourceProperties?: MigrationProperties
}

export type Started = {
  readonly PhysicalResourceId: string
  readonly Data: { readonly taskArn: string }
}

/** Capacity for a task comes and goes; ten minutes in all, which is less than a function's time limit. */
const TRIES = 20
const PAUSE = 30_000
/** ECS has no capacity, or its machines do not answer at the moment. */
const NO_ROOM = /^(RESOURCE:|AGENT|EMPTY CAPACITY PROVIDER|Capacity is unavailable)/

/**
 * Starts the task, and tries again while there is no capacity for it. Does not wait for its end, which may
 * take longer than a function may run.
 */
export async function start(event: MigrationEvent, ecs: Ecs): Promise<Started> {
  // Always the same id: a new one would make CloudFormation delete the old "resource" afterwards.
  const started = (taskArn: string) => ({ PhysicalResourceId: 'migration', Data: { taskArn } })
  if (event.RequestType === 'Delete' || goesBack(event)) return started('')

  for (let attempt = 1; ; attempt++) {
    const { taskArn, why } = await tryToStart(event, attempt, ecs)
    if (taskArn !== undefined) return started(taskArn)
    if (attempt === TRIES || !NO_ROOM.test(why)) {
      throw new Error(`The migration did not start: ${why}`)
    }
    await ecs.pause(PAUSE)
  }
}

type Attempt = { readonly taskArn?: string; readonly why: string }

async function tryToStart(event: MigrationEvent, attempt: number, ecs: Ecs): Promise<Attempt> {
  const { cluster, taskDefinition, subnets, securityGroup } = event.ResourceProperties
  const { tasks = [], failures = [] } = await ecs.runTask({
    cluster,
    taskDefinition,
    launchType: 'FARGATE',
    count: 1,
    startedBy: 'cloudformation',
    // Lambda may call us again for the same event; ECS then answers with the same task.
    clientToken: `${event.RequestId}-${attempt}`,
    networkConfiguration: {
      awsvpcConfiguration: { subnets, securityGroups: [securityGroup], assignPublicIp: 'DISABLED' },
    },
  })
  const taskArn = tasks[0]?.taskArn
  if (taskArn === undefined) return { why: reasons(failures) }
  const why = await whyNotPlaced(cluster, taskArn, ecs)
  return why === '' ? { taskArn, why } : { why }
}

/** Fargate accepts a task before it knows whether there is capacity. '' if the task is placed. */
async function whyNotPlaced(cluster: string, taskArn: string, ecs: Ecs): Promise<string> {
  for (let look = 1; look <= 12; look++) {
    const { tasks = [] } = await ecs.describeTasks({ cluster, tasks: [taskArn] })
    const { lastStatus = 'PROVISIONING', stopCode, stoppedReason = '' } = tasks[0] ?? {}
    if (lastStatus === 'STOPPED') {
      return stopCode === 'TaskFailedToStart' && NO_ROOM.test(stoppedReason) ? stoppedReason : ''
    }
    if (lastStatus !== 'PROVISIONING') return ''
    await ecs.pause(5_000)
  }
  return ''
}

/** Whether the task has ended successfully. Throws if it failed, which fails the deployment. */
export async function isComplete(
  event: MigrationEvent & { readonly Data?: { readonly taskArn?: string } },
  ecs: Ecs,
): Promise<{ readonly IsComplete: boolean }> {
  const taskArn = event.Data?.taskArn ?? ''
  if (taskArn === '') return { IsComplete: true }

  const { cluster, container } = event.ResourceProperties
  const { tasks = [], failures = [] } = await ecs.describeTasks({ cluster, tasks: [taskArn] })
  const task = tasks[0]
  // ECS may not know a task yet that it has just started.
  if (task === undefined && failures.every(({ reason }) => reason === 'MISSING')) {
    return { IsComplete: false }
  }
  if (task === undefined) throw new Error(`The migration is lost: ${reasons(failures)}`)
  if (task.lastStatus !== 'STOPPED') return { IsComplete: false }

  const ran = task.containers?.find(({ name }) => name === container)
  if (ran?.exitCode === 0) return { IsComplete: true }
  const code = ran?.exitCode === undefined ? 'did not run' : `ended with exit code ${ran.exitCode}`
  const why = [task.stoppedReason, ran?.reason].filter((text) => text !== undefined).join('; ')
  throw new Error(`The migration ${code}: ${why}. Its log: /ecs/${container}, task ${taskArn}`)
}

/**
 * CloudFormation rolls a failed deployment back by updating to the previous version. That version then has
 * nothing to migrate, and a rollback must not need what may just have failed: capacity for a task, its
 * image, the database.
 */
function goesBack({ RequestType, ResourceProperties, OldResourceProperties }: MigrationEvent) {
  if (RequestType !== 'Update' || OldResourceProperties === undefined) return false
  return lt(ResourceProperties.version, OldResourceProperties.version)
}

const reasons = (failures: readonly { readonly reason?: string }[]): string =>
  failures.map(({ reason }) => reason ?? 'no reason given').join(', ') || 'no reason given'
