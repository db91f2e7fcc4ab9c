import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { SYSTEMS, type User } from '../compare/systems.ts'
import { cpuOf, cpuOfFamily, peakMemory } from '../compare/usage.ts'
import { scratchDatabase } from '../scratch-database.ts'

// biome-ignore lint/suspicious/noExplicitAny: an answer is checked field by field.
type Body = any

export type Answer = { readonly status: number; readonly body: Body; readonly headers: Headers }

type Asked = [
  user: User,
  method: string,
  path: string,
  body?: object,
  headers?: Record<string, string>,
]

/** Tasktrail as its own scripts run it, with one client that waits for each answer. */
export async function scene(users: number) {
  const database = await scratchDatabase()
  const directory = await mkdtemp(join(tmpdir(), 'tasktrail-growth-'))
  const [postgres] = (await database.sql.query(`select pg_read_file('postmaster.pid') as file`))
    .rows
  const postmaster = Number(postgres.file.split('\n')[0])
  const system = await SYSTEMS.tasktrail?.({ databaseUrl: database.url, directory, users })
  if (system === undefined) throw new Error('there is no Tasktrail to measure')
  const { services, background } = system
  const task = services['task-service'] ?? -1
  const ask = async (...[user, method, path, body, headers = {}]: Asked) => {
    const authorization = `Bearer ${user.token}`
    const json = body && { 'content-type': 'application/json' }
    const response = await fetch(system.url + path, {
      method,
      headers: { authorization, ...json, ...headers },
      ...(body && { body: JSON.stringify(body) }),
    })
    return { status: response.status, text: await response.text(), headers: response.headers }
  }

  return {
    sql: database.sql,
    databaseUrl: database.url,
    users: system.users,
    /** CPU seconds of task-service and PostgreSQL so far. */
    cpu: () => cpuOf(task) + cpuOfFamily(postmaster),
    peakMemory: () => peakMemory(task),

    async call(...asked: Asked): Promise<Answer> {
      const { text, ...answer } = await ask(...asked)
      return { ...answer, body: text && JSON.parse(text) }
    },

    /** What is no JSON. */
    textOf: (user: User, path: string) => ask(user, 'GET', path),

    /** Waits until the worker has followed the log, and stops it: it shall not count. */
    async settled(): Promise<void> {
      for (;;) {
        const { rows } = await database.sql.query(
          `select position >= (select max(position) from events) as done
           from projections where name = 'audit'`,
        )
        if (rows[0]?.done) break
        await sleep(200)
      }
      for (const pid of Object.values(background)) process.kill(pid, 'SIGSTOP')
    },

    async stop(): Promise<void> {
      for (const pid of Object.values(background)) process.kill(pid, 'SIGCONT')
      await system.stop()
      await database.drop()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

export type Scene = Awaited<ReturnType<typeof scene>>
