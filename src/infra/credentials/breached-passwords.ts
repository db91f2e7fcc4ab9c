import { createHash } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { BreachedPasswords } from '../../app/ports/passwords.ts'

/** The largest ranges of the list have about 50 KiB. */
const RANGE_AT_MOST = 1 << 20

const PREFIX = 5
const RANGE = /^[0-9A-F]{5}(\.txt)?$/i

/** How the range files there end: `''` or `.txt`; null if there are none, or the directory cannot be read. */
export function rangeFilesIn(directory: string): string | null {
  try {
    const one = readdirSync(directory).find((name) => RANGE.test(name))
    return one?.slice(PREFIX) ?? null
  } catch {
    return null
  }
}

/**
 * Compares with a list in the form of Have I Been Pwned's Pwned Passwords: a file for each five digits that a SHA-1 can
 * begin with (`0A1B2` or `0A1B2.txt`), with the other digits and a number on each line (`SUFFIX:COUNT`). A range without
 * a file has no breached password.
 */
export function breachedPasswords(directory: string): BreachedPasswords {
  const extension = rangeFilesIn(directory)

  async function readRange(prefix: string): Promise<string> {
    const file = await open(join(directory, prefix + extension)).catch(async (error) => {
      if (error.code !== 'ENOENT') throw error
      // The whole list must not be gone unnoticed.
      await stat(directory)
      return null
    })
    if (file === null) return ''
    try {
      const { size } = await file.stat()
      if (size > RANGE_AT_MOST) throw new Error(`${prefix}${extension} has more than 1 MiB`)
      return await file.readFile('latin1')
    } finally {
      await file.close()
    }
  }

  return async (password) => {
    const hash = createHash('sha1').update(password).digest('hex').toUpperCase()
    const suffix = hash.slice(PREFIX)
    const lines = (await readRange(hash.slice(0, PREFIX))).toUpperCase().split(/\r?\n/)
    const found = lines.find((line) => line.startsWith(`${suffix}:`))
    // Those that asked for padding have lines with a count of zero, which are made up.
    return found !== undefined && Number(found.slice(suffix.length + 1)) > 0
  }
}
