import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import fc from 'fast-check'
import pg from 'pg'
import type { EventStore } from '../../../src/app/ports/event-store.ts'
import type { TaskEvent } from '../../../src/domain/task/events.ts'
import { type TaskView, taskStreamId } from '../../../src/domain/task/view.ts'
import { encryptedEventStore } from '../../../src/infra/encryption/encrypted-texts.ts'
import { newDataKey, secretKeyWrap } from '../../../src/infra/encryption/text-cipher.ts'
import { postgresUserKeys, type UserKeys } from '../../../src/infra/encryption/user-keys.ts'
import { type Database, openDatabase } from '../../../src/infra/postgres/connection/database.ts'
import { postgresEventStore } from '../../../src/infra/postgres/event-store/event-store.ts'
import { append, created, ownedBy, renamed } from '../../support/appends.ts'
import { eventStoreContract } from '../../support/event-store-contract.ts'
import { findInDatabase } from '../../support/find-in-database.ts'
import { load } from '../../support/load.ts'
import { silent } from '../../support/log.ts'
import { memoryEventStore } from '../../support/memory-event-store.ts'
import { type TestDatabase, testDatabase } from '../../support/postgres.ts'

const codeOf = (error: unknown) => (error as { code?: string }).code

describe('The event store with encrypted texts, in memory', () => {
  const raw = memoryEventStore<TaskEvent, TaskView>()
  const keys = memoryUserKeys()
  const store = encryptedEventStore(raw, keys)
  eventStoreContract(
    () => store,
    () => raw,
  )
})

function memoryUserKeys(): UserKeys {
  const keys = new Map<number, Buffer>()
  const find = async (user_ids: Iterable<number>) =>
    new Map([...keys].filter(([id]) => [...user_ids].includes(id)))
  return {
    find,
    findEach: find,
    unwrap: async ({ user_id }) => keys.get(user_id) as Buffer,
    forWriting: async (user_id) => {
      const key = keys.get(user_id) ?? newDataKey()
      keys.set(user_id, key)
      return key
    },
  }
}

describe('The event store with encrypted texts, on PostgreSQL', () => {
  const wrap = secretKeyWrap('a secret of at least 32 characters, for texts')
  let test: TestDatabase
  let db: Database
  let superuser: pg.Client
  let raw: EventStore<TaskEvent, TaskView>
  let store: EventStore<TaskEvent, TaskView>

  before(async () => {
    test = await testDatabase()
    db = openDatabase({ ...test.config, role: 'tasktrail_task', log: silent })
    superuser = new pg.Client(test.url)
    await superuser.connect()
    raw = postgresEventStore(db)
    store = encryptedEventStore(raw, postgresUserKeys(db, wrap))
  })
  after(async () => {
    await db.close()
    await superuser.end()
    await test.drop()
  })

  eventStoreContract(
    () => store,
    () => raw,
  )

  let lastId = 1_000_000
  const newId = () => ++lastId
  /** An append to a stream of its own, of a task of this user. */
  const ofUser = (user_id: number, events: readonly TaskEvent[]) =>
    ownedBy(user_id, append(newId(), events))
  const destroy = (user_id: number) =>
    superuser.query(
      `update user_keys set wrapped_key = null, wrapped_by = null, destroyed_at = now()
       where user_id = $1`,
      [user_id],
    )

  it('keeps no text in the clear, nor in the rows that are read and answered', async () => {
    const texts: string[] = []
    const text = fc.string({ unit: 'grapheme', maxLength: 50 }).map((around) => {
      const mark = randomUUID()
      return { mark, text: `${around.replaceAll('\0', '')}${mark}` }
    })
    await fc.assert(
      fc.asyncProperty(text, text, text, async (title, description, next) => {
        texts.push(title.mark, description.mark, next.mark)
        const first = created({ title: title.text, description: description.text })
        const described: TaskEvent = {
          type: 'TaskDescribed',
          data: { description: next.text, undoes: [1] },
        }
        const events = [first, renamed(next.text), described]
        const appended = ofUser(11, events)
        await store.append(appended)
        const read = (await load(store, appended.stream_id)).events
        expect(read.map(({ type, data }) => ({ type, data }))).to.deep.equal(appended.events)
      }),
      { numRuns: 100 },
    )
    const found = await findInDatabase(superuser, ...texts)
    expect(found).to.deep.equal([])
  })

  it('shows what nobody can read any more as null, and says so; everything else stays', async () => {
    const erased = ofUser(21, [
      created({ title: 'Secret', description: null }),
      { type: 'TaskCompleted', data: { status: 'completed' } },
      { type: 'TaskDescribed', data: { description: 'secret' } },
      { type: 'TaskDescribed', data: { description: null } },
    ])
    const other = ofUser(22, [created({ title: 'Open' })])
    await store.append(erased)
    await store.append(other)
    await destroy(21)
    const { events } = await load(store, erased.stream_id)
    expect(events.map(({ data, erased = false }) => ({ data, erased }))).to.deep.equal([
      { data: { ...erased.events[0]?.data, title: null }, erased: true },
      { data: { status: 'completed' }, erased: false },
      { data: { description: null }, erased: true },
      { data: { description: null }, erased: false },
    ])
    const theirs = (await load(store, other.stream_id)).events
    const both = await store.readAt([...events, ...theirs].map(({ position }) => position))
    expect(both.at(-1)?.data).to.have.property('title', 'Open')
    const hashes = (await load(raw, erased.stream_id)).events.map(({ hash }) => hash)
    expect(events.map(({ hash }) => hash)).to.deep.equal(hashes)
  })

  it('shows it so in every way of reading', async () => {
    const { stream_id, ...facts } = ofUser(23, [created({ title: 'Secret' })])
    await store.append({ stream_id, ...facts })
    const [event] = (await load(store, stream_id)).events
    if (event === undefined) throw new Error('an event was appended')
    const { position } = event
    const readings = () =>
      Promise.all([
        load(store, stream_id).then(({ events }) => events),
        store.readAll(position - 1, 1),
        store.readAt([position]),
        store.page(stream_id, { after: 0 }, 1).then(({ events }) => events),
        store.inForce(stream_id, 1),
      ])
    for (const events of await readings()) expect(events).to.deep.equal([event])
    await destroy(23)
    const gone = { ...event, data: { ...event.data, title: null }, erased: true }
    const last = store.append({ stream_id, ...facts }).catch(codeOf)
    expect(await last).to.equal('session_ended')
    for (const events of (await Promise.all([
      load(store, stream_id).then(({ events }) => events),
      store.readAll(position - 1, 1),
      store.readAt([position]),
      store.page(stream_id, { after: 0 }, 1).then(({ events }) => events),
      store.inForce(stream_id, 1),
    ])) as unknown[]) {
      expect(events).to.deep.equal([gone])
    }
  })

  it('appends nothing with a key that has been destroyed, whether it is still at hand or not', async () => {
    const fresh = () => encryptedEventStore(raw, postgresUserKeys(db, wrap))
    const first = ofUser(24, [created()])
    await store.append(first)
    await destroy(24)
    for (const writer of [store, fresh()]) {
      const late = ofUser(24, [created()])
      expect(await writer.append(late).catch(codeOf)).to.equal('session_ended')
      expect((await load(raw, late.stream_id)).version).to.equal(0)
      const { rows } = await superuser.query('select from tasks where id = $1', [late.row.id])
      expect(rows).to.deep.equal([])
    }
  })

  it('makes one key of a user, however many need it first at the same time', async () => {
    const stores = Array.from({ length: 8 }, () => postgresUserKeys(db, wrap))
    const keys = await Promise.all(stores.map((keys) => keys.forWriting(25)))
    for (const key of keys) expect(key).to.deep.equal(keys[0])
    expect((await postgresUserKeys(db, wrap).find([25])).get(25)).to.deep.equal(keys[0])
    const { rows } = await superuser.query('select wrapped_key from user_keys where user_id = 25')
    expect(rows[0].wrapped_key.includes(keys[0])).to.equal(false)
  })

  it('reads on after the secret was rotated, and fails by name without the old one', async () => {
    const appended = ofUser(26, [created({ title: 'Old' })])
    await store.append(appended)
    const next = 'another secret of at least 32 characters, too'
    const previous = 'a secret of at least 32 characters, for texts'
    const rotated = encryptedEventStore(raw, postgresUserKeys(db, secretKeyWrap(next, previous)))
    const { events } = await load(rotated, appended.stream_id)
    expect(events[0]?.data).to.have.property('title', 'Old')
    const without = encryptedEventStore(raw, postgresUserKeys(db, secretKeyWrap(next)))
    const failed = await load(without, appended.stream_id).catch((error) => error)
    expect(failed).to.be.instanceOf(Error).with.property('message').that.includes(wrap.id)
  })

  it('cannot read a text that was moved to another task or field', async () => {
    const [one, two] = [ofUser(27, [created({ title: 'One' })]), ofUser(27, [created()])]
    await store.append(one)
    await store.append(two)
    const [moved] = (await load(raw, one.stream_id)).events
    const elsewhere = {
      ...raw,
      page: async (...asked: Parameters<typeof raw.page>) => {
        const { events, more } = await raw.page(...asked)
        return { events: events.map((e) => ({ ...e, data: moved?.data }) as never), more }
      },
    }
    const mixed = encryptedEventStore(elsewhere, postgresUserKeys(db, wrap))
    expect((await load(mixed, one.stream_id)).events[0]?.data).to.have.property('title', 'One')
    const [event] = (await load(mixed, taskStreamId(two.row.id))).events
    expect(event).to.deep.include({ unreadable: true })
    expect(event?.data).to.have.property('title', null)
  })
})
