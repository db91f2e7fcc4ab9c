import { spawnSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { build, type Plugin } from 'esbuild'
import { commandLine } from '../src/command-line.ts'

const USAGE = `Usage: npm run build:verifier

Builds verify-audit.mjs from src/verify-audit.ts: one file without dependencies.`

const REPOSITORY = fileURLToPath(new URL('..', import.meta.url))
const BIOME = createRequire(import.meta.url).resolve('@biomejs/biome/bin/biome')

const ENTRY = 'src/verify-audit.ts'
const MADE = `// Made by "npm run build:verifier" of ${ENTRY} and src/verifier: change it there.`

/** The comment at the top of the entry, for whoever opens the file. */
const HEADER = /^\/\*\*\n(?: \*.*\n)+/m
/** A comment that is not about a type: types are gone after the build. */
const COMMENT = /^( *)\/\*(\*(?:(?!\*\/)[\s\S])*\*\/\n)(?! *(?:export )?type )/gm

/** What a comment is about. */
const DECLARED = /^\s*(?:export )?(?:async )?(?:function\*?|const|let|var|class) (\w+)/
/** A comment that was kept, what it is about, and what follows it. */
const KEPT = /^( *)\/\*!(?:(\w+)!)?(\*(?:(?!\*\/)[\s\S])*\*\/\n)(?=(.*))/gm

/** esbuild keeps only comments that look like a licence; it may drop what they are about, or call it name2. */
const keepComments: Plugin = {
  name: 'keep-comments',
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      const code = await readFile(path, 'utf8')
      const contents = code.replace(HEADER, (header) => (path.endsWith(ENTRY) ? '' : header))
      const marked = contents.replace(COMMENT, (comment, indent, text, at, all) => {
        const [, name] = DECLARED.exec(all.slice(at + comment.length)) ?? []
        return `${indent}/*!${name === undefined ? '' : `${name}!`}${text}`
      })
      return { contents: marked, loader: 'ts' }
    })
  },
}

/** For any Node that an auditor may have, and readable, so that it can be reviewed before use. */
export async function verifierText(): Promise<string> {
  const [header] = HEADER.exec(await readFile(`${REPOSITORY}${ENTRY}`, 'utf8')) ?? []
  const { outputFiles } = await build({
    absWorkingDir: REPOSITORY,
    entryPoints: [ENTRY],
    bundle: true,
    write: false,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    charset: 'utf8',
    legalComments: 'inline',
    plugins: [keepComments],
    banner: { js: `${MADE}\n${header}` },
    logLevel: 'warning',
  })
  const [file] = outputFiles
  if (file === undefined) throw new Error('esbuild made no file.')
  const readable = file.text
    .replace(KEPT, (_, indent, about, text, next) => {
      const [, name] = DECLARED.exec(next) ?? []
      const isAbout = about === undefined || name?.replace(/\d+$/, '') === about
      return isAbout ? `\n${indent}/*${text}` : ''
    })
    .replaceAll('void 0', 'undefined')
    .replaceAll('/* @__PURE__ */ ', '')
  return formatted(readable)
}

/** Formatted like the sources. */
function formatted(code: string): string {
  const args = [BIOME, 'format', '--stdin-file-path=scripts/verifier.mjs']
  const options = { cwd: REPOSITORY, input: code, encoding: 'utf8' } as const
  const { status, stdout, stderr } = spawnSync(process.execPath, args, options)
  if (status !== 0) throw new Error(`Biome cannot format what esbuild made: ${stderr}`)
  return stdout
}

if (import.meta.main) {
  commandLine({ usage: USAGE })
  await writeFile(`${REPOSITORY}verify-audit.mjs`, await verifierText())
}
