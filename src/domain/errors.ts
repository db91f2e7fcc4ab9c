export type DomainErrorCode =
  | 'task_not_found'
  | 'task_forbidden'
  | 'task_exists'
  | 'change_not_found'
  | 'undo_conflict'
  | 'nothing_to_undo'
  | 'nothing_to_redo'

/** A command that the rules refuse. Knows its code and nothing of HTTP. */
export class DomainError extends Error {
  readonly code: DomainErrorCode

  constructor(code: DomainErrorCode) {
    super(code)
    this.name = 'DomainError'
    this.code = code
  }
}
