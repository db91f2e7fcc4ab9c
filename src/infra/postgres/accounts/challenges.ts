import type { Challenge, Challenges } from '../../../app/ports/factors.ts'
import type { Database } from '../connection/database.ts'

// Each one that is begun removes some that have expired: the table stays as small as what is under way.
const BEGIN = {
  name: 'begin_challenge',
  text: `
    with outdated as (
      select hash from challenges where expires_at <= $7 limit 10 for update skip locked
    ), forgotten as (
      delete from challenges c using outdated o where c.hash = o.hash
    )
    insert into challenges (hash, purpose, user_id, credentials_version, amr, secret, expires_at)
    values ($1, $2, $3, $4, $5, $6, $8)`,
}

const FIND = {
  name: 'find_challenge',
  text: `
    select purpose, user_id, credentials_version, amr, secret from challenges
    where hash = $1 and purpose = $2 and expires_at > $3`,
}

const END = { name: 'end_challenge', text: 'delete from challenges where hash = $1 returning hash' }

export function postgresChallenges(db: Database): Challenges {
  return {
    async begin(hash, { purpose, user_id, credentials_version, amr, secret }, times) {
      const { now, expires_at } = times
      const values = [hash, purpose, user_id, credentials_version, amr, secret, now, expires_at]
      await db.query(BEGIN, values)
    },

    async find(hash, purpose, now) {
      const [found] = await db.query<Challenge>(FIND, [hash, purpose, now])
      return found ?? null
    },

    end: async (hash) => (await db.query(END, [hash])).length > 0,
  }
}
