import pg from 'pg'
import type { DatabaseConfig } from './database.ts'

/** Connects once; fails with a sentence that says where and why, without a password. */
export async function requireReachable({ connection }: DatabaseConfig): Promise<void> {
  const client = new pg.Client({ ...connection, connectionTimeoutMillis: 5_000 })
  client.on('error', () => {})
  try {
    await client.connect()
  } catch (error) {
    throw new Error(`Cannot reach the database at ${client.host}:${client.port}: ${why(error)}.`, {
      cause: error,
    })
  } finally {
    await client.end().catch(() => {})
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ENOTFOUND: 'the host does not exist',
  EAI_AGAIN: 'the host name cannot be resolved',
  ETIMEDOUT: 'it does not answer',
}

function why(error: unknown): string {
  const { code = '', message } = error as NodeJS.ErrnoException
  return REASONS[code] ?? (message || code)
}
