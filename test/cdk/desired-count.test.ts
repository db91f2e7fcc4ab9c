import { expect } from 'chai'
import fc from 'fast-check'
import {
  type DesiredCountEvent,
  desiredCount,
  type Services,
} from '../../cdk/handlers/desired-count.ts'
import { variation } from './support/environments.ts'
import { follow, referencesOf } from './support/references.ts'
import { ofType, only, type Synthesis, synthesise } from './support/synthesis.ts'

const CLUSTER = 'task-management-cluster'

// CloudFormation makes a text of every number.
const event = (RequestType: DesiredCountEvent['RequestType']): DesiredCountEvent => ({
  RequestType,
  ResourceProperties: { cluster: CLUSTER, service: 'task-service', least: '2' },
})

/** ECS as it answers; the questions are kept. */
function ecs(answer: Awaited<ReturnType<Services['describeServices']>>) {
  const asked: object[] = []
  const describeServices = async (input: object) => {
    asked.push(input)
    return answer
  }
  return { asked, describeServices }
}
const active = (count: number) => ecs({ services: [{ status: 'ACTIVE', desiredCount: count }] })
const countOf = async (type: DesiredCountEvent['RequestType'], fake: Services) =>
  (await desiredCount(event(type), fake)).Data?.desiredCount

describe('The desired count of a service', () => {
  it('is two when there is no such service yet', async () => {
    const fake = ecs({ failures: [{ reason: 'MISSING' }] })
    expect(await countOf('Create', fake)).to.equal(2)
    expect(fake.asked).to.deep.equal([{ cluster: CLUSTER, services: ['task-service'] }])
  })

  it('is two when only a deleted service has the name', async () => {
    for (const status of ['INACTIVE', 'DRAINING']) {
      const fake = ecs({ services: [{ status, desiredCount: 7 }] })
      expect(await countOf('Create', fake), status).to.equal(2)
    }
  })

  it('is the one that scaling has reached, on a deployment and on a rollback', async () => {
    expect(await countOf('Update', active(7))).to.equal(7)
  })

  it('is never less than two, also where somebody stopped the service by hand', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(20), async (running) => {
        expect(await countOf('Update', active(running))).to.equal(Math.max(2, running))
      }),
    )
  })

  it('fails the deployment when it cannot be read: a guess would set a busy service back', async () => {
    const fake = ecs({ failures: [{ reason: 'ACCESS_DENIED' }] })
    const said = await countOf('Update', fake).catch((error: Error) => error.message)
    expect(said).to.equal('Cannot read how many tasks task-service has: ACCESS_DENIED')
  })

  it('is not asked for when the stack goes', async () => {
    const fake = active(7)
    expect(await countOf('Delete', fake)).to.equal(undefined)
    expect(fake.asked).to.deep.equal([])
  })

  it('keeps one identity, or CloudFormation would delete the one before', async () => {
    const ids = await Promise.all(
      (['Create', 'Update', 'Delete'] as const).map((type) => desiredCount(event(type), active(3))),
    )
    expect(new Set(ids.map(({ PhysicalResourceId }) => PhysicalResourceId)).size).to.equal(1)
  })
})

describe('The desired count in the template', () => {
  const SERVICES = ['auth-service', 'task-service'] as const
  let synthesis: Synthesis
  let services: Synthesis['templates']['services']

  before(() => {
    synthesis = synthesise(variation({}))
    services = synthesis.templates.services
  })

  const serviceOf = (name: string) => only(services, 'AWS::ECS::Service', { ServiceName: name })
  const readerOf = (name: string) =>
    follow(synthesis, 'services', serviceOf(name).DesiredCount)?.resource

  it('of a service that scales is read at each deployment, and is two at least', () => {
    for (const name of SERVICES) {
      const reader = readerOf(name)
      expect(reader?.Type).to.equal('Custom::DesiredCount')
      expect(reader?.Properties).to.include({ cluster: CLUSTER, service: name, least: 2 })
      expect(serviceOf(name).DesiredCount['Fn::GetAtt'][1]).to.equal('desiredCount')
    }
  })

  it('is read again whenever the service changes in any way', () => {
    for (const name of SERVICES) {
      const { DesiredCount: _, ...properties } = serviceOf(name)
      const settings = readerOf(name)?.Properties.settings
      const keys = (value: object) => Object.keys(value).map((key) => key.toLowerCase())
      expect(keys(settings)).to.have.members(keys(properties))
      // Of a new image this is the one sign: another revision has another ARN.
      expect(settings.taskDefinition).to.deep.equal(properties.TaskDefinition)
    }
  })

  it('is read after the migration, which may take long', () => {
    const [[migration] = []] = ofType(services, 'Custom::Migration')
    const readers = ofType(services, 'Custom::DesiredCount')
    expect(readers).to.have.length(2)
    for (const [, reader] of readers) expect(referencesOf(reader)).to.include(migration)
  })
})
