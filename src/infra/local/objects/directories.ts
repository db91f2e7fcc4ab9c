import { mkdirSync, renameSync } from 'node:fs'
import { open, rmdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'

/** For `catch`: undefined in the place of these errors. */
export const unless =
  (...codes: readonly string[]) =>
  (error: NodeJS.ErrnoException): undefined => {
    if (!codes.includes(error.code ?? '')) throw error
  }

const MOST_TRIES = 200

/**
 * Others may be removing the directory, or one above it, each time that it is made: they are empty until then. Not
 * asynchronous, so that hardly anything comes between the two calls.
 */
export function moveInto(directory: string, file: string, name: string): void {
  for (let tries = 1; ; tries++) {
    try {
      mkdirSync(directory, { recursive: true, mode: 0o700 })
      renameSync(file, join(directory, name))
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || tries === MOST_TRIES) throw error
    }
  }
}

/** Removes a directory that has become empty, and those above it; returns the first that stays. */
export async function removeEmptyUpTo(root: string, directory: string): Promise<string> {
  let place = directory
  while (place !== root) {
    const isGone = await rmdir(place).then(() => true, unless('ENOTEMPTY', 'EEXIST', 'ENOENT'))
    if (isGone === undefined) break
    place = dirname(place)
  }
  return place
}

/** So that what was moved or removed there survives a crash: a directory, and those above it. */
export async function flushUpTo(root: string, directory: string): Promise<void> {
  for (let place = directory; ; place = dirname(place)) {
    const handle = await open(place, 'r').catch(unless('ENOENT'))
    await handle?.sync().finally(() => handle.close())
    if (place === root) return
  }
}
