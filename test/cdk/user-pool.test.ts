import { expect } from 'chai'
import type { EnvironmentInput } from '../../cdk/config/schema.ts'
import { authServiceConfig } from '../../src/config.ts'
import { variation } from './support/environments.ts'
import { follow } from './support/references.ts'
import { ofType, only, properties, type Synthesis, synthesise } from './support/synthesis.ts'

type Properties = ReturnType<typeof only>
const CALLBACK = 'https://tasks.example.com/v1/auth/providers/cognito/callback'
const SIGNED_IN: NonNullable<EnvironmentInput['identity']> = {
  by: 'cognito',
  sender: 'tasks@example.com',
  hostedUi: { domainPrefix: 'tasktrail', callbackUrls: [CALLBACK] },
}

describe('A user pool for the accounts', () => {
  let synthesis: Synthesis
  let pool: Properties
  let client: Properties
  const data = () => synthesis.templates.data

  before(() => {
    synthesis = synthesise(variation({ identity: SIGNED_IN }))
    pool = only(data(), 'AWS::Cognito::UserPool')
    client = only(data(), 'AWS::Cognito::UserPoolClient')
  })

  it('is there only where the environment says so', () => {
    const { templates } = synthesise(variation({}))
    expect(JSON.stringify(templates)).not.to.match(/Cognito|COGNITO|IDENTITY/)
    for (const identity of [{ by: 'elsewhere' }, { by: 'cognito', sender: 'nobody' }]) {
      expect(() => variation({ identity: identity as never })).to.throw('identity')
    }
    const hostedUi = { domainPrefix: 'my-cognito', callbackUrls: [CALLBACK] }
    const http = { domainPrefix: 'tasktrail', callbackUrls: ['http://tasks.example.com'] }
    for (const wrong of [hostedUi, http, { ...http, callbackUrls: [] }]) {
      expect(() => variation({ identity: { by: 'cognito', hostedUi: wrong } })).to.throw(
        'identity.hostedUi',
      )
    }
    const egress = { via: 'endpoints', s3PrefixListId: 'pl-63a5400a' } as const
    expect(() => variation({ identity: SIGNED_IN, egress })).to.throw('egress.via must be nat')
  })

  it('asks for long passwords, and for a code of an app too', () => {
    expect(pool.Policies.PasswordPolicy).to.include({
      MinimumLength: 12,
      RequireLowercase: true,
      RequireUppercase: true,
      RequireNumbers: true,
      RequireSymbols: true,
    })
    expect(pool.MfaConfiguration).to.equal('ON')
    expect(pool.EnabledMfas).to.deep.equal(['SOFTWARE_TOKEN_MFA'])
  })

  it('lets an account be recovered by its confirmed address alone', () => {
    expect(pool.AccountRecoverySetting.RecoveryMechanisms).to.deep.equal([
      { Name: 'verified_email', Priority: 1 },
    ])
    expect(pool.AutoVerifiedAttributes).to.deep.equal(['email'])
    expect(pool.UserAttributeUpdateSettings).to.deep.equal({
      AttributesRequireVerificationBeforeUpdate: ['email'],
    })
    expect(pool.AliasAttributes).to.deep.equal(['email'])
    expect(pool.UsernameConfiguration).to.deep.equal({ CaseSensitive: false })
    expect(pool.EmailConfiguration).to.include({ From: 'tasks@example.com' })
  })

  it('looks for sign-ins that are not those of their user, which its plan includes', () => {
    expect(pool.UserPoolTier).to.equal('PLUS')
    expect(pool.UserPoolAddOns.AdvancedSecurityMode).to.equal('ENFORCED')
    expect(client.EnablePropagateAdditionalUserContextData).to.equal(true)
  })

  it('stays when its stack goes, and cannot be deleted where that is protected', () => {
    expect(pool.DeletionProtection).to.equal('ACTIVE')
    const [[, { DeletionPolicy, UpdateReplacePolicy } = {}] = []] = ofType(
      data(),
      'AWS::Cognito::UserPool',
    )
    expect([DeletionPolicy, UpdateReplacePolicy]).to.deep.equal(['RetainExceptOnCreate', 'Retain'])
    const first = synthesise(variation({ identity: { by: 'cognito' }, deletionProtection: false }))
    const { DeletionProtection } = only(first.templates.data, 'AWS::Cognito::UserPool')
    expect(DeletionProtection).to.equal('INACTIVE')
  })

  it('has groups that are our roles', () => {
    const groups = properties(data(), 'AWS::Cognito::UserPoolGroup')
    expect(groups.map(({ GroupName }) => GroupName)).to.have.members(['admin', 'auditor'])
  })

  it('is asked by auth-service with its passwords, and tells nobody who is there', () => {
    expect(client).to.include({
      GenerateSecret: true,
      PreventUserExistenceErrors: 'ENABLED',
      EnableTokenRevocation: true,
      AuthSessionValidity: 3,
    })
    expect(client.ExplicitAuthFlows).to.have.members([
      'ALLOW_USER_PASSWORD_AUTH',
      'ALLOW_REFRESH_TOKEN_AUTH',
    ])
  })

  it('has pages to sign in at by the code flow alone, and none unless they are named', () => {
    expect(client.AllowedOAuthFlows).to.deep.equal(['code'])
    expect(client.AllowedOAuthScopes).to.deep.equal(['openid', 'email'])
    expect(client.CallbackURLs).to.deep.equal([CALLBACK])
    expect(only(data(), 'AWS::Cognito::UserPoolDomain').Domain).to.equal('tasktrail')
    const { templates } = synthesise(variation({ identity: { by: 'cognito' } }))
    expect(properties(templates.data, 'AWS::Cognito::UserPoolDomain')).to.deep.equal([])
    const plain = only(templates.data, 'AWS::Cognito::UserPoolClient')
    expect(plain.AllowedOAuthFlowsUserPoolClient).to.equal(false)
    expect(plain).to.not.have.property('AllowedOAuthFlows')
  })

  it('makes identities of AWS only of who has signed in, and they may do nothing', () => {
    const identities = only(data(), 'AWS::Cognito::IdentityPool')
    expect(identities).to.include({
      AllowUnauthenticatedIdentities: false,
      AllowClassicFlow: false,
    })
    expect(identities.CognitoIdentityProviders[0].ServerSideTokenCheck).to.equal(true)
    const { Roles } = only(data(), 'AWS::Cognito::IdentityPoolRoleAttachment')
    expect(Object.keys(Roles)).to.deep.equal(['authenticated'])
    const role = follow(synthesis, 'data', Roles.authenticated)
    const [id = ''] =
      ofType(data(), 'AWS::IAM::Role').find(([, one]) => one === role?.resource) ?? []
    expect(id).to.match(/SignedIn/)
    expect(role?.resource.Properties).to.not.have.any.keys('Policies', 'ManagedPolicyArns')
    const [{ Condition, Action }] =
      role?.resource.Properties.AssumeRolePolicyDocument.Statement ?? []
    expect(Action).to.equal('sts:AssumeRoleWithWebIdentity')
    expect(Object.keys(Condition)).to.deep.equal(['StringEquals', 'ForAnyValue:StringLike'])
    const policies = properties(data(), 'AWS::IAM::Policy')
    expect(JSON.stringify(policies.map((policy) => policy.Roles))).to.not.include(id)
  })

  it('may be told by the tasks of auth-service to erase an account, and nothing else needs a right', () => {
    const name = 'task-mgmt-auth-service-task'
    const [[id = ''] = []] = ofType(data(), 'AWS::IAM::Role').filter(
      ([, one]) => one.Properties.RoleName === name,
    )
    const statements = properties(data(), 'AWS::IAM::Policy')
      .filter(({ Roles }) => JSON.stringify(Roles).includes(id))
      .flatMap(({ PolicyDocument }) => PolicyDocument.Statement)
    expect(statements).to.have.length(1)
    const [{ Action, Effect, Resource }] = statements
    expect([Effect, Action]).to.deep.equal(['Allow', 'cognito-idp:AdminDeleteUser'])
    expect(follow(synthesis, 'data', Resource)?.resource.Type).to.equal('AWS::Cognito::UserPool')
    const task = only(synthesis.templates.services, 'AWS::ECS::TaskDefinition', {
      Family: 'auth-service-task',
    })
    const role = follow(synthesis, 'services', task.TaskRoleArn)
    expect(role?.resource.Properties.RoleName).to.equal(name)
  })

  it('is known to auth-service, as its settings read it, and to no other', () => {
    const settingsOf = (family: string): Record<string, string> => {
      const { services } = synthesis.templates
      const task = only(services, 'AWS::ECS::TaskDefinition', { Family: `${family}-task` })
      const [{ Environment, Secrets = [] }] = task.ContainerDefinitions
      const plain = Environment.map(({ Name, Value }: Properties) => [Name, plainOf(Name, Value)])
      const secret = Secrets.map(({ Name }: Properties) => [Name, 's'.repeat(64)])
      return Object.fromEntries([...plain, ...secret])
    }
    const plainOf = (name: string, value: unknown) => {
      if (typeof value === 'string') return value
      return name === 'REDIS_URL' ? 'rediss://elsewhere' : 'us-east-1_Example00'
    }
    const { IDENTITY, userPool } = authServiceConfig(settingsOf('auth-service'))
    expect(IDENTITY).to.equal('cognito')
    expect(userPool).to.deep.equal({
      pool_id: 'us-east-1_Example00',
      client_id: 'us-east-1_Example00',
      client_secret: 's'.repeat(64),
      region: 'us-east-1',
      endpoint: undefined,
    })
    for (const other of ['task-service', 'worker', 'witness', 'migration', 'rebuild']) {
      expect(Object.keys(settingsOf(other)).join(), other).to.not.match(/COGNITO|IDENTITY/)
    }
  })

  it('has a secret of its client that stands in no template', () => {
    const secret = only(data(), 'AWS::SecretsManager::Secret', {
      Name: 'task-mgmt/user-pool-client',
    })
    expect(secret.SecretString['Fn::Join'][1][1]).to.have.property('Fn::GetAtt')
    expect(secret).to.have.property('KmsKeyId')
  })
})
