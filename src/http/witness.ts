import type { Router } from '@koa/router'
import type { Context } from 'koa'
import type { Witness, WitnessRefusal } from '../app/ports/witness.ts'

/** Several times a checkpoint with many signatures and the longest proof. */
const MAX_REQUEST = 64 * 1024

/** As C2SP tlog-witness has it: a protocol of others, and so apart from our own errors. */
const REFUSALS = {
  malformed: [400, 'That is not a request to add a checkpoint'],
  not_signed: [403, 'The log has not signed this checkpoint'],
  unknown_log: [404, 'This witness does not know that log'],
  not_consistent: [422, 'The checkpoint is not shown to extend the last one'],
} as const satisfies Record<WitnessRefusal, readonly [status: number, message: string]>

/** For logs and operators: neither the gateway nor the load balancer routes here. */
export function witnessRoutes(router: Router, witness: Witness): void {
  router.post('/add-checkpoint', async (ctx) => {
    const request = await bytesOf(ctx)
    if (request === null) return answer(ctx, 413, 'The request is larger than 64 KiB')
    const said = await witness.addCheckpoint(request)
    if (said.outcome === 'cosigned') {
      ctx.body = said.signatures
    } else if (said.outcome === 'conflict') {
      answer(ctx, 409, String(said.size))
      // Without the charset that Koa would add: others compare it as a whole.
      ctx.set('Content-Type', 'text/x.tlog.size')
    } else {
      ctx.state.code = said.outcome
      const [status, message] = REFUSALS[said.outcome]
      answer(ctx, status, message)
    }
  })
  router.get('/witness/health', (ctx) => {
    const { keys, logs } = witness
    ctx.body = { status: 'healthy', service: 'witness', keys, logs: logs() }
  })
}

function answer(ctx: Context, status: number, line: string): void {
  ctx.status = status
  ctx.body = `${line}\n`
}

/** Null: it is too large. */
async function bytesOf(ctx: Context): Promise<Buffer | null> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of ctx.req.iterator({ destroyOnReturn: false })) {
    size += chunk.length
    if (size > MAX_REQUEST) return null
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
