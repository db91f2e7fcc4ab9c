import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import autocannon from 'autocannon'
import { Pool } from 'undici'

// The load generator: a process of its own that is sent jobs and sends results, see ../compare/load.ts.
// Every answer is checked, byte by byte or field by field.

const MOST_COMPLAINTS = 3

/** Why this is not the answer to the request; null if it is. */
function complaint({ method, path, expects }, status, body) {
  const wrong = () => `${method} ${path} answered ${status} ${body.slice(0, 300)}`
  if (status !== expects.status) return wrong()
  if (expects.text !== undefined) return body === expects.text ? null : wrong()
  const { task } = JSON.parse(body)
  const isRight = Object.entries(expects.task).every(([name, value]) => task[name] === value)
  return isRight ? null : wrong()
}

function notes() {
  const times = []
  const complaints = []
  let wrong = 0
  const complain = (text) => {
    wrong++
    if (complaints.length < MOST_COMPLAINTS) complaints.push(text)
  }
  return {
    times,
    complain,
    check(request, status, body) {
      try {
        const text = complaint(request, status, body)
        if (text !== null) complain(text)
      } catch (error) {
        complain(`${request.method} ${request.path}: ${error.message}`)
      }
    },
    result: (seconds) => {
      const sorted = Float64Array.from(times).sort()
      const at = (share) => sorted[Math.ceil(sorted.length * share) - 1] ?? Number.NaN
      return {
        rate: times.length / seconds,
        requests: times.length,
        median: at(0.5),
        p99: at(0.99),
        wrong,
        complaints,
      }
    },
  }
}

/** As many requests as the service answers: each connection sends the next when it has its answer. */
async function peak({ url, seconds, connections }) {
  const noted = notes()
  let next = 0
  const setupClient = (client) => {
    const requests = connections[next++]
    const checked = requests.map((request) => ({
      ...request,
      onResponse: (status, body) => noted.check(request, status, body),
    }))
    client.setRequests(checked)
    client.on('response', (_status, _bytes, ms) => noted.times.push(ms))
  }
  const began = performance.now()
  const options = { url, connections: connections.length, duration: seconds, setupClient }
  const { errors, timeouts } = await autocannon(options)
  if (errors + timeouts > 0) noted.complain(`${errors} errors, ${timeouts} timeouts`)
  return noted.result((performance.now() - began) / 1_000)
}

/**
 * A steady rate, whether or not the service keeps up. A request's time begins when it is due, so that
 * waiting for a connection counts.
 */
async function paced({ url, seconds, connections, rate }) {
  const noted = notes()
  const pool = new Pool(url, { connections: connections.length, pipelining: 1 })
  const requests = connections[0].flatMap((_, n) => connections.map((own) => own[n]))
  const send = async (request, due) => {
    const { method, path, headers, body } = request
    try {
      const answer = await pool.request({ method, path, headers, body })
      const text = await answer.body.text()
      noted.times.push(performance.now() - due)
      noted.check(request, answer.statusCode, text)
    } catch (error) {
      noted.complain(`${method} ${path}: ${error.message}`)
    }
  }
  const began = performance.now()
  const sent = []
  while (sent.length < rate * seconds) {
    const due = began + (sent.length * 1_000) / rate
    if (due > performance.now()) await sleep(1)
    else sent.push(send(requests[sent.length % requests.length], due))
  }
  await Promise.all(sent)
  const elapsed = (performance.now() - began) / 1_000
  await pool.close()
  return noted.result(elapsed)
}

process.on('message', async (job) => {
  const before = process.cpuUsage()
  try {
    const result = await (job.rate === undefined ? peak(job) : paced(job))
    const { user, system } = process.cpuUsage(before)
    process.send({ ...result, cpuSeconds: (user + system) / 1e6 })
  } catch (error) {
    process.send({ error: error.stack })
  }
})
process.on('disconnect', () => process.exit())
