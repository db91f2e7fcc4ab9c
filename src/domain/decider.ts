/**
 * The rules of one aggregate as three values: where a stream begins, which events a command yields in a
 * state, and how an event changes the state. Pure: time, ids and identity arrive in the command.
 *
 * `decide` throws a DomainError when the command is not allowed, and yields no event when it changes
 * nothing. `loaded` is the state that the command was first decided on, if others have written since. An
 * event read from a stream has a place and a time; one that a test supplies may have neither.
 */
export type Decider<State, Command, Event, Envelope = object> = {
  readonly initialState: State
  readonly decide: (command: Command, state: State, loaded?: State) => readonly Event[]
  readonly evolve: (state: State, event: Event & Partial<Envelope>) => State
}
