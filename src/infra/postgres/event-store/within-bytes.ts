/** `found`: how many rows there are up to the page's limit. `before`: the bytes of the rows before this one. */
export type Measured<Row> = Row & { readonly found: number; readonly before: number }

/**
 * Ends a page once the measured column, as stored, fills this many bytes; the first row is always included.
 * Each row is then `Measured`.
 */
export const withinBytes =
  (bytes: number, { measured, order }: { readonly measured: string; readonly order: string }) =>
  (page: string) =>
    `
  select * from (
    select *, count(*) over () as found,
      sum(pg_column_size(${measured})) over (order by ${order} rows unbounded preceding)
        - pg_column_size(${measured}) as before
    from (${page}) page
  ) measured where before < ${bytes} order by ${order}`

export const unmeasured = <Row>({ found, before, ...row }: Measured<Row>): Row => row as Row
