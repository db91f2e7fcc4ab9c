import type { ServiceIdentifier } from 'inversify'

/** Names a dependency together with its type, so that the compiler checks the wiring. */
export const token = <T>(name: string): ServiceIdentifier<T> => Symbol(name)
