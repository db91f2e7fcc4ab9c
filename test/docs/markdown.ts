import { readFileSync } from 'node:fs'

/** A fenced block of code. */
export type Fence = {
  readonly language: string
  readonly code: string
  /** What stands in the comment on the line above it: `<!-- run -->` gives `run`, else ''. */
  readonly mark: string
  /** Of the opening fence, from 1. */
  readonly line: number
}

/** The blocks of a Markdown text, in order. A block that no fence ends is an error. */
export function fences(markdown: string): readonly Fence[] {
  const lines = markdown.split('\n')
  const found: Fence[] = []
  for (let at = 0; at < lines.length; at++) {
    const [, indent = '', language = ''] = lines[at]?.match(/^( *)```(\w*)$/) ?? []
    if (!lines[at]?.startsWith('```', indent.length)) continue
    const end = lines.indexOf(`${indent}\`\`\``, at + 1)
    if (end === -1) throw new Error(`line ${at + 1}: no fence ends this block`)
    const code = lines.slice(at + 1, end).map((text) => text.slice(indent.length))
    const [, mark = ''] = lines[at - 1]?.match(/^ *<!-- (.*) -->$/) ?? []
    found.push({ language, code: code.join('\n'), mark, line: at + 1 })
    at = end
  }
  return found
}

/** The text without its blocks of code. */
export function prose(markdown: string): string {
  return markdown.replace(/^( *)```[\s\S]*?^\1```$/gm, '')
}

/** The anchors that GitHub gives to the headings. */
export function anchors(markdown: string): readonly string[] {
  const times = new Map<string, number>()
  return [...prose(markdown).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => {
    const slug = heading
      .toLowerCase()
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(' ', '-')
    const before = times.get(slug) ?? 0
    times.set(slug, before + 1)
    return before === 0 ? slug : `${slug}-${before}`
  })
}

/** The part below a heading, up to the next heading that is as high or higher. */
export function section(markdown: string, heading: string): string {
  const lines = markdown.split('\n')
  const begin = lines.indexOf(heading)
  if (begin === -1) throw new Error(`there is no "${heading}"`)
  const level = heading.indexOf(' ')
  const rest = lines.slice(begin + 1)
  let inside = false
  const end = rest.findIndex((line) => {
    if (/^ *```/.test(line)) inside = !inside
    return !inside && new RegExp(`^#{1,${level}} `).test(line)
  })
  return rest.slice(0, end === -1 ? undefined : end).join('\n')
}

/** What stands below the comment `<!-- mark -->`, up to the next comment or heading. */
export function marked(markdown: string, mark: string): string {
  const [, after] = markdown.split(`<!-- ${mark} -->\n`)
  if (after === undefined) throw new Error(`there is no <!-- ${mark} -->`)
  return after.split(/\n(?:<!-- |#+ )/)[0] ?? ''
}

/** The first block of code below the comment `<!-- mark -->`, which is JSON. */
// biome-ignore lint/suspicious/noExplicitAny: whatever the document says
export const markedJson = (markdown: string, mark: string): any =>
  JSON.parse(fences(marked(markdown, mark))[0]?.code ?? '')

/** The cells of the rows of a text's tables, without the heads. */
export function rows(markdown: string): readonly (readonly string[])[] {
  const table = prose(markdown)
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .map((line) =>
      line
        .slice(1, -1)
        .split(/(?<!\\)\|/)
        .map((cell) => cell.trim()),
    )
  return table.filter(
    (cells, at) => !isRule(cells) && !(table[at + 1] && isRule(table[at + 1] ?? [])),
  )
}

const isRule = (cells: readonly string[]): boolean => cells.every((cell) => /^:?-+:?$/.test(cell))

/** What is between backquotes. */
export const literals = (markdown: string): readonly string[] =>
  [...markdown.matchAll(/`([^`]+)`/g)].map(([, text = '']) => text)

export const read = (path: string): string => readFileSync(path, 'utf8')
