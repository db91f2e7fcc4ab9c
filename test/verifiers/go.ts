import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Claim, Verdict } from './claims.ts'

// Where Debian's golang-golang-x-mod-dev puts golang.org/x/mod.
const GOPATH = '/usr/share/gocode'
const MOST_OUTPUT = 2 ** 26

const hasPackages = existsSync(join(GOPATH, 'src/golang.org/x/mod/sumdb/note'))

/** Whether the Go team's packages can be asked. */
export const hasGo = hasPackages && spawnSync('go', ['version']).status === 0

export type GoVerifier = {
  /** What they say of each claim, in order. */
  readonly ask: (claims: readonly Claim[]) => readonly Verdict[]
  readonly close: () => Promise<void>
}

/** Compiles go/main.go; takes some seconds. */
export async function goVerifier(): Promise<GoVerifier> {
  const directory = await mkdtemp(join(tmpdir(), 'tasktrail-go-'))
  const program = join(directory, 'check')
  const env = { ...process.env, GO111MODULE: 'off', GOPATH, GOCACHE: join(directory, 'cache') }
  const source = join(import.meta.dirname, 'go', 'main.go')
  run('go', ['build', '-o', program, source], { env })

  const ask = (claims: readonly Claim[]) => {
    const input = claims.map((claim) => `${jsonOf(claim)}\n`).join('')
    const verdicts = run(program, [], { input }).split('\n')
    verdicts.pop()
    if (verdicts.length !== claims.length) throw new Error('Go did not answer every claim')
    return verdicts
  }
  return { ask, close: () => rm(directory, { recursive: true }) }
}

function run(
  command: string,
  args: readonly string[],
  options: { readonly env?: NodeJS.ProcessEnv; readonly input?: string },
): string {
  const ended = spawnSync(command, args, { ...options, encoding: 'utf8', maxBuffer: MOST_OUTPUT })
  if (ended.error) throw ended.error
  if (ended.status !== 0) throw new Error(`${command} ended with ${ended.status}: ${ended.stderr}`)
  return ended.stdout
}

/** Bytes as base64, as Go reads them. */
const jsonOf = (claim: Claim): string =>
  JSON.stringify(claim, function (this: Record<string, unknown>, key, value) {
    const original = this[key]
    return Buffer.isBuffer(original) ? original.toString('base64') : value
  })
