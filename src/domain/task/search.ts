// Finds what people mean by the same word, whatever keyboard and system they type on, and the same on every
// server: neither Node's nor PostgreSQL's locale is used. The database stores the folded texts of each task
// (docs/adr/0016-search.md): rebuild it after a change here, or of Node's Unicode version.

const INVISIBLE = /\p{Default_Ignorable_Code_Point}/gu
const MARKED_I = /i\p{M}+/gu

/**
 * Texts that fold to the same value match in a search: compatibility forms (NFKC), letter case and
 * invisible characters make no difference; accents do. Lower case, upper and lower again, because some
 * letters (ß, ẞ, ſ) meet in one case only. A final sigma equals any other, and all forms of i are one
 * letter: İ and ı are letters of their own in Turkish, but whoever types izmir means İZMİR.
 */
export function fold(text: string): string {
  const visible = text.normalize('NFKD').replace(INVISIBLE, '')
  const lower = visible.toLowerCase().toUpperCase().toLowerCase().replaceAll('ς', 'σ')
  const undotted = (i: string): string => i.replaceAll('\u0307', '')
  return lower.normalize('NFKD').replace(MARKED_I, undotted).normalize('NFKC')
}

/** Whether one of a task's texts contains the search text. */
export function searchFor(q: string): (...texts: readonly (string | null)[]) => boolean {
  const wanted = fold(q)
  return (...texts) => texts.some((text) => text !== null && fold(text).includes(wanted))
}
