// Says how hard passwords are to guess, to the thread that has started this one (src/infra/credentials/strength-apart.ts).
import { parentPort } from 'node:worker_threads'
import { passwordStrength } from './infra/credentials/password-strength.ts'

const strength = passwordStrength()

parentPort?.on('message', ([password, own]: [string, readonly string[]]) => {
  parentPort?.postMessage(strength(password, own))
})

parentPort?.postMessage('ready')
