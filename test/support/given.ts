import { expect } from 'chai'
import type { Decider } from '../../src/domain/decider.ts'
import { type Conflict, DomainError, type DomainErrorCode } from '../../src/domain/errors.ts'

/** `given(task)(...events).when(command).then(...events)`, or `.refuses(code)`. */
export const given =
  <State, Command, Event extends object, Envelope>(
    decider: Decider<State, Command, Event, Envelope>,
  ) =>
  (...history: readonly (Event & Partial<Envelope>)[]) => ({
    when(command: Command) {
      const decide = () =>
        decider.decide(command, history.reduce(decider.evolve, decider.initialState))
      return {
        yields: (...events: readonly Event[]) => expect(decide()).to.deep.equal(events),
        refuses(code: DomainErrorCode, ...conflicts: readonly Conflict[]) {
          const refused = expect(decide).to.throw(DomainError)
          refused.with.property('code', code)
          if (conflicts.length > 0) refused.with.deep.property('conflicts', conflicts)
        },
      }
    },
  })
