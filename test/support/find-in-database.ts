import type pg from 'pg'

const COLUMNS = `
  select table_name, column_name from information_schema.columns
  join information_schema.tables using (table_schema, table_name)
  where table_schema = 'public' and table_type = 'BASE TABLE'
  order by table_name, column_name`

/** Where one of the texts stands in any row of any table, in whatever spelling: `table.column`. */
export async function findInDatabase(sql: pg.Client, ...texts: string[]): Promise<string[]> {
  const columns = (await sql.query(COLUMNS)).rows
  const spellings = texts.flatMap((text) => [
    text,
    JSON.stringify(text).slice(1, -1),
    Buffer.from(text).toString('hex'),
  ])
  const found: string[] = []
  for (const { table_name, column_name } of columns) {
    const values = `select string_agg("${column_name}"::text, ' ') as text from "${table_name}"`
    const { text } = (await sql.query(values)).rows[0]
    if (spellings.some((spelling) => text?.includes(spelling))) {
      found.push(`${table_name}.${column_name}`)
    }
  }
  return found
}
