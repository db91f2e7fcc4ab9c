import { App } from 'aws-cdk-lib'
import { dev } from './config/dev.ts'
import { ConfigError, parseEnvironments } from './config/parse.ts'
import { prod } from './config/prod.ts'
import { staging } from './config/staging.ts'
import { Tasktrail } from './stage.ts'
import { addValidations } from './validation/plugins.ts'

try {
  const app = new App()
  // The library's own linter honours the same switch; it is for a quick look, never for a deployment.
  if (process.env.CDK_VALIDATION !== 'false') addValidations(app)
  for (const environment of parseEnvironments([dev, staging, prod])) {
    new Tasktrail(app, environment.name, environment)
  }
  app.synth()
} catch (error) {
  if (!(error instanceof ConfigError)) throw error
  console.error(error.message)
  process.exitCode = 1
}
