import { expect } from 'chai'
import { dev } from '../../cdk/config/dev.ts'
import { parseEnvironment } from '../../cdk/config/parse.ts'
import { isOpen, OPEN_PATHS } from '../../src/http/edge.ts'
import type { EdgeLine } from '../../src/http/edge-log.ts'
import { route } from '../../src/http/routing.ts'
import { ENDPOINTS } from '../support/endpoints.ts'
import { variation } from './support/environments.ts'
import { statements } from './support/policies.ts'
import { party, reachability } from './support/reachability.ts'
import { follow, nameOf, within } from './support/references.ts'
import { ofType, only, properties, type Synthesis, synthesise } from './support/synthesis.ts'

type Properties = ReturnType<typeof only>

const CALLS = ENDPOINTS.filter(({ path }) => route(path).endsWith('-service'))

const ORIGIN = 'https://app.example.com'

describe('The edge on AWS', () => {
  let synthesis: Synthesis
  let plain: Synthesis
  let methods: readonly (Properties & { readonly path: string })[]

  before(() => {
    synthesis = synthesise(
      variation({ edge: { domain: 'api.example.com' }, corsOrigins: [ORIGIN] }),
    )
    plain = synthesise(parseEnvironment({ ...dev, edge: { throttle: { rate: 10, burst: 20 } } }))
    const resources = new Map(ofType(synthesis.templates.edge, 'AWS::ApiGateway::Resource'))
    const pathOf = (id: string | undefined): string => {
      const resource = resources.get(id ?? '')
      if (resource === undefined) return ''
      return `${pathOf(resource.Properties.ParentId.Ref)}/${resource.Properties.PathPart}`
    }
    methods = properties(synthesis.templates.edge, 'AWS::ApiGateway::Method').map((method) => ({
      ...method,
      path: pathOf(method.ResourceId.Ref),
    }))
  })

  /** The method that API Gateway takes for a request: the longest path that fits. */
  const methodFor = (verb: string, path: string) => {
    const fits = methods
      .filter((method) => method.HttpMethod === verb || method.HttpMethod === 'ANY')
      .filter(({ path: own }) =>
        own.endsWith('/{proxy+}')
          ? path.startsWith(own.slice(0, -8))
          : new RegExp(`^${own.replace('{name}', '[^/]+')}$`).test(path),
      )
    const isExact = ({ path: own }: Properties) => !own.endsWith('{proxy+}')
    return fits.toSorted(
      (a, b) => +isExact(b) - +isExact(a) || +(b.HttpMethod === verb) - +(a.HttpMethod === verb),
    )[0]
  }

  it('is there only where it is configured', () => {
    const { templates, after } = synthesise(variation({}))
    expect(templates.edge.Resources).to.deep.equal({})
    expect(after).to.not.have.property('edge')
    const { Scheme, Name } = only(templates.platform, 'AWS::ElasticLoadBalancingV2::LoadBalancer')
    expect([Scheme, Name]).to.deep.equal(['internet-facing', 'task-mgmt-alb'])
    const definitions = properties(templates.services, 'AWS::ECS::TaskDefinition')
    expect(JSON.stringify(definitions)).to.not.include('CORS_ORIGINS')
  })

  it('leads to every call of the API, with a token exactly where the services want one', () => {
    for (const { method: verb, path, access } of CALLS) {
      const found = methodFor(verb.toUpperCase(), path.replace(/[:*]\w+/g, '7'))
      expect(found, path).to.not.equal(undefined)
      expect(found?.AuthorizationType, path).to.equal(access === 'token' ? 'CUSTOM' : 'NONE')
    }
    for (const path of OPEN_PATHS) {
      expect(methodFor('GET', path)?.AuthorizationType, path).to.equal('NONE')
    }
  })

  it('lets nothing through without a token but the list, and preflights', () => {
    for (const { path, HttpMethod, AuthorizationType } of methods) {
      const open = isOpen(path.replace('{name}', 'acme')) || HttpMethod === 'OPTIONS'
      expect(AuthorizationType, `${HttpMethod} ${path}`).to.equal(open ? 'NONE' : 'CUSTOM')
    }
    for (const path of ['/', '/nothing', '/worker/health', '/ready', '/v1/tasks']) {
      expect(methodFor('GET', path), path).to.equal(undefined)
    }
    expect(methodFor('POST', '/auth/validate')?.AuthorizationType).to.equal('CUSTOM')
    expect(methodFor('OPTIONS', '/tasks/7')?.AuthorizationType).to.equal('NONE')
  })

  it('passes each path on under the base path, and answers as they come, for a quarter of an hour', () => {
    for (const { path, Integration, RequestParameters } of methods) {
      const to = path.replace('{proxy+}', '{proxy}')
      expect(Integration).to.include({
        Type: 'HTTP_PROXY',
        IntegrationHttpMethod: 'ANY',
        ConnectionType: 'VPC_LINK',
        ResponseTransferMode: 'STREAM',
        TimeoutInMillis: 900_000,
        Uri: `https://api.example.com/v1${to}`,
      })
      const [, variable] = /\{(\w+)\+?\}/.exec(path) ?? []
      const [own, parameter] = ['integration', 'method'].map(
        (of) => `${of}.request.path.${variable}`,
      )
      expect(Integration.RequestParameters).to.deep.equal(
        variable ? { [own ?? '']: parameter } : undefined,
      )
      expect(RequestParameters).to.deep.equal(variable ? { [parameter ?? '']: true } : undefined)
      const target = follow(synthesis, 'edge', Integration.IntegrationTarget)
      expect(target?.resource.Type).to.equal('AWS::ElasticLoadBalancingV2::LoadBalancer')
      const link = follow(synthesis, 'edge', Integration.ConnectionId)
      expect(link?.resource.Type).to.equal('AWS::ApiGatewayV2::VpcLink')
    }
  })

  it('is the only way to the load balancer, which has no address in the internet', () => {
    for (const [{ templates }, port] of [
      [synthesis, 443],
      [plain, 80],
    ] as const) {
      const { pairs, halfOpen } = reachability(templates.network)
      expect(halfOpen).to.deep.equal([])
      expect(pairs.filter((pair) => /alb:/.test(pair))).to.deep.equal([`edge -> alb:${port}`])
      expect(pairs.filter((pair) => /internet ->/.test(pair))).to.deep.equal([])
      expect(pairs.filter((pair) => /^edge ->/.test(pair))).to.have.length(1)
      const balancer = only(templates.platform, 'AWS::ElasticLoadBalancingV2::LoadBalancer')
      expect(balancer).to.include({ Scheme: 'internal', Name: 'task-mgmt-alb-internal' })
      expect(balancer.Subnets.map((id: string) => id.slice(-1))).to.deep.equal(['3', '4'])
      const listeners = properties(templates.platform, 'AWS::ElasticLoadBalancingV2::Listener')
      expect(listeners.map(({ Port }) => Port)).to.deep.equal([port])
    }
    const { SecurityGroupIds, SubnetIds } = only(
      synthesis.templates.edge,
      'AWS::ApiGatewayV2::VpcLink',
    )
    const groups = SecurityGroupIds.map((id: never) => party(nameOf(follow(synthesis, 'edge', id))))
    expect(groups).to.deep.equal(['edge'])
    expect(SubnetIds.map((id: string) => id.slice(-1))).to.deep.equal(['3', '4'])
  })

  it('leaves the address of the client as API Gateway has written it', () => {
    const mode = ({ templates }: Synthesis) =>
      only(
        templates.platform,
        'AWS::ElasticLoadBalancingV2::LoadBalancer',
      ).LoadBalancerAttributes.find(
        ({ Key }: Properties) => Key === 'routing.http.xff_header_processing.mode',
      )?.Value
    expect(mode(synthesis)).to.equal('preserve')
    expect(mode(synthesise(variation({})))).to.equal(undefined)
  })

  it('asks the authorizer on each request, for the token may be in a cookie, and keeps no answer', () => {
    const { edge } = synthesis.templates
    const authorizer = only(edge, 'AWS::ApiGateway::Authorizer')
    expect(authorizer).to.include({ Type: 'REQUEST', AuthorizerResultTtlInSeconds: 0 })
    expect(authorizer).to.not.have.property('IdentitySource')
    const { FunctionName, Handler, VpcConfig } = only(edge, 'AWS::Lambda::Function')
    expect([FunctionName, Handler]).to.deep.equal(['task-mgmt-authorizer', 'index.onRequest'])
    expect(VpcConfig).to.equal(undefined)
    const { Principal, SourceArn } = only(edge, 'AWS::Lambda::Permission')
    expect(Principal).to.equal('apigateway.amazonaws.com')
    expect(JSON.stringify(SourceArn)).to.include('/authorizers/')
  })

  it('lets the authorizer read and decrypt the two keys that sign tokens, and nothing else', () => {
    const KEYS = ['task-mgmt-jwt-secret', 'task-mgmt-jwt-secret-previous']
    const own = statements(synthesis).filter(({ stack, role }) => {
      return stack === 'edge' && role.startsWith('Authorizer')
    })
    expect(own.map(({ actions }) => actions)).to.deep.equal([
      ['secretsmanager:GetSecretValue'],
      ['kms:Decrypt'],
    ])
    const [reading, decrypting] = own
    const names = (resources: readonly unknown[] = []) =>
      resources.map((one) => nameOf(within(synthesis, 'edge', one))).sort()
    expect(names(reading?.resources)).to.deep.equal(KEYS)
    const { 'kms:ViaService': via, ...context } = decrypting?.conditions.StringEquals ?? {}
    expect(via).to.equal('secretsmanager.us-east-1.amazonaws.com')
    expect(names(context['kms:EncryptionContext:SecretARN'])).to.deep.equal(KEYS)
    const variables = only(synthesis.templates.edge, 'AWS::Lambda::Function').Environment.Variables
    expect(names(Object.values(variables))).to.deep.equal(KEYS)
  })

  it('says what it refuses in the form of all errors, for pages of ours too', () => {
    const answers = properties(synthesis.templates.edge, 'AWS::ApiGateway::GatewayResponse')
    const of = (type: string) => {
      const found = answers.find(({ ResponseType }) => ResponseType === type)
      const template = found?.ResponseTemplates['application/json']
      return { status: found?.StatusCode, body: JSON.parse(template), ...found }
    }
    expect(of('UNAUTHORIZED').status).to.equal('401')
    expect(of('UNAUTHORIZED').body).to.deep.equal({
      error: 'Unauthorized',
      message: 'No authentication token provided',
      code: 'token_missing',
      request_id: '$context.requestId',
    })
    expect(of('ACCESS_DENIED').status).to.equal('401')
    expect(of('ACCESS_DENIED').body).to.include({
      message: '$context.authorizer.message',
      code: '$context.authorizer.code',
    })
    expect(of('MISSING_AUTHENTICATION_TOKEN')).to.include({ status: '404' })
    expect(of('MISSING_AUTHENTICATION_TOKEN').body).to.include({ code: 'route_not_found' })
    expect(of('THROTTLED').body).to.include({ code: 'too_many_requests' })
    // Without keys nobody is let in, and the client may try again.
    for (const type of ['AUTHORIZER_FAILURE', 'INTEGRATION_FAILURE', 'INTEGRATION_TIMEOUT']) {
      expect(of(type)).to.include({ status: '503' })
      expect(of(type).body).to.include({ code: 'service_unavailable' })
      const header = 'gatewayresponse.header.Retry-After'
      expect(of(type).ResponseParameters[header]).to.equal("'1'")
    }
    const www = 'gatewayresponse.header.WWW-Authenticate'
    for (const type of ['UNAUTHORIZED', 'ACCESS_DENIED']) {
      expect(of(type).ResponseParameters[www]).to.equal("'Bearer'")
    }
    const allow = 'gatewayresponse.header.Access-Control-Allow-Origin'
    for (const { ResponseType, ResponseParameters } of answers) {
      expect(ResponseParameters[allow], ResponseType).to.equal(`'${ORIGIN}'`)
    }
    for (const { ResponseParameters } of properties(
      plain.templates.edge,
      'AWS::ApiGateway::GatewayResponse',
    )) {
      expect(ResponseParameters).to.not.have.property(allow)
    }
  })

  it('keeps an access log with the names of the local one, and no token or query in it', () => {
    const { AccessLogSetting } = only(synthesis.templates.edge, 'AWS::ApiGateway::Stage')
    expect(AccessLogSetting.DestinationArn).to.match(/:log-group:\/aws\/apigateway\/task-mgmt-api$/)
    const names: Record<keyof EdgeLine, true> = {
      ...{ time: true, request_id: true, ip: true, method: true, path: true, protocol: true },
      ...{ status: true, response_length: true, latency_ms: true, error: true },
    }
    const format: Record<string, string> = JSON.parse(AccessLogSetting.Format)
    expect(Object.keys(format)).to.have.members(Object.keys(names))
    for (const value of Object.values(format)) {
      expect(value).to.match(/^\$context\.[\w.]+$/)
      expect(value).to.not.match(/header|query|authorizer/i)
    }
    const { RetentionInDays, KmsKeyId } = only(
      synthesis.templates.observability,
      'AWS::Logs::LogGroup',
      { LogGroupName: '/aws/apigateway/task-mgmt-api' },
    )
    expect(RetentionInDays).to.equal(90)
    expect(follow(synthesis, 'observability', KmsKeyId)?.resource.Type).to.equal('AWS::KMS::Key')
    const policy = only(synthesis.templates.data, 'AWS::KMS::Key').KeyPolicy
    expect(JSON.stringify(policy)).to.include('log-group:/aws/apigateway/task-mgmt-api')
    const errors = only(synthesis.templates.edge, 'AWS::Logs::LogGroup')
    expect(JSON.stringify(errors.LogGroupName)).to.include('API-Gateway-Execution-Logs_')
    expect(errors.RetentionInDays).to.equal(90)
    expect(JSON.stringify(policy)).to.include('log-group:API-Gateway-Execution-Logs_*/v1')
  })

  it('traces, measures and throttles, as configured', () => {
    const { TracingEnabled, MethodSettings, StageName } = only(
      synthesis.templates.edge,
      'AWS::ApiGateway::Stage',
    )
    expect({ TracingEnabled, StageName }).to.deep.equal({ TracingEnabled: true, StageName: 'v1' })
    expect(MethodSettings).to.deep.equal([
      {
        HttpMethod: '*',
        ResourcePath: '/*',
        LoggingLevel: 'ERROR',
        DataTraceEnabled: false,
        MetricsEnabled: true,
        ThrottlingRateLimit: 1_000,
        ThrottlingBurstLimit: 2_000,
      },
    ])
    const [settings] = only(plain.templates.edge, 'AWS::ApiGateway::Stage').MethodSettings
    expect(settings).to.include({ ThrottlingRateLimit: 10, ThrottlingBurstLimit: 20 })
  })

  it('answers by its own name alone, by TLS 1.2 or newer, under the base path', () => {
    const { edge } = synthesis.templates
    const api = only(edge, 'AWS::ApiGateway::RestApi')
    expect(api.DisableExecuteApiEndpoint).to.equal(true)
    expect(api.SecurityPolicy).to.match(/^SecurityPolicy_TLS13_1_2_/)
    const { DomainName, SecurityPolicy, RegionalCertificateArn } = only(
      edge,
      'AWS::ApiGateway::DomainName',
    )
    expect([DomainName, SecurityPolicy]).to.deep.equal(['api.example.com', 'TLS_1_2'])
    expect(RegionalCertificateArn).to.match(/^arn:aws:acm:us-east-1:333333333333:/)
    expect(only(edge, 'AWS::ApiGateway::BasePathMapping').BasePath).to.equal('v1')

    const own = only(plain.templates.edge, 'AWS::ApiGateway::RestApi')
    expect(own.DisableExecuteApiEndpoint).to.equal(false)
    expect(own.SecurityPolicy).to.match(/^SecurityPolicy_TLS13_1_2_/)
    expect(ofType(plain.templates.edge, 'AWS::ApiGateway::DomainName')).to.deep.equal([])
  })

  it('has the services answer pages of the origins that are configured', () => {
    const settings = properties(synthesis.templates.services, 'AWS::ECS::TaskDefinition').map(
      ({ Family, ContainerDefinitions: [container] }) => [
        Family,
        container.Environment.find(({ Name }: Properties) => Name === 'CORS_ORIGINS')?.Value,
      ],
    )
    const set = settings.filter(([, value]) => value !== undefined)
    expect(set).to.have.deep.members([
      ['auth-service-task', ORIGIN],
      ['task-service-task', ORIGIN],
    ])
  })

  it('comes after everything that it calls', () => {
    expect(synthesis.after.edge).to.include('services')
  })
})
