import { type Fault, HttpError } from './errors.ts'

/** What asks for a page, or for an export of all. */
export type PageQuery = {
  readonly from?: string | undefined
  readonly to?: string | undefined
  readonly limit?: number | undefined
  readonly cursor?: string | undefined
  readonly order?: 'asc' | 'desc' | undefined
}

/** Error: `validation_failed`, for what does not go together. */
export function refusePage(query: PageQuery, isExport: boolean): void {
  const faults = faultsIn(query, isExport)
  if (faults.length > 0) throw new HttpError('validation_failed', { faults })
}

function faultsIn(
  { from, to, limit, cursor, order }: PageQuery,
  isExport: boolean,
): readonly Fault[] {
  const faults: Fault[] = []
  if (from !== undefined && to !== undefined && from > to) {
    faults.push({ field: 'from', message: 'from must not be later than to' })
  }
  if (!isExport) return faults
  for (const [field, given] of Object.entries({ limit, cursor })) {
    if (given === undefined) continue
    faults.push({ field, message: `${field} is not allowed for an export, which holds all events` })
  }
  if (order === 'desc') {
    faults.push({ field: 'order', message: 'order must be asc for an export' })
  }
  return faults
}
