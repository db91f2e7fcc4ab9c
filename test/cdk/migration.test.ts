import { expect } from 'chai'
import fc from 'fast-check'
import {
  type Ecs,
  isComplete,
  type MigrationEvent,
  type MigrationProperties,
  start,
} from '../../cdk/handlers/run-migration.ts'

const ARN = 'arn:aws:ecs:us-east-1:333333333333:task/task-management-cluster/0a1b2c'

const PROPERTIES: MigrationProperties = {
  cluster: 'task-management-cluster',
  taskDefinition: 'arn:aws:ecs:us-east-1:333333333333:task-definition/migration-task:7',
  container: 'migration',
  subnets: ['subnet-0c000000000000003', 'subnet-0c000000000000004'],
  securityGroup: 'sg-0c000000000000001',
  version: '1.1.0',
}

const event = (change: Partial<MigrationEvent> = {}): MigrationEvent => ({
  RequestType: 'Create',
  RequestId: '7f4c2f0e-0000-4000-8000-000000000001',
  ResourceProperties: PROPERTIES,
  ...change,
})

type TasksAnswer = Awaited<ReturnType<Ecs['runTask']>>

/**
 * ECS as it answers: each call of `runTask` takes the next answer, the last one stays. The calls are
 * kept. The only thing here that is not the real one.
 */
function ecs(answer: TasksAnswer, ...later: readonly TasksAnswer[]) {
  const calls: Record<string, unknown>[] = []
  const answers = [answer, ...later]
  const runTask = async (input: object) => {
    const given = answers[Math.min(calls.length, answers.length - 1)] ?? {}
    calls.push(input as Record<string, unknown>)
    return given
  }
  const asked: object[] = []
  const describeTasks = async (input: object) => {
    asked.push(input)
    return answers[Math.max(0, Math.min(calls.length, answers.length) - 1)] ?? {}
  }
  const pauses: number[] = []
  const pause = async (ms: number) => void pauses.push(ms)
  return { calls, asked, pauses, runTask, describeTasks, pause }
}

const update = (version: string, before: string): MigrationEvent =>
  event({
    RequestType: 'Update',
    ResourceProperties: { ...PROPERTIES, version },
    OldResourceProperties: { ...PROPERTIES, version: before },
  })

const failure = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'nothing failed',
    (error: Error) => error.message,
  )

describe('Starting a migration', () => {
  it('runs one task in the private subnets behind its own group', async () => {
    const fake = ecs({ tasks: [{ taskArn: ARN }] })
    const { PhysicalResourceId, Data } = await start(event(), fake)
    expect(PhysicalResourceId).to.equal('migration')
    expect(Data).to.deep.equal({ taskArn: ARN })
    expect(fake.calls).to.have.length(1)
    expect(fake.calls[0]).to.deep.include({
      cluster: PROPERTIES.cluster,
      taskDefinition: PROPERTIES.taskDefinition,
      launchType: 'FARGATE',
      count: 1,
      networkConfiguration: {
        awsvpcConfiguration: {
          subnets: PROPERTIES.subnets,
          securityGroups: [PROPERTIES.securityGroup],
          assignPublicIp: 'DISABLED',
        },
      },
    })
  })

  it('gives a repeated event the same token, so that ECS starts no second task', async () => {
    const fake = ecs({ tasks: [{ taskArn: ARN }] })
    await start(event(), fake)
    await start(event(), fake)
    const [first, second] = fake.calls.map(({ clientToken }) => clientToken)
    expect(first).to.match(new RegExp(`^${event().RequestId}`))
    expect(second).to.equal(first)
  })

  it('fails the deployment at once when ECS starts nothing for good, and says why', async () => {
    const fake = ecs({ tasks: [], failures: [{ reason: 'MISSING' }] })
    expect(await failure(start(event(), fake))).to.equal('The migration did not start: MISSING')
    expect(fake.calls).to.have.length(1)
    expect(await failure(start(event(), ecs({})))).to.match(/did not start: no reason given/)
  })

  for (const reason of [
    'RESOURCE:MEMORY',
    'RESOURCE:ENI',
    'AGENT',
    'EMPTY CAPACITY PROVIDER',
    'Capacity is unavailable at this time. Please try again later or in a different availability zone',
  ]) {
    it(`tries again when there is no room at the moment: ${reason.slice(0, 25)}`, async () => {
      const full = { tasks: [], failures: [{ reason }] }
      const fake = ecs(full, full, { tasks: [{ taskArn: ARN, lastStatus: 'PENDING' }] })
      expect((await start(event(), fake)).Data.taskArn).to.equal(ARN)
      expect(fake.calls).to.have.length(3)
      expect(fake.pauses).to.have.length(2)
      // Each try is one of its own to ECS, and the same one when Lambda repeats the event.
      const tokens = fake.calls.map(({ clientToken }) => String(clientToken))
      expect(new Set(tokens).size).to.equal(3)
      for (const token of tokens) expect(token).to.have.length.at.most(64)
    })
  }

  it('tries again when a task was accepted but there was no capacity after all', async () => {
    const lost = {
      taskArn: 'arn:lost',
      lastStatus: 'STOPPED',
      stopCode: 'TaskFailedToStart',
      stoppedReason: 'Capacity is unavailable at this time. Please try again later',
    }
    const fake = ecs({ tasks: [lost] }, { tasks: [{ taskArn: ARN, lastStatus: 'PENDING' }] })
    expect((await start(event(), fake)).Data.taskArn).to.equal(ARN)
  })

  it('leaves any other end of a task to the one that waits, which says why', async () => {
    const lost = {
      taskArn: ARN,
      lastStatus: 'STOPPED',
      stopCode: 'TaskFailedToStart',
      stoppedReason: 'CannotPullContainerError: no such tag',
    }
    const fake = ecs({ tasks: [lost] })
    expect((await start(event(), fake)).Data.taskArn).to.equal(ARN)
    expect(fake.calls).to.have.length(1)
  })

  it('gives up after ten minutes, with the last reason', async () => {
    const fake = ecs({ tasks: [], failures: [{ reason: 'RESOURCE:ENI' }] })
    expect(await failure(start(event(), fake))).to.equal(
      'The migration did not start: RESOURCE:ENI',
    )
    const minutes = fake.pauses.reduce((sum, ms) => sum + ms, 0) / 60_000
    expect(minutes).to.be.within(9, 10)
  })

  it('does nothing when the stack is deleted', async () => {
    const fake = ecs({})
    const { PhysicalResourceId, Data } = await start(event({ RequestType: 'Delete' }), fake)
    expect([PhysicalResourceId, Data.taskArn]).to.deep.equal(['migration', ''])
    expect(fake.calls).to.deep.equal([])
  })

  it('does nothing on a rollback to a lower version, which would get stuck otherwise', async () => {
    for (const [version, before] of [
      ['1.0.9', '1.1.0'],
      ['1.9.0', '1.10.0'],
      ['1.0.0', '2.0.0'],
      ['1.1.0-rc.1', '1.1.0'],
      ['1.1.0-rc.2', '1.1.0-rc.10'],
      // As SemVer orders them: by ASCII, and numbers before words.
      ['1.1.0-RC.1', '1.1.0-beta.1'],
      ['1.1.0-rc.1', '1.1.0-rc.1.1'],
    ] as const) {
      const fake = ecs({ tasks: [{ taskArn: ARN }] })
      expect((await start(update(version, before), fake)).Data.taskArn).to.equal('')
      expect(fake.calls, version).to.deep.equal([])
    }
  })

  it('runs again for a higher version, and for the same one defined anew', async () => {
    for (const [version, before] of [
      ['1.1.1', '1.1.0'],
      ['1.10.0', '1.9.0'],
      ['1.1.0', '1.1.0'],
      ['1.1.0', '1.1.0-rc.1'],
    ] as const) {
      const fake = ecs({ tasks: [{ taskArn: ARN }] })
      expect((await start(update(version, before), fake)).Data.taskArn).to.equal(ARN)
    }
  })

  it('goes exactly one way between any two versions', async () => {
    const version = fc.tuple(fc.nat(99), fc.nat(99), fc.nat(99)).map((parts) => parts.join('.'))
    await fc.assert(
      fc.asyncProperty(version, version, async (one, other) => {
        fc.pre(one !== other)
        const ran = async (to: string, from: string) => {
          const fake = ecs({ tasks: [{ taskArn: ARN }] })
          await start(update(to, from), fake)
          return fake.calls.length
        }
        expect((await ran(one, other)) + (await ran(other, one))).to.equal(1)
      }),
    )
  })
})

describe('Waiting for a migration', () => {
  const waiting = { ...event(), Data: { taskArn: ARN } }
  const task = (change: object) => ecs({ tasks: [{ taskArn: ARN, ...change }] })
  const ended = (exitCode?: number, reason?: string) =>
    task({
      lastStatus: 'STOPPED',
      stoppedReason: 'Essential container in task exited',
      containers: [
        {
          name: 'migration',
          ...(exitCode !== undefined && { exitCode }),
          ...(reason !== undefined && { reason }),
        },
      ],
    })

  it('waits while the task has not stopped', async () => {
    for (const lastStatus of ['PROVISIONING', 'PENDING', 'RUNNING', 'DEPROVISIONING']) {
      expect(await isComplete(waiting, task({ lastStatus }))).to.deep.equal({ IsComplete: false })
    }
  })

  it('waits while ECS does not know the task yet', async () => {
    const fake = ecs({ failures: [{ reason: 'MISSING' }] })
    expect(await isComplete(waiting, fake)).to.deep.equal({ IsComplete: false })
  })

  it('ends with exit code 0, having asked for this task', async () => {
    const fake = ended(0)
    expect(await isComplete(waiting, fake)).to.deep.equal({ IsComplete: true })
    expect(fake.asked).to.deep.equal([{ cluster: PROPERTIES.cluster, tasks: [ARN] }])
  })

  it('fails the deployment with any other exit code, and says where to read why', async () => {
    const message = await failure(isComplete(waiting, ended(1)))
    expect(message).to.match(/^The migration ended with exit code 1: Essential container/)
    expect(message).to.include('/ecs/migration').and.to.include(ARN)
  })

  it('fails the deployment when the container never ran', async () => {
    const fake = ended(undefined, 'CannotPullContainerError: no such tag')
    const message = await failure(isComplete(waiting, fake))
    expect(message).to.match(/^The migration did not run: .*CannotPullContainerError/)
  })

  it('is over at once when nothing was started', async () => {
    const fake = ecs({})
    const nothing = { ...event(), Data: { taskArn: '' } }
    expect(await isComplete(nothing, fake)).to.deep.equal({ IsComplete: true })
    expect(fake.asked).to.deep.equal([])
  })
})
