import { runSimulation } from '@cloud-copilot/iam-simulate'
import { nameOf, within } from './references.ts'
import { ofType, STACKS, type StackName, type Synthesis } from './synthesis.ts'

export const ACCOUNT = '333333333333'
const REGION = 'us-east-1'
const arn = (service: string, resource: string) =>
  `arn:aws:${service}:${REGION}:${ACCOUNT}:${resource}`

export const KEY = arn('kms', 'key/0c0c0c0c-0000-4000-8000-000000000000')
export const secretArn = (name: string) => arn('secretsmanager', `secret:${name}-AbCdEf`)
export const roleArn = (name: string) => `arn:aws:iam::${ACCOUNT}:role/${name}`

/** The ARN that AWS would give a resource, by its type; the administrator is a secret of RDS. */
const ARNS: Readonly<Record<string, (name: string) => string>> = {
  'AWS::KMS::Key': () => KEY,
  'AWS::SecretsManager::Secret': secretArn,
  'AWS::RDS::DBInstance': () => secretArn('administrator'),
  'AWS::Logs::LogGroup': (name) => arn('logs', `log-group:${name}:*`),
  'AWS::IAM::Role': roleArn,
  'AWS::S3::Bucket': (name) => `arn:aws:s3:::${name}`,
  'AWS::SQS::Queue': (name) => arn('sqs', name),
  'AWS::Lambda::Function': (name) => arn('lambda', `function:${name}`),
  'AWS::StepFunctions::StateMachine': (name) => arn('states', `stateMachine:${name}`),
  'AWS::ECS::Cluster': () => arn('ecs', 'cluster/task-management-cluster'),
}

const PSEUDO: Readonly<Record<string, string>> = {
  'AWS::Partition': 'aws',
  'AWS::Region': REGION,
  'AWS::AccountId': ACCOUNT,
  'AWS::URLSuffix': 'amazonaws.com',
}

/** A part of a template as IAM sees it once deployed: references are ARNs. */
export function resolve(synthesis: Synthesis, stack: StackName, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((one) => resolve(synthesis, stack, one))
  if (typeof value !== 'object' || value === null) return value
  const { Ref: ref, 'Fn::Join': join } = value as { Ref?: string; 'Fn::Join'?: [string, unknown[]] }
  if (ref !== undefined && ref in PSEUDO) return PSEUDO[ref]
  if (join !== undefined) {
    return join[1].map((part) => resolve(synthesis, stack, part)).join(join[0])
  }
  const isReference = Object.keys(value).some((key) => /^(Ref|Fn::)/.test(key))
  if (!isReference) {
    return Object.fromEntries(
      Object.entries(value).map(([key, one]) => [key, resolve(synthesis, stack, one)]),
    )
  }
  const target = within(synthesis, stack, value)
  const made = target && ARNS[target.resource.Type]?.(nameOf(target))
  if (made === undefined) throw new Error(`No ARN for ${JSON.stringify(value)}`)
  return made
}

export type Identity = { readonly name: string; readonly policies: readonly object[] }

/** Every role of the environment with the policies that the templates give it. */
export function identities(synthesis: Synthesis): readonly Identity[] {
  return STACKS.flatMap((stack) =>
    ofType(synthesis.templates[stack], 'AWS::IAM::Role').map(([id, { Properties }]) => {
      const attached = ofType(synthesis.templates[stack], 'AWS::IAM::Policy').filter(([, policy]) =>
        JSON.stringify(policy.Properties.Roles).includes(`"${id}"`),
      )
      const documents = [
        ...attached.map(([, policy]) => policy.Properties.PolicyDocument),
        ...(Properties.Policies ?? []).map((one: { PolicyDocument: object }) => one.PolicyDocument),
      ]
      return {
        name: Properties.RoleName ?? id,
        policies: documents.map((document) => resolve(synthesis, stack, document) as object),
      }
    }),
  )
}

export type Attempt = {
  readonly action: string
  readonly resource: string
  readonly context?: Readonly<Record<string, string>>
}

/**
 * The simulator ignores what the encryption context of a request says, for its keys have names of their
 * own. So it is told them as tags, in policies and requests alike.
 */
const asTags = <T>(value: T): T =>
  JSON.parse(JSON.stringify(value).replaceAll('kms:EncryptionContext:', 'aws:PrincipalTag/'))

/** What the resource itself says: our key, and the bucket of the photos. */
function policyOf(synthesis: Synthesis, action: string, resource: string): object | undefined {
  const { data } = synthesis.templates
  const [[, key] = []] = ofType(data, 'AWS::KMS::Key')
  if (action.startsWith('kms:')) {
    return asTags(resolve(synthesis, 'data', key?.Properties.KeyPolicy) as object)
  }
  const bucket = ofType(data, 'AWS::S3::BucketPolicy').find(([, { Properties }]) =>
    resource.startsWith(`arn:aws:s3:::${nameOf(within(synthesis, 'data', Properties.Bucket))}`),
  )
  return bucket && (resolve(synthesis, 'data', bucket[1].Properties.PolicyDocument) as object)
}

/** Whether AWS would let the role do it. Error: an action, resource or condition that there is not. */
export async function may(
  synthesis: Synthesis,
  { name, policies }: Identity,
  { action, resource, context = {} }: Attempt,
): Promise<boolean> {
  const simulated = await runSimulation(
    {
      request: {
        principal: roleArn(name),
        action,
        resource: { resource, accountId: ACCOUNT },
        contextVariables: asTags({ ...context }),
      },
      identityPolicies: policies.map((policy, index) => ({
        name: `policy-${index}`,
        policy: asTags(policy),
      })),
      serviceControlPolicies: [],
      resourceControlPolicies: [],
      resourcePolicy: policyOf(synthesis, action, resource),
    },
    {},
  )
  if (simulated.resultType === 'error') throw new Error(JSON.stringify(simulated.errors))
  if (simulated.resultType === 'single') {
    const { ignoredContextKeys = [] } = simulated.result
    if (ignoredContextKeys.length > 0) throw new Error(`${action}: ignored ${ignoredContextKeys}`)
  }
  return simulated.overallResult === 'Allowed'
}
