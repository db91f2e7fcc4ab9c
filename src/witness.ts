import { Container, ContainerModule } from 'inversify'
import { v7 as uuidv7 } from 'uuid'
import type { Clock, Log } from './app/ports/process.ts'
import type { Witness } from './app/ports/witness.ts'
import { commandLine } from './command-line.ts'
import { type WitnessConfig, witnessConfig } from './config.ts'
import { type Service, service, strictRouter } from './http/server.ts'
import { witnessRoutes } from './http/witness.ts'
import { secretWitnessSigner } from './infra/credentials/note-signers.ts'
import { type CheckpointFiles, checkpointFiles } from './infra/witness/checkpoint-files.ts'
import { openWitness } from './infra/witness/witness.ts'
import { configured, type Running, run, serviceUsage } from './process.ts'
import { token } from './token.ts'
import type { NoteSigners } from './transparency-log/keys.ts'

const Token = {
  config: token<WitnessConfig>('config'),
  log: token<Log>('log'),
  clock: token<Clock>('clock'),
  files: token<CheckpointFiles>('files'),
  signers: token<NoteSigners>('signers'),
  witness: token<Witness>('witness'),
  service: token<Service>('service'),
}

// Opening the store takes time, so what needs it comes from `getAsync`.
const adapters = new ContainerModule(({ bind }) => {
  bind(Token.files)
    .toResolvedValue(({ WITNESS_DIR }) => checkpointFiles(WITNESS_DIR), [Token.config])
    .inSingletonScope()
  bind(Token.signers).toResolvedValue(signers, [Token.config, Token.clock])
  bind(Token.witness)
    .toResolvedValue(
      ({ WITNESS_LOGS: logKeys }, files, signers, log) =>
        openWitness({ files, logKeys, signers, log }),
      [Token.config, Token.files, Token.signers, Token.log],
    )
    .inSingletonScope()
})

const http = new ContainerModule(({ bind }) => {
  bind(Token.service).toResolvedValue(httpService, [Token.witness, Token.log]).inSingletonScope()
})

function signers(config: WitnessConfig, clock: Clock): NoteSigners {
  const { WITNESS_NAME, WITNESS_KEY, WITNESS_KEY_PREVIOUS: previous } = config
  const signer = (secret: string) =>
    secretWitnessSigner(WITNESS_NAME, secret, () => clock().getTime())
  return [signer(WITNESS_KEY), ...(previous === undefined ? [] : [signer(previous)])]
}

function httpService(witness: Witness, log: Log): Service {
  const router = strictRouter()
  witnessRoutes(router, witness)
  return service(router, { log, newId: uuidv7, maxEventLoopDelay: 0, spared: [] })
}

/**
 * All of the witness, wired; not yet listening. Error: its store is in use, or is not what it has cosigned; the
 * message is one sentence.
 */
export async function witness(config: WitnessConfig, log: Log, clock: Clock): Promise<Running> {
  const container = new Container()
  container.bind(Token.config).toConstantValue(config)
  container.bind(Token.log).toConstantValue(log)
  container.bind(Token.clock).toConstantValue(clock)
  container.load(adapters, http)
  const service = await container.getAsync(Token.service)
  const { close } = await container.getAsync(Token.files)
  const { keys, logs } = await container.getAsync(Token.witness)
  log.info({ keys, logs: logs() }, 'witnessing')
  return { service, requireKeys: async () => {}, dispose: async () => close() }
}

if (import.meta.main) {
  commandLine({ usage: serviceUsage('start:witness', 'the witness') })
  const config = configured(witnessConfig)
  await run('witness', config, (log) =>
    witness(config, log, () => new Date()).catch((error: Error) => {
      console.error(error.message)
      process.exit(1)
    }),
  )
}
