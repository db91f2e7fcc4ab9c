import { expect } from 'chai'
import { dev } from '../../cdk/config/dev.ts'
import { parseEnvironment } from '../../cdk/config/parse.ts'
import { PATH_RULES } from '../../src/http/routing.ts'
import { variation } from './support/environments.ts'
import { follow, nameOf } from './support/references.ts'
import { only, properties, type Synthesis, synthesise } from './support/synthesis.ts'

type Properties = ReturnType<typeof only>
const RULE = 'AWS::ElasticLoadBalancingV2::ListenerRule'

describe('The load balancer', () => {
  let synthesis: Synthesis
  let plain: Synthesis

  before(() => {
    synthesis = synthesise(variation({}))
    plain = synthesise(parseEnvironment(dev))
  })

  it('is an application load balancer in the public subnets, open to the internet', () => {
    const { Name, Type, Scheme, Subnets } = only(
      synthesis.templates.platform,
      'AWS::ElasticLoadBalancingV2::LoadBalancer',
    )
    expect({ Name, Type, Scheme }).to.deep.equal({
      Name: 'task-mgmt-alb',
      Type: 'application',
      Scheme: 'internet-facing',
    })
    expect(Subnets).to.deep.equal(['subnet-0c000000000000001', 'subnet-0c000000000000002'])
  })

  it('drops malformed headers, idles for 60 seconds, writes access logs, resists deletion', () => {
    const { LoadBalancerAttributes } = only(
      synthesis.templates.platform,
      'AWS::ElasticLoadBalancingV2::LoadBalancer',
    )
    const attributes = LoadBalancerAttributes.map(({ Key, Value }: Properties) => [Key, Value])
    expect(Object.fromEntries(attributes)).to.include({
      'routing.http.drop_invalid_header_fields.enabled': 'true',
      'idle_timeout.timeout_seconds': '60',
      'access_logs.s3.enabled': 'true',
      'deletion_protection.enabled': 'true',
    })
  })

  it('redirects HTTP to HTTPS where there is a certificate', () => {
    const listeners = properties(
      synthesis.templates.platform,
      'AWS::ElasticLoadBalancingV2::Listener',
    )
    const [http, https] = [80, 443].map((port) => listeners.find(({ Port }) => Port === port))
    expect(http.DefaultActions).to.deep.equal([
      {
        Type: 'redirect',
        RedirectConfig: { Protocol: 'HTTPS', Port: '443', StatusCode: 'HTTP_301' },
      },
    ])
    expect(https.Protocol).to.equal('HTTPS')
    expect(https.SslPolicy).to.match(/^ELBSecurityPolicy-TLS13-1-2-/)
    expect(https.Certificates[0].CertificateArn).to.match(/^arn:aws:acm:us-east-1:333333333333:/)
  })

  it('serves HTTP without one', () => {
    const listeners = properties(plain.templates.platform, 'AWS::ElasticLoadBalancingV2::Listener')
    expect(listeners.map(({ Port, Protocol }) => `${Protocol} ${Port}`)).to.deep.equal(['HTTP 80'])
  })

  it('applies the path rules of the local gateway, in their order, on the serving listener', () => {
    for (const { templates } of [synthesis, plain]) {
      const rules = [
        ...properties(templates.platform, RULE),
        ...properties(templates.services, RULE),
      ]
      rules.sort((a, b) => a.Priority - b.Priority)
      expect(rules.map(({ Conditions }) => Conditions[0].PathPatternConfig.Values)).to.deep.equal(
        PATH_RULES.map(({ patterns }) => patterns),
      )
    }
    const [rule] = properties(synthesis.templates.services, RULE)
    const listener = follow(synthesis, 'services', rule.ListenerArn)
    expect(listener?.resource.Properties.Port).to.equal(443)
  })

  it('sends each path where the gateway sends it', () => {
    const actions = [...properties(synthesis.templates.platform, RULE)]
    const own = actions.map(({ Conditions, Actions }) => [
      Conditions[0].PathPatternConfig.Values[0],
      Number(Actions[0].FixedResponseConfig.StatusCode),
    ])
    expect(Object.fromEntries(own)).to.deep.equal({ '/auth/validate*': 403 })
    const forwarded = properties(synthesis.templates.services, RULE).map(
      ({ Conditions, Actions }) => [
        Conditions[0].PathPatternConfig.Values[0],
        nameOf(follow(synthesis, 'services', Actions[0].TargetGroupArn)),
      ],
    )
    expect(Object.fromEntries(forwarded)).to.deep.equal({
      '/auth': 'auth-service-tg',
      '/auth/me/export': 'task-service-tg',
      '/tasks': 'task-service-tg',
      '/v1/tasks': 'task-service-tg',
      // Which asks auth-service: no answer is made up while no target lives.
      '/health': 'task-service-tg',
      '/log': 'task-service-tg',
    })
  })

  it('refuses /auth/validate from outside before any rule sends it on', () => {
    const [refusal] = properties(synthesis.templates.platform, RULE).filter(
      ({ Conditions }) => Conditions[0].PathPatternConfig.Values[0] === '/auth/validate*',
    )
    const others = properties(synthesis.templates.services, RULE)
    for (const { Priority } of others) expect(refusal.Priority).to.be.below(Priority)
    expect(JSON.parse(refusal.Actions[0].FixedResponseConfig.MessageBody).code).to.equal(
      'internal_only',
    )
  })

  it('answers 404 in JSON for any other path', () => {
    const { DefaultActions } = only(
      synthesis.templates.platform,
      'AWS::ElasticLoadBalancingV2::Listener',
      { Port: 443 },
    )
    const { StatusCode, ContentType } = DefaultActions[0].FixedResponseConfig
    expect({ StatusCode, ContentType }).to.deep.equal({
      StatusCode: '404',
      ContentType: 'application/json',
    })
  })

  it('asks every task for its health every 30 seconds and leaves out those that fail', () => {
    for (const { templates } of [synthesis, plain]) {
      const groups = properties(templates.services, 'AWS::ElasticLoadBalancingV2::TargetGroup')
      expect(groups.map(({ Name }) => Name)).to.deep.equal(['auth-service-tg', 'task-service-tg'])
      for (const group of groups) {
        expect(group).to.include({
          TargetType: 'ip',
          Port: 3000,
          HealthCheckIntervalSeconds: 30,
          HealthCheckTimeoutSeconds: 5,
          HealthyThresholdCount: 2,
          UnhealthyThresholdCount: 3,
        })
        expect(group.Matcher).to.deep.equal({ HttpCode: '200' })
      }
      const paths = groups.map(({ HealthCheckPath }) => HealthCheckPath)
      expect(paths).to.deep.equal(['/auth/health', '/tasks/health'])
    }
  })

  it('lets a task finish for 30 seconds before it goes', () => {
    const groups = properties(
      synthesis.templates.services,
      'AWS::ElasticLoadBalancingV2::TargetGroup',
    )
    for (const { TargetGroupAttributes } of groups) {
      expect(TargetGroupAttributes).to.deep.include({
        Key: 'deregistration_delay.timeout_seconds',
        Value: '30',
      })
    }
  })
})
