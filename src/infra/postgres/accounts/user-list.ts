import type { ListedUser, UserList, UserQuery } from '../../../app/ports/users.ts'
import type { Role } from '../../../domain/user.ts'
import type { Database } from '../connection/database.ts'

const LISTED = `
  u.id, u.username, u.email, u.role, u.created_at, u.locked_at, u.lock_reason,
  (select max(s.created_at) from sessions s where s.user_id = u.id) as last_login_at`

const GET = { name: 'listed_user', text: `select ${LISTED} from users u where u.id = $1` }

/** As the index has them (db/migrations/…_administration.ts): every name with this text in it has all of these. */
const ngrams = (text: string): string[] => {
  const size = Math.min(3, text.length)
  const count = text.length - size + 1
  return [...new Set(Array.from({ length: count }, (_, at) => text.slice(at, at + size)))]
}

/** What `like` compares with: any text that has this one in it. */
const containing = (text: string): string => `%${text.replace(/[\\%_]/g, '\\$&')}%`

/** Larger than any page. A number in the text: with a parameter the planner would expect a tenth of all users. */
const PAGE = 500
/** What many have in their names is found among the newest. By the index all of those would be read. */
const NEWEST = 2_000

/** Not parameters: of some roles there are few, and of one nearly all. */
const OF_ROLE: Readonly<Record<Role, string>> = {
  user: `role = 'user'`,
  auditor: `role = 'auditor'`,
  admin: `role = 'admin'`,
}

type Way = 'newest' | 'ngrams'

/** One statement for each set of conditions and way: each is planned once, for the index that serves it. */
function page({ q, role, locked, after, limit }: UserQuery, way: Way) {
  const values: unknown[] = []
  const given = (value: unknown) => `$${values.push(value)}`
  const conditions = {
    ...(after !== undefined && { after: `id < ${given(after)}` }),
    ...(role !== undefined && { [role]: OF_ROLE[role] }),
    ...(locked !== undefined && {
      [locked ? 'locked' : 'unlocked']: `locked_at is ${locked ? 'not ' : ''}null`,
    }),
    ...(way === 'ngrams' && {
      ngrams: `user_ngrams(username, email) @> ${given(ngrams(q ?? ''))}::text[]`,
    }),
  }
  const pattern = given(q === undefined ? '%' : containing(q))
  const where = Object.values(conditions)
  const from = `users ${where.length > 0 ? `where ${where.join(' and ')}` : ''}`
  const walked = `(select * from ${from} order by id desc limit ${NEWEST}) newest`
  return {
    statement: {
      name: ['users', way, ...Object.keys(conditions)].join('_'),
      text: `
        select ${LISTED} from (
          select * from ${way === 'newest' ? walked : `(select * from ${from}) found`}
          where lower(username) like ${pattern} or lower(email) like ${pattern}
          order by id desc limit ${PAGE}
        ) u order by u.id desc limit ${given(limit + 1)}`,
    },
    values,
  }
}

export function postgresUserList(db: Database): UserList {
  return {
    async find(query) {
      const q = query.q?.toLowerCase()
      const ask = (way: Way): Promise<ListedUser[]> => {
        const { statement, values } = page({ ...query, q }, way)
        return db.query(statement, values)
      }
      const newest = await ask('newest')
      const isWhole = q === undefined || newest.length > query.limit
      const found = isWhole ? newest : await ask('ngrams')
      const users = found.slice(0, query.limit)
      const next = found.length > query.limit ? (users.at(-1)?.id ?? null) : null
      return { users, next }
    },

    async get(id) {
      const [user] = await db.query<ListedUser>(GET, [id])
      return user ?? null
    },
  }
}
