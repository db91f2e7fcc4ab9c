import { z } from 'zod'
import type { TaskView } from '../domain/task/view.ts'

// Preconditions of RFC 9110, section 13, for reads and writes alike.

type Tag = { readonly value: string; readonly weak: boolean }
type Tags = '*' | readonly Tag[]

/** A list element, which may be empty, and the comma after it. */
const ELEMENT = /[\t ]*(?:(W\/)?"([\x21\x23-\x7e\x80-\xff]*)"[\t ]*)?(?:,|$)/y

/** Null: the header is not a list of tags. */
function tagsIn(header: string): Tags | null {
  if (header.trim() === '*') return '*'
  const tags: Tag[] = []
  for (let at = 0; at < header.length; at = ELEMENT.lastIndex) {
    ELEMENT.lastIndex = at
    const found = ELEMENT.exec(header)
    if (found === null) return null
    const [, weak, value] = found
    if (value !== undefined) tags.push({ value, weak: weak !== undefined })
  }
  return tags
}

const tags = z.string().transform((header, { addIssue }): Tags => {
  const found = tagsIn(header)
  if (found === null) addIssue({ code: 'custom', message: 'must be * or a list of ETags' })
  return found ?? []
})

export const preconditions = {
  'If-Match': tags.optional().meta({
    description: '* or ETags, one of which the task must have; else 412',
  }),
  'If-None-Match': tags.optional().meta({
    description: '* or ETags that the task must not have; 304 for a read, 412 for a write',
  }),
}

export type Preconditions = {
  readonly 'If-Match'?: Tags | undefined
  readonly 'If-None-Match'?: Tags | undefined
}

export const etagOf = ({ version }: TaskView): string => `"${version}"`

/** The first one that fails for the task, in the order of RFC 9110. */
export function firstFalse(
  { 'If-Match': wanted, 'If-None-Match': unwanted }: Preconditions,
  task: TaskView | null,
): keyof Preconditions | null {
  if (wanted !== undefined && !matches(wanted, task, 'strongly')) return 'If-Match'
  if (unwanted !== undefined && matches(unwanted, task, 'weakly')) return 'If-None-Match'
  return null
}

/** A deleted task still has its last version, but `*` requires a task that exists. */
function matches(tags: Tags, task: TaskView | null, how: 'strongly' | 'weakly'): boolean {
  if (task === null) return false
  if (tags === '*') return task.deleted_at === null
  const version = String(task.version)
  return tags.some(({ value, weak }) => value === version && (how === 'weakly' || !weak))
}
