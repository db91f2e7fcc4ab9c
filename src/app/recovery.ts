import { AppError } from './errors.ts'
import type { PasswordPolicy } from './password-policy.ts'
import type { AccountLinks } from './ports/account-links.ts'
import type { PasswordHasher, RequestContext } from './ports/accounts.ts'
import type { LinkKind } from './ports/mails.ts'

export type RecoveryDependencies = {
  readonly links: AccountLinks
  readonly hasher: PasswordHasher
  readonly passwords: PasswordPolicy
}

export type Recovery = ReturnType<typeof recovery>

const CONFIRMING: readonly LinkKind[] = ['verify', 'change-old', 'change-new']

/** What links in mails do. Error of every use case: `database_unavailable`. */
export function recovery({ links, hasher, passwords }: RecoveryDependencies) {
  async function refuse(
    token: string,
    wanted: readonly LinkKind[],
    requestContext: RequestContext,
  ): Promise<never> {
    await links.refuse(token, wanted, requestContext)
    throw new AppError('link_invalid')
  }

  return {
    /** `waiting`: the other address has to confirm too. Errors: `link_invalid`, `email_taken`. */
    async confirm(token: string, requestContext: RequestContext): Promise<'confirmed' | 'waiting'> {
      const outcome = await links.confirm(token, requestContext)
      if (outcome === 'refused') return refuse(token, CONFIRMING, requestContext)
      if (outcome === 'taken') throw new AppError('email_taken')
      return outcome
    },

    /** Error: `link_invalid`. */
    async cancel(token: string, requestContext: RequestContext): Promise<void> {
      if (!(await links.cancel(token, requestContext))) {
        await refuse(token, ['cancel'], requestContext)
      }
    },

    /** Errors: `link_invalid`, `hashing_busy`, `PasswordRefused`, after which the link is still good. */
    async reset(token: string, password: string, requestContext: RequestContext): Promise<void> {
      // Nobody takes a hashing slot from logins with a link that is none.
      const found = await links.resettable(token, requestContext.now)
      if (found === null) return refuse(token, ['reset'], requestContext)
      await passwords.requireNext(found, password)
      const next = { hash: await hasher.hash(password), kept: passwords.kept(found.user.role) }
      if (!(await links.reset(token, next, requestContext))) {
        await refuse(token, ['reset'], requestContext)
      }
    },

    /** Does the same for every address: what becomes of it, only its mailbox learns. */
    askToReset: (address: string, requestContext: RequestContext): Promise<void> =>
      links.askToReset(address, requestContext),

    askToVerify: (user_id: number, requestContext: RequestContext): Promise<void> =>
      links.askToVerify(user_id, requestContext),
  }
}
