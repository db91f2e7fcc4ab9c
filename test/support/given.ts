import { expect } from 'chai'
import type { Decider } from '../../src/domain/decider.ts'
import { DomainError, type DomainErrorCode } from '../../src/domain/errors.ts'

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
        refuses(code: DomainErrorCode) {
          expect(decide).to.throw(DomainError).with.property('code', code)
        },
      }
    },
  })
