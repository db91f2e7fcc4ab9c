import type { Answer } from '../../../app/ports/event-store.ts'

/** What a statement finds of a command that was done before: nulls, if it was not. */
export type Answered = {
  readonly answer_stream: string | null
  readonly answer_version: number | null
}

export function answerOf({ answer_stream: stream_id, answer_version: version }: Answered) {
  return stream_id === null || version === null ? null : ({ stream_id, version } satisfies Answer)
}
