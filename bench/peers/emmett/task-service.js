import { randomUUID } from 'node:crypto'
import { sql } from '@event-driven-io/dumbo'
import { CommandHandler, projections, STREAM_DOES_NOT_EXIST } from '@event-driven-io/emmett'
import {
  getPostgreSQLEventStore,
  postgreSQLRawSQLProjection,
} from '@event-driven-io/emmett-postgresql'
import express from 'express'
import pg from 'pg'
import { Pool } from 'undici'

// Express itself: no release of emmett-expressjs fits this Emmett.

const { DATABASE_URL, AUTH_SERVICE_URL, PORT } = process.env

// ---------------------------------------------------------------------------------- the domain

const initialState = () => null

function evolve(state, { type, data }) {
  switch (type) {
    case 'TaskCreated':
      return { ...data, updated_at: data.created_at }
    case 'TaskRenamed':
      return { ...state, title: data.title, updated_at: data.at }
    case 'TaskDescribed':
      return { ...state, description: data.description, updated_at: data.at }
    case 'TaskMoved':
      return { ...state, status: data.status, updated_at: data.at }
    case 'TaskReprioritized':
      return { ...state, priority: data.priority, updated_at: data.at }
    case 'TaskRescheduled':
      return { ...state, due_date: data.due_date, updated_at: data.at }
    default:
      return state
  }
}

const EVENTS = {
  title: 'TaskRenamed',
  description: 'TaskDescribed',
  status: 'TaskMoved',
  priority: 'TaskReprioritized',
  due_date: 'TaskRescheduled',
}

class Refused extends Error {
  constructor(status, message) {
    super(message)
    this.status = status
  }
}

const change = (id, user_id, fields) => (state) => {
  if (state === null) throw new Refused(404, 'Task not found')
  if (state.user_id !== user_id) throw new Refused(403, 'This task is not yours')
  const at = new Date().toISOString()
  return Object.entries(EVENTS)
    .filter(([field]) => fields[field] !== undefined && fields[field] !== state[field])
    .map(([field, type]) => ({ type, data: { id, [field]: fields[field], at } }))
}

// ---------------------------------------------------------------------------------- the read table

const COLUMNS = Object.fromEntries(Object.entries(EVENTS).map(([field, type]) => [type, field]))

const tasksProjection = postgreSQLRawSQLProjection({
  name: 'tasks',
  canHandle: ['TaskCreated', ...Object.keys(COLUMNS)],
  evolve({ type, data }) {
    if (type === 'TaskCreated') {
      const { id, user_id, title, description, status, priority, due_date, created_at } = data
      return sql(
        `insert into tasks (id, user_id, title, description, status, priority, due_date, created_at,
           updated_at) values (%L, %L, %L, %L, %L, %L, %L, %L, %L)`,
        ...[id, user_id, title, description, status, priority, due_date, created_at, created_at],
      )
    }
    const column = COLUMNS[type]
    return sql(
      `update tasks set ${column} = %L, updated_at = %L where id = %L`,
      ...[data[column], data.at, data.id],
    )
  },
})

const eventStore = getPostgreSQLEventStore(DATABASE_URL, {
  projections: projections.inline([tasksProjection]),
})
await eventStore.schema.migrate()
const handle = CommandHandler({ evolve, initialState })
const pool = new pg.Pool({ connectionString: DATABASE_URL })

// ---------------------------------------------------------------------------------- the routes

const authService = new Pool(AUTH_SERVICE_URL, { connections: 32 })

async function authenticate(request, response, next) {
  const { authorization } = request.headers
  const options = { path: '/auth/validate', method: 'POST', headers: { authorization } }
  const { statusCode, body } = await authService.request(options)
  const answer = await body.json()
  if (statusCode !== 200) return response.status(statusCode).json(answer)
  request.user = answer.user
  next()
}

const streamOf = (id) => `task-${id}`
const route = (run) => (request, response, next) => run(request, response).catch(next)

const app = express()
app.use(express.json())

app.get('/tasks/health', (_request, response) => response.json({ status: 'healthy' }))

app.use((request, response, next) => authenticate(request, response, next).catch(next))

app.get(
  '/tasks/:id',
  route(async ({ params, user }, response) => {
    const text = 'select * from tasks where id = $1 and user_id = $2'
    const { rows } = await pool.query(text, [params.id, user.user_id])
    if (rows.length === 0) throw new Refused(404, 'Task not found')
    response.json({ task: rows[0] })
  }),
)

app.get(
  '/tasks',
  route(async ({ user }, response) => {
    const text = 'select * from tasks where user_id = $1 order by created_at desc'
    const { rows } = await pool.query(text, [user.user_id])
    response.json({ tasks: rows })
  }),
)

app.post(
  '/tasks',
  route(async ({ body, user }, response) => {
    const id = randomUUID()
    const { title, description = null, status = 'pending', priority = 'medium' } = body
    const times = { due_date: body.due_date ?? null, created_at: new Date().toISOString() }
    const data = { id, user_id: user.user_id, title, description, status, priority, ...times }
    const created = () => ({ type: 'TaskCreated', data })
    const expected = { expectedStreamVersion: STREAM_DOES_NOT_EXIST }
    const { newState } = await handle(eventStore, streamOf(id), created, expected)
    response.status(201).json({ task: newState })
  }),
)

app.put(
  '/tasks/:id',
  route(async ({ params, body, user }, response) => {
    const { id } = params
    const { newState } = await handle(eventStore, streamOf(id), change(id, user.user_id, body))
    response.json({ task: newState })
  }),
)

app.use((error, _request, response, _next) => {
  if (!(error instanceof Refused)) console.error(error)
  response.status(error.status ?? 500).json({ message: error.message })
})

app.listen(Number(PORT), '127.0.0.1')
