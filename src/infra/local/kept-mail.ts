import { readFile } from 'node:fs/promises'
import { KEPT_MAIL } from '../mail/mail-directory.ts'

const LINK = /^\s*(https?:\/\/\S+#\S+)\s*$/gm

/**
 * Of a line that says that a mail was kept as a file: what a person needs of it on the console. The links stand in the
 * file alone, so that they come into no log. Null: it is another line.
 */
export function keptMail(line: string): Promise<string> | null {
  if (!line.includes(KEPT_MAIL)) return null
  const { msg, file, subject } = JSON.parse(line) as Record<string, string>
  if (msg !== KEPT_MAIL || file === undefined) return null
  return readFile(file, 'utf8')
    .catch(() => '')
    .then((message) => {
      const links = [...unfolded(message).matchAll(LINK)].map(([, link]) => `\n  ${link}`)
      return `mail: ${subject}: ${file}${links.join('')}`
    })
}

/** Long lines are folded (quoted-printable, RFC 2045); texts of mails are ASCII. */
const unfolded = (message: string): string =>
  message
    .replace(/=\r?\n/g, '')
    .replace(/=([0-9A-F]{2})/g, (_, code) => String.fromCharCode(Number.parseInt(code, 16)))
