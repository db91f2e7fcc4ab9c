import { AppError } from '../../../app/errors.ts'
import type { Credentials, Profile, Users } from '../../../app/ports/accounts.ts'
import type { User } from '../../../domain/user.ts'
import { type Database, violates } from '../connection/database.ts'
import { eraseUser } from './erasure.ts'
import { keepFormer } from './former-passwords.ts'
import { changeRole } from './role-changes.ts'
import { RECORD, requestContextValues } from './security-events.ts'

const USER = 'id, username, email, role, created_at'

const ADD = {
  name: 'add_user',
  text: `
    with added as (
      insert into users (username, email, password_hash, created_at, updated_at)
      values ($5, $6, $7, $4, $4) returning ${USER}
    ), recorded as (${RECORD}
      select $1, $2, $3, $4::timestamptz, 'registered', id, username, null, '{}' from added
    )
    select * from added`,
}

const TAKEN = {
  name: 'taken',
  text: 'select exists (select from users where lower(username) = lower($1)) as taken',
}

export const CREDENTIALS = `
  ${USER}, password_hash, credentials_version,
  exists (select from factors where user_id = users.id) as has_second_factor,
  locked_at is not null as locked`

const FIND = { name: 'find_user', text: `select ${CREDENTIALS} from users where id = $1` }

const FIND_BY_USERNAME = {
  name: 'find_user_by_username',
  text: `select ${CREDENTIALS} from users where lower(username) = lower($1)`,
}

// Both are looked for, whichever it is: it takes as long for one that is known as for one that is not.
/** No user has it. */
const NOBODY = 0

// Always one row, that of nobody if there is no other: reading one takes longer than reading none, and whoever guesses
// names could measure that.
const FIND_BY_LOGIN = {
  name: 'find_user_by_login',
  text: `
    select ${CREDENTIALS} from users where lower(username) = lower($1)
    union all
    select ${CREDENTIALS} from users
    where lower(email) = lower($1) and email_confirmed_at is not null
    union all
    select ${NOBODY}, 'nobody', 'nobody@example.com', 'user', now(), repeat('-', 60), 1,
      exists (select from factors where user_id = ${NOBODY}), false
    limit 1`,
}

const PROFILE = {
  name: 'user_profile',
  text: `
    select ${USER}, email_confirmed_at is not null as email_confirmed, (
        select new_email from email_changes
        where user_id = id and ended_at is null and expires_at > $2) as pending_email
    from users where id = $1`,
}

const REHASH = {
  name: 'rehash',
  text: 'update users set password_hash = $3 where id = $1 and password_hash = $2',
}

const CHANGE_PASSWORD = {
  name: 'change_password',
  text: `
    with before as (
      select id, password_hash from users where id = $5 and credentials_version = $6 for update
    ), changed as (
      update users set password_hash = $7, credentials_version = credentials_version + 1,
        updated_at = $4::timestamptz
      where id = (select id from before) returning id, username
    ), ${keepFormer('$8', '$4::timestamptz')}, recorded as (${RECORD}
      select $1, $2, $3, $4, 'password_changed', id, username, null, '{}' from changed
    )
    select id from changed`,
}

export function postgresUsers(db: Database): Users {
  return {
    async requireFree(username) {
      const [found] = await db.query<{ taken: boolean }>(TAKEN, [username])
      if (found?.taken) throw new AppError('username_taken')
    },

    async add({ username, email, password_hash }, requestContext) {
      try {
        const values = [...requestContextValues(requestContext), username, email, password_hash]
        const [user] = await db.query<User>(ADD, values)
        return user as User
      } catch (error) {
        if (violates(error, 'users_username_key')) throw new AppError('username_taken')
        throw error
      }
    },

    find: async (id) => credentials(await db.query<CredentialsRow>(FIND, [id])),
    findByUsername: async (name) =>
      credentials(await db.query<CredentialsRow>(FIND_BY_USERNAME, [name])),
    async findByLogin(login) {
      const found = credentials(await db.query<CredentialsRow>(FIND_BY_LOGIN, [login]))
      return found?.user.id === NOBODY ? null : found
    },

    async profile(id, now) {
      const [profile] = await db.query<Profile>(PROFILE, [id, now])
      return profile ?? null
    },

    async rehash({ user, password_hash: before }, password_hash) {
      await db.query(REHASH, [user.id, before, password_hash])
    },

    async changePassword({ user, credentials_version }, { hash, kept }, requestContext) {
      const values = [
        ...requestContextValues(requestContext),
        user.id,
        credentials_version,
        hash,
        kept,
      ]
      return (await db.query(CHANGE_PASSWORD, values)).length > 0
    },

    erase: (credentials, session_id, requestContext) =>
      eraseUser(db, credentials, session_id, requestContext),

    changeRole: (change, requestContext) => changeRole(db, change, requestContext),
  }
}

export type CredentialsRow = User & Omit<Credentials, 'user'>

export function credentials([row]: readonly CredentialsRow[]): Credentials | null {
  if (row === undefined) return null
  const { password_hash, credentials_version, has_second_factor, locked, ...user } = row
  return { user, password_hash, credentials_version, has_second_factor, locked }
}
