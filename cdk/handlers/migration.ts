// What Lambda calls for the custom resource in constructs/migration.ts.

import { setTimeout as pause } from 'node:timers/promises'
import { DescribeTasksCommand, ECSClient, RunTaskCommand } from '@aws-sdk/client-ecs'
import { type Ecs, isComplete as hasEnded, type MigrationEvent, start } from './run-migration.ts'

const client = new ECSClient({})
const ecs: Ecs = {
  runTask: (input) => client.send(new RunTaskCommand(input)),
  describeTasks: (input) => client.send(new DescribeTasksCommand(input)),
  pause: (ms) => pause(ms),
}

export const onEvent = (event: MigrationEvent) => start(event, ecs)
export const isComplete = (event: MigrationEvent) => hasEnded(event, ecs)
