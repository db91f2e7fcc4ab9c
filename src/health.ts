// `node health.js /auth/health` checks that the service in this container answers 200 there. The image has
// no curl, and an ECS health check is a command.
import { get } from 'node:http'

const PATIENCE_MS = 4_000

const fail = (reason: string) => {
  console.error(reason)
  process.exitCode = 1
}

const [, , path = '/'] = process.argv
const port = process.env.PORT || '3000'
const signal = AbortSignal.timeout(PATIENCE_MS)
get({ host: '127.0.0.1', port, path, signal, agent: false }, (answer) => {
  answer.resume()
  if (answer.statusCode !== 200) fail(`${path} answers ${answer.statusCode}.`)
}).on('error', (error) =>
  fail(signal.aborted ? `No answer in ${PATIENCE_MS} ms.` : `No answer: ${error.message}.`),
)
