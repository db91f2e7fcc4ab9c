import type { Credentials, RequestContext } from './accounts.ts'
import type { LinkKind } from './mails.ts'

/**
 * The account that the link would set a password of, and its link. Only its token leads there, and only as long as the
 * link is valid.
 */
export type Resettable = Pick<Credentials, 'user' | 'credentials_version' | 'password_hash'>

/**
 * What a link in a mail does, each time together with its security event. A link is used once, and only in time. Error
 * of every method: `database_unavailable`.
 */
export type AccountLinks = {
  /**
   * `confirmed`: the address is that of the account now. `waiting`: the other address has to confirm the change too.
   * `taken`: another account has confirmed the address. `refused`: this is no valid link to do that.
   */
  readonly confirm: (
    token: string,
    requestContext: RequestContext,
  ) => Promise<'confirmed' | 'waiting' | 'taken' | 'refused'>
  /** Ends a change of address. False: this is no valid link to do that. */
  readonly cancel: (token: string, requestContext: RequestContext) => Promise<boolean>
  /** Null: this is no valid link to set a password. */
  readonly resettable: (token: string, now: Date) => Promise<Resettable | null>
  /**
   * Sets the password, ends all sessions, clears the attempts to log in, and keeps so many former hashes. False:
   * somebody was first, or the account has changed.
   */
  readonly reset: (
    token: string,
    next: { readonly hash: string; readonly kept: number },
    requestContext: RequestContext,
  ) => Promise<boolean>
  /** Records `link_refused`: what the link was to do, and why it does not. */
  readonly refuse: (
    token: string,
    wanted: readonly LinkKind[],
    requestContext: RequestContext,
  ) => Promise<void>

  /** Has a link to confirm the account's address mailed there, unless it is confirmed. */
  readonly askToVerify: (user_id: number, requestContext: RequestContext) => Promise<void>
  /** Has a link mailed to the address, if an account has confirmed it. The same whether one has or not. */
  readonly askToReset: (address: string, requestContext: RequestContext) => Promise<void>
  /**
   * Has links mailed to both addresses; ends a change that is under way. False if the password was changed since it was
   * checked.
   */
  readonly askToChange: (
    credentials: Credentials,
    address: string,
    expires_at: Date,
    requestContext: RequestContext,
  ) => Promise<boolean>
}
