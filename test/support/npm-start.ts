import { execFile } from 'node:child_process'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { freePorts } from '../../src/infra/local/free-ports.ts'
import { allGone, killAll, removePlace, type Started, startProcess } from './processes.ts'

const execute = promisify(execFile)
// Six processes on a machine that may be busy with other tests.
const READY_MS = 100_000

export const NAMES = [
  'postgres',
  'auth-service',
  'task-service',
  'worker',
  'witness',
  'gateway',
] as const

type Name = (typeof NAMES)[number]
type Process = { readonly name: string; readonly pid: number; readonly address: string }
type Variables = Record<string, string>

/** `npm start` as its user runs it, in a directory and on a port of its own. */
export function npmStart() {
  let [place, port]: [string, number] = ['', 0]
  /** Of what was started; ended at the end, however a test went. */
  const pids: number[] = []
  /** What a first start leaves: the data of a new machine take longer to make than all the rest. */
  let made: string | undefined

  const begin = async () => {
    place = await mkdtemp(join(tmpdir(), 'tasktrail local-'))
    ;[port = 0] = await freePorts(1)
  }
  const endAll = async () => {
    killAll(pids)
    await allGone(pids)
    pids.length = 0
  }
  const end = async () => {
    await endAll()
    await removePlace(place)
  }
  const makeData = async () => {
    await begin()
    made = place
    await stop(await start())
  }
  const removeData = async () => {
    await endAll()
    if (made !== undefined) await removePlace(made)
  }

  const run = (more?: Variables, command = [process.execPath, 'src/local.ts']) => {
    const [name = '', ...args] = command
    const env = { DATA_DIR: join(place, 'data'), PORT: String(port), BCRYPT_COST: '10', ...more }
    const runner = startProcess(name, args, { env })
    pids.push(runner.pid)
    return runner
  }
  const ready = async (runner: Started) => {
    try {
      await runner.line(/^Tasktrail is ready/, READY_MS)
    } finally {
      pids.push(...processes(runner).map(({ pid }) => pid))
    }
    return runner
  }
  const start = (more?: Variables, command?: string[]) => ready(run(more, command))
  /** Not on a new machine. */
  const startAgain = async (...how: Parameters<typeof start>) => {
    if (made === undefined) throw new Error('makeData was not called.')
    // Through links, as the data may lie elsewhere, and with their owner.
    await execute('cp', ['-pRL', join(made, 'data'), place])
    return start(...how)
  }
  /** The lines that introduce a process. */
  const processes = ({ out }: Started): Process[] =>
    out.flatMap((line) => {
      const [, name = '', pid, address = ''] = line.match(/^([a-z-]+) +pid (\d+) +(\S+)$/) ?? []
      return pid === undefined ? [] : [{ name, pid: Number(pid), address }]
    })
  const processOf = (runner: Started, name: Name): Process => {
    const found = processes(runner).find((process) => process.name === name)
    if (found === undefined) throw new Error(`no ${name} in ${runner.out.join('\n')}`)
    return found
  }
  const stop = async (runner: Started, signal: NodeJS.Signals = 'SIGTERM') => {
    process.kill(runner.pid, signal)
    expect(await runner.ended).to.equal('code 0')
    await allGone(processes(runner).map(({ pid }) => pid))
  }

  const call = async (
    path: string,
    { token = '', ...init }: RequestInit & { token?: string } = {},
  ) => {
    const headers = {
      ...(init.body !== undefined && { 'Content-Type': 'application/json' }),
      ...(token && { Authorization: `Bearer ${token}` }),
      ...init.headers,
    }
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, { ...init, headers })
    return { status: answer.status, body: JSON.parse((await answer.text()) || '{}') }
  }
  const post = (path: string, body: object, token?: string) =>
    call(path, { method: 'POST', body: JSON.stringify(body), ...(token && { token }) })
  const login = async () => {
    const [username, password] = ['ada', 'engines-of-analysis']
    await post('/auth/register', { username, email: 'ada@example.com', password })
    return (await post('/auth/login', { username, password })).body.token as string
  }

  return {
    ...{ begin, end, makeData, removeData, pids },
    ...{ run, start, startAgain, stop, processes, processOf, call, post, login },
    place: (...path: string[]) => join(place, ...path),
    port: () => port,
  }
}
