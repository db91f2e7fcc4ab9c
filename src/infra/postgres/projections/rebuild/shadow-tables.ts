import pg from 'pg'

// Copies of tables that are filled separately and then replace them. All names are ours.

export const shadowOf = (table: string): string => `${table}_rebuild`
const replacedOf = (table: string): string => `${table}_replaced`

// `like` leaves out what belongs to the table as a whole: its owner, its settings and its grants.
const REST = `
  with live as (select * from pg_class where oid = $1::regclass)
  select format('alter table %I set (%s)', $2::text, array_to_string(reloptions, ', ')) as statement
    from live where reloptions is not null
  union all
  select format('alter table %I owner to %I', $2::text, pg_get_userbyid(relowner)) from live
  union all
  select format('grant %s on %I to %s', privilege_type, $2::text,
      case grantee when 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end)
    from live, aclexplode(relacl) where grantee <> relowner`

const KEYS = `
  select format('alter table %I add %s', $2::text, pg_get_constraintdef(oid)) as statement
  from pg_constraint where conrelid = $1::regclass and contype in ('p', 'u')`

// PostgreSQL chooses the names.
const OTHER_INDEXES = `
  select regexp_replace(pg_get_indexdef(indexrelid), '^(CREATE (UNIQUE )?INDEX) .*? ON .*? USING ',
    '\\1 ON ' || quote_ident($2::text) || ' USING ') as statement
  from pg_index i
  where indrelid = $1::regclass
    and not exists (select from pg_constraint where conindid = indexrelid and contype in ('p', 'u'))`

/** Empty copies, with the same columns, keys, owner and grants; the other indexes come later. */
export async function createShadows(sql: pg.ClientBase, tables: readonly string[]): Promise<void> {
  for (const table of tables) {
    const like = `(like ${table} including all excluding indexes)`
    await sql.query(`create table ${shadowOf(table)} ${like}`)
    for (const statements of [REST, KEYS]) await derive(sql, table, statements)
  }
}

/** Completes the copies; much cheaper at once than with each row. */
export async function indexShadows(sql: pg.ClientBase, tables: readonly string[]): Promise<void> {
  for (const table of tables) {
    await derive(sql, table, OTHER_INDEXES)
    await sql.query(`vacuum analyze ${shadowOf(table)}`)
  }
}

async function derive(sql: pg.ClientBase, table: string, statements: string): Promise<void> {
  const { rows } = await sql.query<{ statement: string }>(statements, [table, shadowOf(table)])
  for (const { statement } of rows) await sql.query(statement)
}

/** Drops what a rebuild that was interrupted, or has just finished, left behind. */
export async function dropRemains(sql: pg.ClientBase, tables: readonly string[]): Promise<void> {
  for (const table of tables) {
    await sql.query(`drop table if exists ${shadowOf(table)}`)
    await sql.query(`drop table if exists ${replacedOf(table)}`)
  }
}

const INDEXES = `
  select c.relname as name, substring(pg_get_indexdef(c.oid) from ' USING .*') as definition
  from pg_index i join pg_class c on c.oid = i.indexrelid
  where i.indrelid = $1::regclass order by i.indisprimary desc, definition, name`

type Index = { readonly name: string; readonly definition: string }

/** Gives the shadows the tables' names, and those of their indexes; for one transaction. */
export async function swapStatements(
  sql: pg.ClientBase,
  tables: readonly string[],
): Promise<string> {
  const statements: string[] = []
  for (const table of tables) statements.push(...(await swapStatementsOf(sql, table)))
  return statements.join('; ')
}

async function swapStatementsOf(sql: pg.ClientBase, table: string): Promise<readonly string[]> {
  const { rows: live } = await sql.query<Index>(INDEXES, [table])
  const { rows: shadow } = await sql.query<Index>(INDEXES, [shadowOf(table)])
  const definitions = (indexes: readonly Index[]) => indexes.map(({ definition }) => definition)
  if (definitions(live).join('\n') !== definitions(shadow).join('\n')) {
    throw new Error(`the indexes of ${table} have changed in the meantime`)
  }
  const rename = (kind: string, from: string, to: string) =>
    `alter ${kind} ${pg.escapeIdentifier(from)} rename to ${pg.escapeIdentifier(to)}`
  return [
    ...live.map(({ name }) => rename('index', name, replacedOf(name))),
    ...live.map(({ name }, n) => rename('index', shadow[n]?.name ?? '', name)),
    rename('table', table, replacedOf(table)),
    rename('table', shadowOf(table), table),
  ]
}
