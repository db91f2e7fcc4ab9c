import type { Role } from '../domain/user.ts'
import type { Credentials, PasswordHasher } from './ports/accounts.ts'
import type {
  BreachedPasswords,
  CommonPasswords,
  FormerPasswords,
  PasswordStrength,
  Strength,
} from './ports/passwords.ts'

/** What a password can break. */
export type PasswordRule = 'length' | 'common' | 'breached' | 'own' | 'former'

/** A new password breaks a rule. `bound`: the length, or how many passwords must not come again. */
export class PasswordRefused extends Error {
  readonly rule: PasswordRule
  readonly bound: number

  constructor(rule: PasswordRule, bound: number) {
    super(rule)
    this.name = 'PasswordRefused'
    this.rule = rule
    this.bound = bound
  }
}

export type PasswordPolicyDependencies = {
  readonly minLength: number
  /** How many last passwords, the present one among them, must not come again for these roles. */
  readonly history: { readonly length: number; readonly roles: ReadonlySet<Role> }
  readonly common: CommonPasswords
  readonly breached: BreachedPasswords
  readonly strength: PasswordStrength
  readonly former: FormerPasswords
  readonly hasher: PasswordHasher
}

/** What its owner is called, as far as it is known. */
export type Owner = { readonly username?: string | undefined; readonly email?: string | undefined }

export type PasswordPolicy = ReturnType<typeof passwordPolicy>

/** What a new password has to be. Whatever sets one asks here first. */
export function passwordPolicy(on: PasswordPolicyDependencies) {
  const { minLength, history, common, breached, strength, former, hasher } = on

  /** How it counts: passwords that look the same are equal. */
  const plain = (password: string): string => password.normalize('NFKC')

  async function judge(
    password: string,
    owner: Owner,
  ): Promise<Strength & { readonly refused: PasswordRefused | null }> {
    const text = plain(password)
    const judged = await strength(text, ownTexts(owner))
    const broken = async (): Promise<PasswordRule | null> => {
      if ([...password].length < minLength) return 'length'
      if (common(text)) return 'common'
      if (judged.isOwn) return 'own'
      return (await breached(text)) ? 'breached' : null
    }
    const rule = await broken()
    return { ...judged, refused: rule === null ? null : new PasswordRefused(rule, minLength) }
  }

  /** How many former passwords are kept of a user, beside the present one. */
  const kept = (role: Role): number =>
    history.roles.has(role) ? Math.max(0, history.length - 1) : 0

  /** Throws `PasswordRefused`. Error: `hashing_busy`. */
  async function requireFor(owner: Owner, password: string): Promise<void> {
    const { refused } = await judge(password, owner)
    if (refused !== null) throw refused
  }

  return {
    judge,
    kept,
    requireFor,

    /** The same for somebody who has a password. Errors: `hashing_busy`, `database_unavailable`. */
    async requireNext(
      { user, password_hash }: Pick<Credentials, 'user' | 'password_hash'>,
      password: string,
    ): Promise<void> {
      await requireFor(user, password)
      if (history.length === 0 || !history.roles.has(user.role)) return
      const hashes = [password_hash, ...(await former.of(user.id, kept(user.role)))]
      // One after the other: they take their turns with those who log in.
      for (const hash of hashes) {
        if (await hasher.verify(password, hash)) {
          throw new PasswordRefused('former', history.length)
        }
      }
    },
  }
}

const ownTexts = ({ username, email }: Owner): readonly string[] =>
  [username, email, email?.split('@')[0]].flatMap((text) => (text ? [text] : []))
