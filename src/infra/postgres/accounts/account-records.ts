import type { AccountRecord, AccountRecords } from '../../../app/ports/account-records.ts'
import type { Database } from '../connection/database.ts'

/** So many fit in one answer that task-service takes. */
const PAGE = 40

const READ = {
  name: 'account_records',
  text: `
    select kind, key, data from account_records($1)
    where (kind, key) > (split_part($2, '/', 1), substr($2, strpos($2, '/') + 1))
    order by kind, key limit ${PAGE}`,
}

type Row = { readonly kind: string; readonly key: string; readonly data: object }

/** Its other half is db/migrations/…_account_records.ts, which says what is kept. */
export function postgresAccountRecords(db: Database): AccountRecords {
  return async (user_id, after) => {
    const rows = await db.query<Row>(READ, [user_id, after ?? ''])
    const last = rows.length === PAGE ? rows.at(-1) : undefined
    return {
      records: rows.map(({ kind, data }): AccountRecord => ({ record: kind, ...data })),
      next: last === undefined ? null : `${last.kind}/${last.key}`,
    }
  }
}
