import { expect } from 'chai'
import { type Conflict, DomainError, type DomainErrorCode } from '../../src/domain/errors.ts'

type Rules<State, Command, Event, Placed> = {
  readonly initialState: State
  readonly decide: (command: Command, state: State) => readonly Event[]
  readonly evolve: (state: State, event: Placed) => State
}

/** `given(rules)(...events).when(command).then(...events)`, or `.refuses(code)`. */
export const given =
  <State, Command, Event extends object, Placed>(rules: Rules<State, Command, Event, Placed>) =>
  (...history: readonly Placed[]) => ({
    when(command: Command) {
      const decide = () => rules.decide(command, history.reduce(rules.evolve, rules.initialState))
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
