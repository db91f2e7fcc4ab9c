import type { Origins } from '../../app/ports/origins.ts'
import { countries } from './country.ts'
import { deviceOf } from './device.ts'

/** Asks nobody: both are looked up in what the service has. `database`: another one of countries than ours. */
export const origins = (database?: string): Origins => ({
  device: deviceOf,
  place: countries(database),
})
