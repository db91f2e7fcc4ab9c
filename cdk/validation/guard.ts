import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { CfnGuardValidator } from '@cdklabs/cdk-validator-cfnguard'
import type {
  IPolicyValidationContext,
  IPolicyValidationPlugin,
  PolicyValidationPluginReport,
} from 'aws-cdk-lib'
import type { IConstruct } from 'constructs'

const PACKAGE = createRequire(import.meta.url).resolve('@cdklabs/cdk-validator-cfnguard')
const RULES = join(dirname(PACKAGE), '../rules/control-tower/cfn-guard')

/**
 * The guard rules of Control Tower, each applied only to templates with a resource that it covers. Applying
 * all 237 to every template takes ten times as long and finds the same.
 */
export class GuardRules implements IPolicyValidationPlugin {
  readonly name = new CfnGuardValidator().name
  readonly #rules = readdirSync(RULES, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.guard'))
    .map((file) => ({
      name: basename(file, '.guard'),
      types: new Set(readFileSync(join(RULES, file), 'utf8').match(/\bAWS::\w+::\w+/g)),
    }))

  validate(context: IPolicyValidationContext): PolicyValidationPluginReport {
    const { appConstruct } = context
    const reports = context.stackTemplates.map(({ templatePath }) =>
      this.#validate(templatePath, appConstruct),
    )
    return {
      success: reports.every(({ success }) => success),
      violations: reports.flatMap(({ violations }) => violations),
    }
  }

  #validate(templatePath: string, appConstruct: IConstruct): PolicyValidationPluginReport {
    const { Resources = {} } = JSON.parse(readFileSync(templatePath, 'utf8'))
    const present = new Set(Object.values(Resources as Resources).map(({ Type }) => Type))
    const others = this.#rules.filter(({ types }) => types.isDisjointFrom(present))
    if (others.length === this.#rules.length) return { success: true, violations: [] }
    const disabledRules = others.map(({ name }) => name)
    const validator = new CfnGuardValidator({ disabledRules })
    return validator.validate({ templatePaths: [templatePath], appConstruct })
  }
}

type Resources = Readonly<Record<string, { readonly Type: string }>>
