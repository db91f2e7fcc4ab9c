import { AppError } from './errors.ts'
import type { Users } from './ports/accounts.ts'
import type { Authentication, Caller } from './ports/authorization.ts'

/** How long a proof of who somebody is lasts for what cannot be taken back. */
const RECENT_SECONDS = 10 * 60

type Amr = Authentication['amr']

/** What a session knows of its user after another proof. */
export function amrAfter(before: Amr, proof: Amr): Amr {
  const all = new Set([...before, ...proof])
  const isKnown = all.has('pwd') || all.has('fed')
  return [...(isKnown && all.has('otp') ? all.add('mfa') : all)]
}

/** Error: `step_up_required`, unless the caller has just proven who they are, with two factors if they have a second one. */
export function requireStepUp(
  { auth_time, amr }: Caller,
  { hasSecondFactor, now }: { readonly hasSecondFactor: boolean; readonly now: Date },
): void {
  const isRecent = now.getTime() / 1000 - auth_time <= RECENT_SECONDS
  if (!isRecent || (hasSecondFactor && !amr.includes('mfa'))) throw new AppError('step_up_required')
}

/** As `requireStepUp`, for callers of whom nothing else is known yet. */
export async function requireOwnStepUp(
  users: Pick<Users, 'find'>,
  caller: Caller,
  now: Date,
): Promise<void> {
  const own = await users.find(caller.user_id)
  requireStepUp(caller, { hasSecondFactor: own?.has_second_factor ?? false, now })
}
