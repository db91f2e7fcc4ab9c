const MAX_KIB = 128

/** Enough for the longest texts with every character sent as \uXXXX. */
export const MAX_BODY = { bytes: MAX_KIB * 1024, name: `${MAX_KIB} KiB` } as const

/** A key with the colon after it, another string, or where an object begins or ends. */
const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?|[{}]/g

/**
 * The first key that occurs twice in one object; `JSON.parse` would silently keep the last value. The text
 * must be valid JSON. Our own code, because parsers that report such keys build a tree of the whole text,
 * which takes fifty times as long.
 */
export function duplicateKey(json: string): string | undefined {
  const open: Set<string>[] = []
  for (const [token, colon] of json.matchAll(TOKEN)) {
    if (token === '{') open.push(new Set())
    else if (token === '}') open.pop()
    else if (colon !== undefined) {
      const key: string = JSON.parse(token.slice(0, -colon.length))
      const keys = open.at(-1)
      if (keys?.has(key)) return key
      keys?.add(key)
    }
  }
  return undefined
}

/** Whether containers are nested more than `max` deep. */
export function isDeeper(value: unknown, max: number): boolean {
  let level = [value].filter(isContainer)
  for (let depth = 0; depth < max && level.length > 0; depth++) {
    level = level.flatMap((container) => Object.values(container)).filter(isContainer)
  }
  return level.length > 0
}

const isContainer = (value: unknown): value is object => typeof value === 'object' && value !== null
