import { type App, Validations } from 'aws-cdk-lib'
import { AwsSolutionsChecks, NIST80053R5Checks } from 'cdk-nag'
import { GuardRules } from './guard.ts'

/**
 * Third-party rules, applied to every template; a finding that is not acknowledged fails synth. The
 * library's own linter runs too, made strict by a flag in cdk.json.
 */
export function addValidations(app: App): void {
  Validations.of(app).addPlugins(
    new AwsSolutionsChecks(app),
    new NIST80053R5Checks(app),
    new GuardRules(),
  )
}
