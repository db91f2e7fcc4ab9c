import type { Context } from 'koa'
import type { SignedIn } from '../app/sign-in.ts'
import { COOKIES, cookieOf } from './edge.ts'
import { HttpError } from './errors.ts'

/** `Lax`: a link from elsewhere shows the page signed in; requests that change something come from the page itself. */
const ATTRIBUTES = 'Path=/; Secure; HttpOnly; SameSite=Lax'

type AccessToken = Pick<SignedIn, 'token' | 'expires_in'>

/** Gives a browser its access token: no script can read it. */
export function setAccess(ctx: Context, { token, expires_in }: AccessToken): void {
  ctx.append('Set-Cookie', `${COOKIES.access}=${token}; Max-Age=${expires_in}; ${ATTRIBUTES}`)
}

/** The tokens of a session, in the body or in cookies. */
export function answerSession(ctx: Context, session: SignedIn, inCookies: boolean): void {
  if (!inCookies) {
    ctx.body = session
    return
  }
  const { token, refresh_token, ...facts } = session
  setAccess(ctx, session)
  ctx.append(
    'Set-Cookie',
    `${COOKIES.refresh}=${refresh_token}; Max-Age=${session.refresh_expires_in}; ${ATTRIBUTES}`,
  )
  ctx.body = facts
}

export function clearSession(ctx: Context): void {
  const cleared = (name: string) => `${name}=; Max-Age=0; ${ATTRIBUTES}`
  ctx.append('Set-Cookie', [cleared(COOKIES.access), cleared(COOKIES.refresh)])
}

export const refreshCookie = (ctx: Context): string | undefined =>
  cookieOf(ctx.get('Cookie'), COOKIES.refresh) || undefined

/** Error: `cross_site_request`. */
export type RequireOwnPage = (ctx: Context) => void

/**
 * Cookies come along with whatever a browser sends, so a request that changes something by them must come from our
 * own pages, or those of these origins: browsers say from where (Fetch Metadata, which no script can forge). One that
 * does not say is refused.
 */
export function requireOwnPage(origins: readonly string[]): RequireOwnPage {
  const known = new Set(origins)
  return (ctx) => {
    const site = ctx.get('Sec-Fetch-Site')
    const origin = ctx.get('Origin')
    if (site === 'same-origin' || known.has(origin)) return
    // Browsers before Fetch Metadata name the origin alone.
    if (site === '' && origin !== '' && URL.parse(origin)?.host === ctx.host) return
    throw new HttpError('cross_site_request')
  }
}
