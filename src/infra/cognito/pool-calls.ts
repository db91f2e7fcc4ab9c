import {
  type CognitoIdentityProviderClient,
  CognitoIdentityProviderServiceException,
} from '@aws-sdk/client-cognito-identity-provider'
import { AppError, type AppErrorCode } from '../../app/errors.ts'

/** Of one call with its second try. */
const WITHIN_MS = 5_000

/** What the pool's refusals mean, by their names. Whoever is unknown is as good as wrong. */
const REFUSALS: Readonly<Record<string, AppErrorCode>> = {
  NotAuthorizedException: 'invalid_credentials',
  UserNotFoundException: 'invalid_credentials',
  InvalidParameterException: 'invalid_credentials',
  UserNotConfirmedException: 'sign_up_unconfirmed',
  PasswordResetRequiredException: 'password_reset_required',
  UsernameExistsException: 'username_taken',
  AliasExistsException: 'email_taken',
  InvalidPasswordException: 'pool_refused',
  CodeMismatchException: 'code_invalid',
  EnableSoftwareTokenMFAException: 'code_invalid',
  ExpiredCodeException: 'code_invalid',
  LimitExceededException: 'too_many_attempts',
  TooManyFailedAttemptsException: 'too_many_attempts',
}

type Send = CognitoIdentityProviderClient['send']

/** Calls the pool within a time; its refusals become errors of ours, and all else that it is unavailable. */
export function poolCalls(client: CognitoIdentityProviderClient): Send {
  const send = async (command: Parameters<Send>[0]) => {
    try {
      return await client.send(command, { abortSignal: AbortSignal.timeout(WITHIN_MS) })
    } catch (error) {
      throw translated(error)
    }
  }
  return send as Send
}

function translated(error: unknown): AppError {
  const { name, message } = error instanceof Error ? error : new Error(String(error))
  const code = error instanceof CognitoIdentityProviderServiceException ? REFUSALS[name] : undefined
  if (code === 'too_many_attempts') return new AppError(code, { retryAfter: 60 })
  if (code !== undefined) return new AppError(code)
  const cause = new Error(`Cognito answers ${name}: ${message}`)
  return new AppError('provider_unavailable', { retryAfter: 5, cause })
}

/** Whoever it is about, the pool does not know them, or lets them in no more. */
export const isUnknown = (error: unknown): boolean =>
  error instanceof AppError && error.code === 'invalid_credentials'

/** The same, but that it means something else where nobody logs in. */
export const otherwise = <T>(code: AppErrorCode, work: Promise<T>): Promise<T> =>
  work.catch((error) => {
    throw isUnknown(error) ? new AppError(code) : error
  })
