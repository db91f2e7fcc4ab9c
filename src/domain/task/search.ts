// What people mean by the same word, whatever keyboard and system it was typed on, and the same on
// every server: neither Node nor PostgreSQL is asked for a locale. The database keeps what these say of
// each task (docs/adr/0016-search.md): after a change here, or of Node's Unicode version, rebuild it.

const INVISIBLE = /\p{Default_Ignorable_Code_Point}/gu
const MARKED_I = /i\p{M}+/gu

/**
 * Texts that fold to the same are the same to a search: compatibility forms (NFKC), letter case, and
 * characters that cannot be seen make no difference; accents do. Down, up and down again, because some
 * letters (ß, ẞ, ſ) meet in one case only. No sigma is final, and i is one letter: İ and ı are letters
 * of their own in Turkish, but whoever types izmir means İZMİR.
 */
export function fold(text: string): string {
  const visible = text.normalize('NFKD').replace(INVISIBLE, '')
  const lower = visible.toLowerCase().toUpperCase().toLowerCase().replaceAll('ς', 'σ')
  const undotted = (i: string): string => i.replaceAll('\u0307', '')
  return lower.normalize('NFKD').replace(MARKED_I, undotted).normalize('NFKC')
}

/** Whether one of a task's texts holds what is searched for. */
export function searchFor(q: string): (...texts: readonly (string | null)[]) => boolean {
  const wanted = fold(q)
  return (...texts) => texts.some((text) => text !== null && fold(text).includes(wanted))
}
