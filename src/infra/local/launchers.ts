import { readFileSync } from 'node:fs'

/**
 * Calls back when npm or bin/node.cjs, which started this process, has been killed with SIGKILL and so
 * could not pass a signal on. The shell that started those may go: that is how one starts something in the
 * background.
 */
export function whenLauncherDies(callback: () => void): void {
  const links = launchers()
  if (links.length === 0) return
  const timer = setInterval(() => {
    // A process whose parent died gets another parent at once.
    if (links.every(({ child, parent }) => parentOf(child) === parent)) return
    clearInterval(timer)
    callback()
  }, 500)
  timer.unref()
}

type Link = { readonly child: number; readonly parent: number }

/** From this process up to npm, or else to bin/node.cjs. Empty where there is no /proc. */
function launchers(): readonly Link[] {
  const links: Link[] = []
  let [launched, child] = [0, process.pid]
  // Between npm and this process are the launcher and perhaps a shell.
  for (let depth = 1; depth <= 3; depth++) {
    const parent = parentOf(child)
    if (parent === null || parent <= 1) break
    links.push({ child, parent })
    const command = read(parent, 'cmdline')?.replaceAll('\0', ' ') ?? ''
    if (/^npm |\bnpm(-cli\.js)? (run|start)\b/.test(command)) return links
    if (depth === 1 && /bin\/node\.cjs /.test(command)) launched = 1
    child = parent
  }
  return links.slice(0, launched)
}

function parentOf(pid: number): number | null {
  if (pid === process.pid) return process.ppid
  // The name, the second field, may itself contain spaces and parentheses.
  const parent = read(pid, 'stat')?.match(/.*\) \S (\d+)/s)?.[1]
  return parent === undefined ? null : Number(parent)
}

function read(pid: number, file: string): string | null {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return null
  }
}
