import type {
  AuditRecord,
  AuditRecords,
  RecordsPage,
  RecordsQuery,
  RecordTable,
} from '../../../app/ports/audit-records.ts'
import { hashedPart } from '../../../verifier/records.ts'
import type { Database, Statement } from '../connection/database.ts'
import { bisect, OUT_OF_ORDER } from '../event-store/by-time.ts'
import { type ExactRecord, exactly, exactRecord } from '../transparency-log/exact-rows.ts'

/** Rows that a page looks at. */
const MOST_ROWS = 10_000
const BATCH = 1_000

/** The column that `type` is compared with. */
const TYPE = { audit_accesses: 'kind', security_events: 'type' } as const

type Bounds = { readonly above: number; readonly below: number }

const boundsOf = (table: RecordTable) => {
  const rows = `(select id as position, recorded_at from ${table}) r where true`
  const end = `(select coalesce(max(id), 0) + 1 from ${table})`
  return {
    name: `bounds_of_${table}`,
    text: `
      select
        case when $1::timestamptz is null then 0
          else ${bisect('low', { rows, end, time: `$1::timestamptz - ${OUT_OF_ORDER}` })} end as above,
        case when $2::timestamptz is null then ${Number.MAX_SAFE_INTEGER}
          else ${bisect('high', { rows, end, time: `$2::timestamptz + ${OUT_OF_ORDER}` })} end as below`,
  }
}

const stillThere = (table: RecordTable) => ({
  name: `still_there_of_${table}`,
  text: `select exists (select from ${table} where id <= $1) as is_there`,
})

const last = (table: RecordTable) => ({
  name: `last_of_${table}`,
  text: `select coalesce(max(id), 0) as id from ${table}`,
})

type Prepared = {
  readonly text: string
  readonly values: readonly unknown[]
  readonly name: string
}

/**
 * Rows in the order of an index, whatever the conditions: the first of them leads to the rows, and of those up to
 * 10,000 are compared with the others. On connections that read `INDEX_ORDER_SETTINGS`.
 */
function candidates(
  table: RecordTable,
  query: RecordsQuery,
  { above, below }: Bounds,
  descending: boolean,
): Prepared & { readonly rest: string; readonly order: string } {
  const { id, request_id, user_id, ip, type, from, to } = query
  const values: unknown[] = []
  const put = (value: unknown, of: string) => `$${values.push(value)}::${of}`
  const where = `id > ${put(above, 'bigint')} and id < ${put(below, 'bigint')}`
  const conditions = [
    ...(id === undefined ? [] : [['id', `id = ${put(id, 'bigint')}`]]),
    ...(request_id === undefined ? [] : [['request', `request_id = ${put(request_id, 'text')}`]]),
    ...(user_id === undefined ? [] : [['user', `user_id = ${put(user_id, 'bigint')}`]]),
    ...(ip === undefined ? [] : [['ip', `ip = ${put(ip, 'text')}`]]),
  ] as const
  const [lead, ...others] = conditions
  const types = (type ?? []).map((each) => `${TYPE[table]} = ${put(each, 'text')}`)
  const isOfType = types.length === 0 ? [] : [`(${types.join(' or ')})`]
  const rest = [
    ...others.map(([, condition]) => condition),
    ...(lead === undefined ? [] : isOfType),
    ...(from === undefined ? [] : [`recorded_at >= ${put(from, 'timestamptz')}`]),
    ...(to === undefined ? [] : [`recorded_at < ${put(to, 'timestamptz')}`]),
  ]
  const ranges = lead === undefined ? types : [lead[1]]
  // The primary key has one order, all other indexes the other.
  const isByKey = ranges.length === 0 || lead?.[0] === 'id'
  const [up, down] = isByKey ? ['asc', 'desc'] : ['asc nulls first', 'desc nulls last']
  const order = `order by id ${descending ? down : up}`
  const selects = (isByKey && ranges.length === 0 ? ['true'] : ranges).map(
    (range) => `(select * from ${table} where ${range} and ${where} ${order} limit ${MOST_ROWS})`,
  )
  const text = `select * from (${selects.join(' union all ')}) e ${order} limit ${MOST_ROWS}`
  const shape = [...conditions.map(([name]) => name), types.length, from && 'from', to && 'to']
  const name = `${table}_${shape.join('_')}_${descending}`
  return { text, values, name, rest: rest.join(' and ') || 'true', order }
}

export function postgresAuditRecords(db: Database): AuditRecords {
  async function page(
    table: RecordTable,
    query: RecordsQuery,
    bounds: Bounds,
    { descending, limit }: RecordsPage,
  ): Promise<{ readonly records: readonly AuditRecord[]; readonly next: number | null }> {
    const { text, values, name, rest, order } = candidates(table, query, bounds, descending)
    const count = `$${values.length + 1}::int`
    const found = await db.query<ExactRecord>(
      {
        name: `find_${name}`,
        text: `
          select ${exactRecord(table)}
          from (select * from (${text}) c where ${rest} ${order} limit ${count}) r ${order}`,
      },
      [...values, limit + 1],
    )
    const records = found.slice(0, limit).map(({ id, row }) => {
      return { id, row: hashedPart(exactly(row) as object) }
    })
    if (found.length > limit) return { records, next: records.at(-1)?.id ?? null }
    if (rest === 'true') return { records, next: null }
    const reached: Statement = {
      name: `reached_${name}`,
      // True: but each parameter has to be named.
      text: `
        select id from (${text}) c where (${rest}) is null or true
        ${order} offset ${MOST_ROWS - 1} limit 1`,
    }
    const [end] = await db.query<{ id: number }>(reached, values)
    return { records, next: end?.id ?? null }
  }

  async function bounds(table: RecordTable, { from, to }: RecordsQuery): Promise<Bounds> {
    if (from === undefined && to === undefined) return { above: 0, below: Number.MAX_SAFE_INTEGER }
    const [found] = await db.query<Bounds>(boundsOf(table), [from ?? null, to ?? null])
    return found ?? { above: 0, below: 0 }
  }

  /** The oldest go first: as long as one is there that was read, none is missing of those after it. */
  async function requireNoneRemoved(table: RecordTable, read: number): Promise<void> {
    const [found] = await db.query<{ is_there: boolean }>(stillThere(table), [read])
    if (!found?.is_there) throw new Error(`${table} expired while they were read`)
  }

  return {
    async find(table, query, wanted) {
      const { above, below } = await bounds(table, query)
      const { descending, after } = wanted
      const within = descending
        ? { above, below: Math.min(below, after ?? below) }
        : { above: Math.max(above, after ?? 0), below }
      return page(table, query, within, wanted)
    },

    async last(table) {
      const [found] = await db.query<{ id: number }>(last(table), [])
      return found?.id ?? 0
    },

    async *read(table, query, upTo) {
      const { above, below } = await bounds(table, query)
      const end = Math.min(below, upTo + 1)
      for (let after: number | null = above; after !== null; ) {
        const some: Awaited<ReturnType<typeof page>> = await page(
          table,
          query,
          { above: after, below: end },
          { descending: false, limit: BATCH },
        )
        if (after > above) await requireNoneRemoved(table, after)
        if (some.records.length > 0) yield some.records
        after = some.next
      }
    },
  }
}
