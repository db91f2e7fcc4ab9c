import type { ProviderSignIn, ProviderSignIns } from '../../../app/ports/identity-providers.ts'
import type { Database } from '../connection/database.ts'

const hash = (parameter: string) => `sha256(convert_to(${parameter}, 'UTF8'))`

// Each one removes some that nobody has completed: the table stays small.
const BEGIN = {
  name: 'begin_provider_sign_in',
  text: `
    with outdated as (
      select state_hash from provider_sign_ins where begun_at < $9::timestamptz - interval '10 minutes'
      order by begun_at limit 10 for update skip locked
    ), forgotten as (
      delete from provider_sign_ins p using outdated o where p.state_hash = o.state_hash
    )
    insert into provider_sign_ins
      (state_hash, browser_hash, provider, redirect_uri, nonce, verifier, session_id, in_cookies, begun_at)
    values (${hash('$1')}, ${hash('$2')}, $3, $4, $5, $6, $7, $8, $9)`,
}

const TAKE = {
  name: 'take_provider_sign_in',
  text: `
    delete from provider_sign_ins where state_hash = ${hash('$1')}
    returning provider, redirect_uri, nonce, verifier, session_id, in_cookies,
      browser_hash = ${hash('$2')} and begun_at > $3::timestamptz - interval '10 minutes' as is_theirs`,
}

export function postgresProviderSignIns(db: Database): ProviderSignIns {
  return {
    async begin(state, browser, signIn, now) {
      const { provider, redirect_uri, nonce, verifier, session_id, in_cookies } = signIn
      const values = [provider, redirect_uri, nonce, verifier, session_id, in_cookies]
      await db.query(BEGIN, [state, browser, ...values, now])
    },

    async take(state, browser, now) {
      const [taken] = await db.query<ProviderSignIn & { is_theirs: boolean }>(TAKE, [
        state,
        browser,
        now,
      ])
      if (!taken?.is_theirs) return null
      const { is_theirs, ...signIn } = taken
      return signIn
    },
  }
}
