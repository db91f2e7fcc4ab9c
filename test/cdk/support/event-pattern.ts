// biome-ignore lint/suspicious/noExplicitAny: an event and a pattern have any shape
type Value = any

/**
 * Whether EventBridge would match, as far as our patterns go: exact values, `prefix`, `wildcard`,
 * `anything-but` and `$or`. A list in the event matches when one of its elements does.
 */
export function matchesEvent(pattern: Value, event: Value): boolean {
  if (Array.isArray(event)) return event.some((element) => matchesEvent(pattern, element))
  return Object.entries(pattern).every(([key, wanted]) => {
    if (key === '$or') return (wanted as Value[]).some((one) => matchesEvent(one, event))
    const value = event?.[key]
    if (!Array.isArray(wanted)) return value !== undefined && matchesEvent(wanted, value)
    const values = Array.isArray(value) ? value : [value]
    return values.some((one) => one !== undefined && wanted.some((rule) => allows(rule, one)))
  })
}

function allows(rule: Value, value: Value): boolean {
  if (typeof rule !== 'object') return rule === value
  if ('prefix' in rule) return String(value).startsWith(rule.prefix)
  if ('wildcard' in rule) {
    const parts = rule.wildcard.split('*').map((part: string) => RegExp.escape(part))
    return new RegExp(`^${parts.join('.*')}$`).test(String(value))
  }
  if ('anything-but' in rule) return ![rule['anything-but']].flat().includes(value)
  throw new Error(`no model of ${JSON.stringify(rule)}`)
}
