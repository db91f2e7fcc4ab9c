import { type ParseArgsConfig, parseArgs } from 'node:util'

type Options = NonNullable<ParseArgsConfig['options']>
type Values<O extends Options> = ReturnType<typeof parseArgs<{ options: O }>>['values']

export type CommandLine<O extends Options> = {
  /** What `--help` prints. */
  readonly usage: string
  readonly options?: O
  /** How many positional arguments it takes. @default none */
  readonly takes?: readonly [least: number, most: number]
}

export type Given<O extends Options> = {
  readonly values: Values<O>
  /** The positional arguments. */
  readonly args: readonly string[]
}

/** The command line does not match the usage. */
export class UsageError extends Error {}

/**
 * Parses the command line. Ends the process with 0 after `--help`, and with 2 and one sentence if the
 * arguments do not match the usage. So call it before anything that has an effect.
 */
export function commandLine<const O extends Options = Record<string, never>>(
  line: CommandLine<O>,
): Given<O> {
  const args = process.argv.slice(2)
  if (args.includes('--help') || args.includes('-h')) {
    console.log(line.usage)
    process.exit(0)
  }
  try {
    return parse(line, args)
  } catch (error) {
    return refuse(line.usage, error as Error)
  }
}

function parse<O extends Options>(
  { options, takes: [least, most] = [0, 0] }: CommandLine<O>,
  words: readonly string[],
): Given<O> {
  const config = { args: [...words], options: options ?? ({} as O), allowPositionals: true }
  const { values, positionals } = parseArgs(config)
  const extra = positionals[most]
  if (extra !== undefined) throw new UsageError(`Unexpected argument '${extra}'.`)
  if (positionals.length < least) throw new UsageError('An argument is missing.')
  return { values: values as Values<O>, args: positionals }
}

function refuse(usage: string, error: Error): never {
  // Node's own message continues with advice.
  const [what = ''] = error instanceof UsageError ? [error.message] : error.message.split(/\.\s|\n/)
  console.error(`${what.replace(/\.$/, '')}.\n\n${usage}`)
  process.exit(2)
}

/** As `commandLine`, for a command whose arguments are whole numbers above zero. */
export function wholeNumbers<O extends Options>(line: CommandLine<O>): readonly number[] {
  const { args } = commandLine(line)
  const wrong = args.find((arg) => !/^[1-9]\d{0,9}$/.test(arg))
  if (wrong === undefined) return args.map(Number)
  return refuse(line.usage, new UsageError(`'${wrong}' is not a whole number above zero.`))
}

/**
 * Runs a command and prints the lines that it returns. If it fails, it says why in one sentence and exits
 * with 1; after wrong usage with 2.
 */
export async function command<const O extends Options = Record<string, never>>(
  line: CommandLine<O>,
  run: (given: Given<O>) => readonly string[] | Promise<readonly string[]>,
  sentence: (error: unknown) => string = messageOf,
): Promise<void> {
  const given = commandLine(line)
  try {
    for (const text of await run(given)) console.log(text)
  } catch (error) {
    if (error instanceof UsageError) refuse(line.usage, error)
    console.error(sentence(error))
    process.exitCode = 1
  }
}

const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error)
