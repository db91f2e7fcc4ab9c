import { ACCOUNT_EVENT_ENDPOINTS } from '../../src/http/account-events.ts'
import { ACCOUNT_RECORD_ENDPOINTS } from '../../src/http/account-records.ts'
import { AUDIT_ENDPOINTS } from '../../src/http/audit.ts'
import { AUDIT_RECORD_ENDPOINTS } from '../../src/http/audit-records.ts'
import { AUTH_ENDPOINTS } from '../../src/http/auth.ts'
import type { Endpoint } from '../../src/http/endpoint.ts'
import { FACTOR_ENDPOINTS } from '../../src/http/factors.ts'
import { healthEndpoints, wholeHealth } from '../../src/http/health.ts'
import { LOG_ENDPOINTS } from '../../src/http/log.ts'
import { PASSWORD_ENDPOINTS } from '../../src/http/passwords.ts'
import { PERSON_EXPORT_ENDPOINTS } from '../../src/http/person-export.ts'
import { PHOTO_ENDPOINTS } from '../../src/http/photos.ts'
import { PROFILE_ENDPOINTS } from '../../src/http/profile.ts'
import { RECOVERY_ENDPOINTS } from '../../src/http/recovery.ts'
import { SIGN_IN_WITH_ENDPOINTS } from '../../src/http/sign-in-with.ts'
import { TASK_HISTORY_ENDPOINTS } from '../../src/http/task-history.ts'
import { TASK_ENDPOINTS } from '../../src/http/tasks.ts'
import { USER_POOL_ENDPOINTS } from '../../src/http/user-pool.ts'
import { USER_ENDPOINTS } from '../../src/http/users.ts'

/** What each service documents. */
export const OF_AUTH_SERVICE: readonly Endpoint[] = [
  ...healthEndpoints('/auth', 'auth'),
  ...AUTH_ENDPOINTS,
  ...FACTOR_ENDPOINTS,
  ...ACCOUNT_RECORD_ENDPOINTS,
  ...PASSWORD_ENDPOINTS,
  ...PROFILE_ENDPOINTS,
  ...USER_ENDPOINTS,
  ...ACCOUNT_EVENT_ENDPOINTS,
  ...RECOVERY_ENDPOINTS,
  ...SIGN_IN_WITH_ENDPOINTS,
  ...USER_POOL_ENDPOINTS,
]
export const OF_TASK_SERVICE: readonly Endpoint[] = [
  ...healthEndpoints('/tasks', 'task'),
  wholeHealth,
  ...TASK_HISTORY_ENDPOINTS,
  ...TASK_ENDPOINTS,
  ...PHOTO_ENDPOINTS,
  ...AUDIT_ENDPOINTS,
  ...PERSON_EXPORT_ENDPOINTS,
  ...AUDIT_RECORD_ENDPOINTS,
  ...LOG_ENDPOINTS,
]
export const ENDPOINTS = [...OF_AUTH_SERVICE, ...OF_TASK_SERVICE]
