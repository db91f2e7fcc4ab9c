import pg from 'pg'
import { append, appendParameter, created } from './appends.ts'

let nextId = 1

/**
 * Writers that sleep between drawing their positions and the end of their transaction, up to 20 ms,
 * and roll back one time in ten. Resolves when `ms` are over, with the positions that were committed.
 */
export async function lateWriters(
  url: string,
  { writers, ms }: { writers: number; ms: number },
): Promise<number[]> {
  const until = performance.now() + ms
  const committed = await Promise.all(
    Array.from({ length: writers }, async () => {
      const client = new pg.Client(url)
      await client.connect()
      const positions: number[] = []
      while (performance.now() < until) {
        const id = nextId++
        await client.query('begin')
        const drawn = await write(client, id)
        await client.query('select pg_sleep($1)', [Math.random() * 0.02])
        const keeps = Math.random() > 0.1
        await client.query(keeps ? 'commit' : 'rollback')
        if (keeps) positions.push(...drawn)
      }
      await client.end()
      return positions
    }),
  )
  return committed.flat()
}

/** A writer whose transaction stays open until it is told to commit. */
export async function openWriter(url: string) {
  const client = new pg.Client(url)
  await client.connect()
  const positions: number[] = []
  return {
    positions,
    async write() {
      await client.query('begin')
      positions.push(...(await write(client, nextId++)))
    },
    commit: () => client.query('commit'),
    end: () => client.end(),
  }
}

async function write(client: pg.Client, id: number): Promise<number[]> {
  const facts = append(id, [created(), { type: 'TaskCompleted', data: { status: 'completed' } }])
  await client.query({
    name: 'append',
    text: 'select append_events($1, true)',
    values: [JSON.stringify([appendParameter(facts)])],
  })
  const { rows } = await client.query('select position from events where stream_id = $1', [
    facts.stream_id,
  ])
  return rows.map(({ position }) => Number(position))
}
