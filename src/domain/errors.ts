export type DomainErrorCode =
  | 'task_not_found'
  | 'task_forbidden'
  | 'task_exists'
  | 'photo_not_found'
  | 'too_many_photos'
  | 'change_not_found'
  | 'version_not_found'
  | 'task_not_there_then'
  | 'undo_conflict'
  | 'nothing_to_undo'
  | 'nothing_to_redo'

export type Conflict = { readonly field: string; readonly version: number }

/** A command that the rules refuse. Knows its code and nothing of HTTP. */
export class DomainError extends Error {
  readonly code: DomainErrorCode
  /** The fields in conflict, each with the version that changed it last. */
  readonly conflicts: readonly Conflict[] | undefined

  constructor(code: DomainErrorCode, conflicts?: readonly Conflict[]) {
    super(code)
    this.name = 'DomainError'
    this.code = code
    this.conflicts = conflicts
  }
}
