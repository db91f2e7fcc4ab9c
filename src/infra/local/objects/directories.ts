import { mkdir, open, rename, rmdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'

/** For `catch`: undefined in the place of these errors. */
export const unless =
  (...codes: readonly string[]) =>
  (error: NodeJS.ErrnoException): undefined => {
    if (!codes.includes(error.code ?? '')) throw error
  }

/** Others may be removing the directory, which is empty, at the same time. */
export async function moveInto(directory: string, file: string, name: string): Promise<void> {
  for (let tries = 1; ; tries++) {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    try {
      return await rename(file, join(directory, name))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || tries === 10) throw error
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
