import type pg from 'pg'
import { type TaskView, taskStreamId } from '../../src/domain/task/view.ts'
import { ngramsOf } from '../../src/infra/encryption/blind-index.ts'
import { TEXT_FIELDS, textsOf } from '../../src/infra/encryption/encrypted-texts.ts'
import { encryptText, type KeyWrap, newDataKey } from '../../src/infra/encryption/text-cipher.ts'

/** A row as the read table holds it. */
export function storedRow(row: Pick<TaskView, 'id' | 'user_id'>, key: Buffer): object {
  const texts = TEXT_FIELDS.map((field) => {
    const text: unknown = Reflect.get(row, field)
    const place = { stream_id: taskStreamId(row.id), field }
    return [field, typeof text === 'string' ? encryptText(key, row.user_id, place, text) : text]
  })
  return { ...row, ...Object.fromEntries(texts), ngrams: ngramsOf(key, textsOf(row)) }
}

/** Rows of the read table, written past the event store: for lists that only have to be long. */
export async function insertTasks(
  sql: pg.Client,
  wrap: KeyWrap,
  rows: readonly (Partial<TaskView> & { readonly id: number; readonly user_id: number })[],
): Promise<void> {
  const at = '2026-01-01T00:00:00.000Z'
  const keys = new Map<number, Buffer>()
  for (const user_id of new Set(rows.map(({ user_id }) => user_id))) {
    keys.set(user_id, await keyOf(sql, wrap, user_id))
  }
  const whole = rows.map((row) => ({
    title: 'A task',
    description: null,
    status: 'pending',
    priority: 'medium',
    photos: [],
    created_at: at,
    updated_at: at,
    version: 1,
    ...row,
  }))
  await sql.query('insert into tasks select * from jsonb_populate_recordset(null::tasks, $1)', [
    JSON.stringify(whole.map((row) => storedRow(row, keys.get(row.user_id) as Buffer))),
  ])
}

async function keyOf(sql: pg.Client, wrap: KeyWrap, user_id: number): Promise<Buffer> {
  const text = 'insert into user_keys (user_id, wrapped_key, wrapped_by) values ($1, $2, $3)'
  const wrapped = await wrap.wrap(newDataKey(), user_id)
  await sql.query(`${text} on conflict do nothing`, [user_id, wrapped, wrap.id])
  const { rows } = await sql.query('select wrapped_key from user_keys where user_id = $1', [
    user_id,
  ])
  return wrap.unwrap(rows[0].wrapped_key, wrap.id, user_id)
}
