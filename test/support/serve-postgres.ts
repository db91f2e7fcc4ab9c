// Runs an embedded server until this process is killed: what a test wants to kill must not be itself.
import { startEmbeddedPostgres } from '../../src/infra/local/embedded-postgres.ts'

const [dataDir = '', port] = process.argv.slice(2)
try {
  const server = await startEmbeddedPostgres({
    dataDir,
    password: 'a password',
    database: 'things',
    settings: { fsync: 'off' },
    ...(port !== undefined && { port: Number(port) }),
  })
  console.log(`ready pid ${server.pid} port ${server.port}`)
  process.on('SIGTERM', () => server.stop())
  console.log(`ended ${await server.exited}`)
} catch (error) {
  console.error((error as Error).message)
  process.exitCode = 1
}
