/**
 * CloudWatch's filter patterns for JSON, as far as ours go: `{ ($.a = "x*") && ($.b >= 5) }`.
 * Throws on anything else, so that a pattern it does not know is no silent match.
 */
export function matches(pattern: string, event: unknown): boolean {
  const tokens = pattern.match(/\$[\w.[\]]+|"[^"]*"|&&|\|\||!=|>=|=|[(){}]|-?[\d.]+/g) ?? []
  const bare = (text: string) => text.replace(/\s/g, '')
  if (bare(tokens.join('')) !== bare(pattern)) throw new Error(`Unknown: ${pattern}`)
  const expect = (wanted: string): void => {
    const token = tokens.shift()
    if (token !== wanted) throw new Error(`${wanted} expected, not ${token}, in ${pattern}`)
  }
  const comparison = (): boolean => {
    const value = valueAt(event, tokens.shift() ?? '')
    return compare(value, tokens.shift() ?? '', tokens.shift() ?? '')
  }
  const term = (): boolean => {
    if (tokens[0] !== '(') return comparison()
    expect('(')
    const result = expression()
    expect(')')
    return result
  }
  const expression = (): boolean => {
    let result = term()
    while (tokens[0] === '&&' || tokens[0] === '||') {
      const operator = tokens.shift()
      const next = term()
      result = operator === '&&' ? result && next : result || next
    }
    return result
  }
  expect('{')
  const result = expression()
  expect('}')
  return result
}

export const valueAt = (event: unknown, path: string): unknown =>
  path
    .replace(/^\$\./, '')
    .split(/[.[\]]+/)
    .filter((key) => key !== '')
    .reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], event)

/** What is not there fits no comparison, not even "not equal". */
function compare(value: unknown, operator: string, literal: string): boolean {
  if (value === undefined) return false
  if (!literal.startsWith('"')) {
    const number = Number(literal)
    if (operator === '>=') return Number(value) >= number
    return operator === '=' ? value === number : value !== number
  }
  const wildcard = literal.slice(1, -1).split('*').map(RegExp.escape).join('.*')
  const fits = new RegExp(`^${wildcard}$`).test(String(value))
  return operator === '=' ? fits : !fits
}
