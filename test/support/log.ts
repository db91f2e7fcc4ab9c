import type { Log } from '../../src/app/ports/process.ts'

export const silent: Log = { info: () => {}, warn: () => {}, error: () => {} }
