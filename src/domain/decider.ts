/**
 * The rules of one aggregate: the state that a stream begins with, and which events a command yields in a
 * state. Pure: time, ids and identity arrive in the command. How an event changes the state is said once, by
 * the fold of the read table's row (view.ts): the state is read from it.
 *
 * `decide` throws a DomainError when the command is not allowed, and yields no event when it changes
 * nothing.
 */
export type Decider<State, Command, Event> = {
  readonly initialState: State
  readonly decide: (command: Command, state: State) => readonly Event[]
}
