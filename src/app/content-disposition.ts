const MOST_CHARACTERS = 150

/**
 * A Content-Disposition that no file name breaks out of, in ASCII alone (RFC 6266, RFC 8187). A name cannot lead
 * into another directory, hide the file, or show its ending elsewhere than at the end.
 */
export function contentDisposition(kind: 'attachment' | 'inline', fileName: string): string {
  const name = harmless(fileName)
  // Clients that know no `filename*`; some of them decode %41, and some take \ as the end.
  const ascii = name.replace(/[^ -~]|["%]/gu, '_')
  return `${kind}; filename="${ascii}"; filename*=UTF-8''${extValue(name)}`
}

function harmless(fileName: string): string {
  const characters = fileName
    .toWellFormed()
    .replace(/[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}/\\:*?"<>|]/gu, '_')
  // The end of a long name says what it is.
  const name = [...characters].slice(-MOST_CHARACTERS).join('').trim()
  return name.replace(/^\.+/, '_') || 'file'
}

/** RFC 8187, ext-value: `encodeURIComponent` leaves a few characters that are not allowed there. */
const extValue = (text: string): string =>
  encodeURIComponent(text).replace(
    /['()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
