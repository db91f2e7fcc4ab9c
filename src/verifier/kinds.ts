import { open } from 'node:fs/promises'
import { Unreadable } from './failures.ts'

/** What can be checked. */
export type Kind = 'export' | 'proof' | 'checkpoint'

const HEAD = 1_024

/** By its beginning; whatever else it may be is checked as an export. Error: `Unreadable`. */
export async function kindOf(file: string): Promise<Kind> {
  const text = await beginningOf(file)
  if (text.startsWith('c2sp.org/tlog-proof@')) return 'proof'
  // A signature line. An export has no empty line that such a line could follow.
  return /\n\n\u2014 /.test(text) ? 'checkpoint' : 'export'
}

async function beginningOf(file: string): Promise<string> {
  try {
    const handle = await open(file)
    try {
      // Whoever reads it says why not.
      if (!(await handle.stat()).isFile()) return ''
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(HEAD), 0, HEAD, 0)
      return buffer.toString('utf8', 0, bytesRead)
    } finally {
      await handle.close()
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    throw new Unreadable(`${file} cannot be read (${code}).`)
  }
}
