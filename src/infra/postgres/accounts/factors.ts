import { AppError } from '../../../app/errors.ts'
import type { Factor, Factors, NewFactor, Passkey, Totp } from '../../../app/ports/factors.ts'
import { type Database, violates } from '../connection/database.ts'
import { RECORD, requestContextValues } from './security-events.ts'

const FACTOR = 'id, kind, name, created_at, last_used_at'

const OF_USER = {
  name: 'factors_of_user',
  text: `select ${FACTOR} from factors where user_id = $1 order by created_at, id`,
}

const ADD = {
  name: 'add_factor',
  text: `
    with added as (
      insert into factors (id, user_id, kind, name, created_at, secret, last_step, credential_id,
        public_key, sign_count)
      values ($7, $5, $8, $9, $4::timestamptz, $10, $11, $12, $13, $14) returning ${FACTOR}
    ), recorded as (${RECORD}
      select $1, $2, $3, $4, 'factor_added', $5, $6, null,
        jsonb_build_object('kind', kind, 'name', name) from added
    )
    select * from added`,
}

const REMOVE = {
  name: 'remove_factor',
  text: `
    with removed as (
      delete from factors where id = $7 and user_id = $5 returning kind, name
    ), useless as (
      delete from recovery_codes where user_id = $5 and exists (select from removed)
        and not exists (select from factors where user_id = $5 and id <> $7)
    ), recorded as (${RECORD}
      select $1, $2, $3, $4::timestamptz, 'factor_removed', $5, $6, null,
        jsonb_build_object('kind', kind, 'name', name) from removed
    )
    select kind from removed`,
}

const TOTPS = {
  name: 'totps_of_user',
  text: `select id, secret, last_step from factors where user_id = $1 and kind = 'totp'`,
}

const USE_TOTP = {
  name: 'use_totp',
  text: `
    update factors set last_step = $2, last_used_at = $3 where id = $1 and last_step < $2 returning id`,
}

const PASSKEY_IDS = {
  name: 'passkeys_of_user',
  text: `select credential_id from factors where user_id = $1 and kind = 'passkey'`,
}

const PASSKEY = {
  name: 'find_passkey',
  text: `
    select id, user_id, credential_id, public_key, sign_count from factors where credential_id = $1`,
}

const USE_PASSKEY = {
  name: 'use_passkey',
  text: `
    update factors set sign_count = $2, last_used_at = $3
    where id = $1 and (sign_count < $2 or sign_count = 0 and $2 = 0) returning id`,
}

const COUNT_CODES = {
  name: 'count_recovery_codes',
  text: 'select count(*)::int as codes from recovery_codes where user_id = $1',
}

const SET_CODES = {
  name: 'set_recovery_codes',
  text: `
    with outdated as (
      delete from recovery_codes where user_id = $5
    ), added as (
      insert into recovery_codes (hash, user_id) select unnest($7::bytea[]), $5 returning 1
    )
    ${RECORD}
    select $1, $2, $3, $4, 'recovery_codes_made', $5, $6, null,
      jsonb_build_object('codes', (select count(*) from added))`,
}

const USE_CODE = {
  name: 'use_recovery_code',
  text: `
    with used as (
      delete from recovery_codes where hash = $7 and user_id = $5 returning user_id
    ), recorded as (${RECORD}
      select $1, $2, $3, $4::timestamptz, 'recovery_code_used', user_id, $6, null,
        jsonb_build_object('left', (select count(*) - 1 from recovery_codes where user_id = $5))
      from used
    )
    select user_id from used`,
}

export function postgresFactors(db: Database): Factors {
  return {
    ofUser: (user_id) => db.query<Factor>(OF_USER, [user_id]),

    async add({ user_id, username }, factor, requestContext) {
      const who = [...requestContextValues(requestContext), user_id, username]
      try {
        const [added] = await db.query<Factor>(ADD, [...who, ...columns(factor)])
        return added as Factor
      } catch (error) {
        if (violates(error, 'factors_credential_key')) throw new AppError('passkey_known')
        throw error
      }
    },

    async remove({ user_id, username }, id, requestContext) {
      const values = [...requestContextValues(requestContext), user_id, username, id]
      return (await db.query(REMOVE, values)).length > 0
    },

    totps: (user_id) => db.query<Totp & { readonly id: string }>(TOTPS, [user_id]),
    useTotp: async (id, step, now) => (await db.query(USE_TOTP, [id, step, now])).length > 0,

    async passkeyIds(user_id) {
      const found = await db.query<{ credential_id: string }>(PASSKEY_IDS, [user_id])
      return found.map(({ credential_id }) => credential_id)
    },
    async passkey(credential_id) {
      type Row = Passkey & { readonly id: string; readonly user_id: number }
      const [found] = await db.query<Row>(PASSKEY, [credential_id])
      return found ?? null
    },
    usePasskey: async (id, sign_count, now) =>
      (await db.query(USE_PASSKEY, [id, sign_count, now])).length > 0,

    async recoveryCodes(user_id) {
      const [counted] = await db.query<{ codes: number }>(COUNT_CODES, [user_id])
      return counted?.codes ?? 0
    },

    async setRecoveryCodes({ user_id, username }, hashes, requestContext) {
      const who = [...requestContextValues(requestContext), user_id, username]
      await db.query(SET_CODES, [...who, hashes])
    },

    async useRecoveryCode({ user_id, username }, hash, requestContext) {
      const values = [...requestContextValues(requestContext), user_id, username, hash]
      return (await db.query(USE_CODE, values)).length > 0
    },
  }
}

function columns(factor: NewFactor): unknown[] {
  const { id, name } = factor
  if ('totp' in factor) {
    return [id, 'totp', name, factor.totp.secret, factor.totp.last_step, null, null, null]
  }
  const { credential_id, public_key, sign_count } = factor.passkey
  return [id, 'passkey', name, null, null, credential_id, public_key, sign_count]
}
