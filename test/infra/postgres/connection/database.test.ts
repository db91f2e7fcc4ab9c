import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { expect } from 'chai'
import fc from 'fast-check'
import { AppError } from '../../../../src/app/errors.ts'
import { freePorts } from '../../../../src/infra/local/free-ports.ts'
import { openDatabase } from '../../../../src/infra/postgres/connection/database.ts'
import { silent } from '../../../support/log.ts'
import { type TestDatabase, testDatabase } from '../../../support/postgres.ts'

const ONE = { name: 'one', text: 'select $1::text as one' }

describe('A database that is asked', () => {
  let database: TestDatabase
  before(async () => {
    database = await testDatabase()
  })
  after(() => database.drop())

  /** What it throws when it is asked at this place. */
  const failure = async (place: object, value: unknown = 'x'): Promise<unknown> => {
    const connection = { ...database.config.connection, ...place }
    const db = openDatabase({ connection, poolMax: 1, role: 'tasktrail_task', log: silent })
    try {
      return await db.query(ONE, [value]).catch((error) => error)
    } finally {
      await db.close()
    }
  }
  /** Where each connection is treated so. */
  const server = async (treat: (socket: Socket) => void, work: (port: number) => Promise<void>) => {
    const sockets = new Set<Socket>()
    const listening = createServer((socket) => {
      sockets.add(socket.on('error', () => {}))
      treat(socket)
    }).listen(0, '127.0.0.1')
    await once(listening, 'listening')
    await work((listening.address() as AddressInfo).port).finally(() => {
      for (const socket of sockets) socket.destroy()
      listening.close()
    })
  }
  const isAway = (error: unknown) =>
    expect(error).to.be.an.instanceOf(AppError).with.property('code', 'database_unavailable')

  it('gives times as Date writes them, to the millisecond', async () => {
    const { connection } = database.config
    const db = openDatabase({ connection, poolMax: 1, role: 'tasktrail_task', log: silent })
    const times = { name: 'times', text: 'select unnest($1::timestamptz[]) as time' }
    const years = {
      min: new Date('0001-01-01T00:00:00Z'),
      max: new Date('9999-12-31T23:59:59.999Z'),
    }
    await fc
      .assert(
        fc.asyncProperty(
          fc.array(
            fc.tuple(fc.date({ ...years, noInvalidDate: true }), fc.constantFrom(0, 500, 999)),
          ),
          async (given) => {
            const written = given.map(([date, micros]) =>
              date.toISOString().replace('Z', `${String(micros).padStart(3, '0')}Z`),
            )
            const rows = await db.query<{ time: string }>(times, [written])
            expect(rows.map(({ time }) => time)).to.deep.equal(
              given.map(([date]) => date.toISOString()),
            )
          },
        ),
      )
      .finally(db.close)
  })

  it('is unavailable while nobody listens or its name is unknown', async () => {
    const [port] = await freePorts(1)
    isAway(await failure({ host: '127.0.0.1', port }))
    isAway(await failure({ host: 'no-such-host.invalid' }))
  })

  it('is unavailable while connections are cut, reset, or never answered', async () => {
    for (const treat of [
      (socket: Socket) => void socket.end(),
      (socket: Socket) => void socket.resetAndDestroy(),
      (socket: Socket) => void socket.once('data', () => socket.destroy()),
      () => {},
    ]) {
      await server(treat, async (port) => void isAway(await failure({ host: '127.0.0.1', port })))
    }
  })

  it('is not called unavailable for a fault that does not heal', async () => {
    const noTls = (socket: Socket) => void socket.once('data', () => socket.write('N'))
    await server(noTls, async (port) => {
      const ssl = { rejectUnauthorized: true }
      const error = await failure({ host: '127.0.0.1', port, ssl })
      expect(error).to.have.property('message', 'The server does not support SSL connections')
    })
    const value = {
      toPostgres: () => {
        throw new RangeError('too far')
      },
    }
    expect(await failure({}, value)).to.be.an.instanceOf(RangeError)
  })
})
