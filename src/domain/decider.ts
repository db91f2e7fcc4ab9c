/**
 * The rules of one aggregate as three values: where a stream begins, which events a command yields
 * in a state, and how an event changes the state. Pure: time, ids and identity arrive in the command.
 *
 * `decide` throws a DomainError when the command is not allowed, and yields no event when it
 * changes nothing.
 */
export type Decider<State, Command, Event> = {
  readonly initialState: State
  readonly decide: (command: Command, state: State) => readonly Event[]
  readonly evolve: (state: State, event: Event) => State
}
