import { expect } from 'chai'
import { dev } from '../../cdk/config/dev.ts'
import { parseEnvironment } from '../../cdk/config/parse.ts'
import { prod } from '../../cdk/config/prod.ts'
import { workerConfig } from '../../src/config.ts'
import { variation } from './support/environments.ts'
import { ACCOUNT, type Attempt, identities, may } from './support/simulation.ts'
import { ofType, only, properties, type Synthesis, synthesise } from './support/synthesis.ts'

type Properties = ReturnType<typeof only>

const MAIL = { domain: 'example.com', publicUrl: 'https://tasks.example.com' }
const WORKER = 'task-mgmt-worker-task'

const environmentOf = ({ templates }: Synthesis, family: string): Record<string, string> => {
  const task = only(templates.services, 'AWS::ECS::TaskDefinition', { Family: `${family}-task` })
  const [{ Environment, Secrets = [] }] = task.ContainerDefinitions
  return Object.fromEntries([
    ...Environment.map(({ Name, Value }: Properties) => [
      Name,
      typeof Value === 'string' ? Value : 'elsewhere',
    ]),
    ...Secrets.map(({ Name }: Properties) => [Name, 's'.repeat(64)]),
  ])
}

describe('Mails on AWS', function () {
  // The first simulation reads all actions of AWS.
  this.timeout(120_000)
  let synthesis: Synthesis

  before(() => {
    synthesis = synthesise(variation({ mail: MAIL }))
  })

  it('come from a domain that stays verified when its stack goes', () => {
    const [[, identity] = [], ...others] = ofType(
      synthesis.templates.data,
      'AWS::SES::EmailIdentity',
    )
    expect(others).to.deep.equal([])
    expect(identity?.Properties).to.include({ EmailIdentity: 'example.com' })
    expect([identity?.DeletionPolicy, identity?.UpdateReplacePolicy]).to.deep.equal([
      'RetainExceptOnCreate',
      'Retain',
    ])
    const outputs = Object.keys(synthesis.templates.data.Outputs ?? {})
    expect(outputs.filter((name) => /Dkim\d/.test(name))).to.have.length(3)
  })

  it('lead where passkeys are for, too: auth-service knows the same address', () => {
    const auth = environmentOf(synthesis, 'auth-service')
    expect(auth.PUBLIC_URL).to.equal('https://tasks.example.com')
  })

  it('are known to the worker, as its settings read them, and to no other', () => {
    expect(workerConfig(environmentOf(synthesis, 'worker')).mail).to.deep.equal({
      publicUrl: 'https://tasks.example.com',
      ses: { region: 'us-east-1', from: 'Tasktrail <no-reply@example.com>' },
    })
    for (const other of ['auth-service', 'task-service', 'witness', 'migration', 'rebuild']) {
      expect(environmentOf(synthesis, other), other).to.not.have.property('SES_REGION')
    }
  })

  for (const [what, photos] of [
    ['with photos', prod.photos],
    ['without photos', undefined],
  ] as const) {
    it(`may be sent by the worker alone, as one address of one domain, ${what}`, async () => {
      const made = synthesise(variation({ mail: MAIL, photos }))
      const attempt = (action: string, domain: string, from: string): Attempt => ({
        action: `ses:${action}`,
        resource: `arn:aws:ses:us-east-1:${ACCOUNT}:identity/${domain}`,
        context: { 'ses:FromAddress': from },
      })
      const wanted = ['SendEmail', 'SendRawEmail'].map((action) =>
        attempt(action, 'example.com', 'no-reply@example.com'),
      )
      const never = [
        attempt('SendEmail', 'example.com', 'ceo@example.com'),
        attempt('SendEmail', 'another.example', 'no-reply@example.com'),
        attempt('SendTemplatedEmail', 'example.com', 'no-reply@example.com'),
        { ...attempt('DeleteEmailIdentity', 'example.com', ''), context: {} },
      ]
      for (const identity of identities(made)) {
        const isWorker = identity.name === WORKER
        for (const one of wanted) {
          expect(await may(made, identity, one), identity.name).to.equal(isWorker)
        }
        for (const one of never)
          expect(await may(made, identity, one), identity.name).to.equal(false)
      }
      expect(identities(made).map(({ name }) => name)).to.include(WORKER)
    })
  }

  it('reach SES by an endpoint where there is no NAT gateway, and only if there are any', () => {
    const egress = { via: 'endpoints', s3PrefixListId: 'pl-0a1b2c3d' } as const
    const services = (mail: typeof MAIL | undefined) =>
      properties(
        synthesise(variation({ egress, mail })).templates.network,
        'AWS::EC2::VPCEndpoint',
      ).map(({ ServiceName }) => JSON.stringify(ServiceName))
    expect(services(MAIL).filter((name) => name.endsWith('.email"'))).to.have.length(1)
    expect(services(undefined).filter((name) => /email/.test(name))).to.deep.equal([])
  })

  it('ring when one has waited for ten minutes, fifteen minutes long', () => {
    const { services } = synthesis.templates
    const alarm = only(services, 'AWS::CloudWatch::Alarm', { AlarmName: 'task-mgmt-mails-waiting' })
    expect(alarm).to.include({
      MetricName: 'OldestMail',
      Statistic: 'Maximum',
      Threshold: 600,
      Period: 300,
      EvaluationPeriods: 3,
    })
    const filter = properties(services, 'AWS::Logs::MetricFilter').find(
      ({ MetricTransformations: [{ MetricName }] }) => MetricName === 'OldestMail',
    )
    expect(filter?.LogGroupName).to.equal('/ecs/worker')
    expect(filter?.FilterPattern).to.equal('{ $.msg = "mail lag" }')
    expect(filter?.MetricTransformations[0].MetricValue).to.equal('$.oldest_seconds')
  })

  it('are nowhere, nor anything that belongs to them, where nobody sends any', () => {
    const { templates } = synthesise(parseEnvironment(dev))
    expect(JSON.stringify(Object.values(templates).map(({ Resources }) => Resources))).to.not.match(
      /AWS::SES|ses:|SES_REGION|MAIL_FROM|OldestMail/,
    )
  })

  for (const [wrong, said] of [
    [{ ...MAIL, domain: 'no-reply@example.com' }, 'mail.domain must be'],
    [{ ...MAIL, sender: 'no reply' }, 'mail.sender must be'],
    [{ ...MAIL, publicUrl: 'https://tasks.example.com/' }, 'mail.publicUrl must be'],
    [{ ...MAIL, publicUrl: 'http://tasks.example.com' }, 'mail.publicUrl must begin with https:'],
  ] as const) {
    it(`are not set up with ${JSON.stringify(wrong)}`, () => {
      expect(() => parseEnvironment({ ...prod, mail: wrong })).to.throw(said)
    })
  }
})
