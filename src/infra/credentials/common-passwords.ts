import { dictionary } from '@zxcvbn-ts/language-common'
import type { CommonPasswords } from '../../app/ports/passwords.ts'

/** The 3,000 most common of the passwords that are long enough (NIST 800-63B). */
const ENOUGH = 3_000

/** In whatever letter case. */
export function commonPasswords(minLength: number): CommonPasswords {
  const common = new Set(
    dictionary['passwords-common'].filter(({ length }) => length >= minLength).slice(0, ENOUGH),
  )
  return (password) => common.has(password.toLowerCase())
}
