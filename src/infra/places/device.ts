import Bowser from 'bowser'

const BROWSERS = new Set<string | undefined>(Object.values(Bowser.BROWSER_MAP))

const UNKNOWN = 'an unknown program'

/** As programs that are no browsers call themselves. Without dots: nothing that a mail would make a link of. */
const PROGRAM = /^([A-Za-z][A-Za-z-]{0,30})(\/\S{1,50})?( |$)/

/** What a User-Agent header says, in words. */
export function deviceOf(user_agent: string | null): string {
  if (!user_agent) return UNKNOWN
  const { browser, os } = Bowser.parse(user_agent)
  // Of a browser that it does not know it repeats whatever the header says.
  if (BROWSERS.has(browser.name))
    return os.name ? `${browser.name} on ${os.name}` : `${browser.name}`
  const [, program = UNKNOWN] = PROGRAM.exec(user_agent) ?? []
  return program === 'Mozilla' ? UNKNOWN : program
}
