import type pg from 'pg'

const COLUMNS = `
  select table_name, column_name from information_schema.columns
  join information_schema.tables using (table_schema, table_name)
  where table_schema = 'public' and table_type = 'BASE TABLE'
  order by table_name, column_name`

/** Where a text stands in any row of any table, as it is or inside JSON: `table.column`. */
export async function findInDatabase(sql: pg.Client, text: string): Promise<string[]> {
  const columns = (await sql.query(COLUMNS)).rows
  const spellings = [text, JSON.stringify(text).slice(1, -1), Buffer.from(text).toString('hex')]
  const found: string[] = []
  for (const { table_name, column_name } of columns) {
    const column = `"${column_name}"::text`
    const { rows } = await sql.query(
      `select from "${table_name}" where exists (
         select from unnest($1::text[]) spelling where position(spelling in ${column}) > 0)`,
      [spellings],
    )
    for (const _ of rows) found.push(`${table_name}.${column_name}`)
  }
  return found
}
