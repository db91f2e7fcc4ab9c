import Fastify from 'fastify'
import pg from 'pg'
import { Pool } from 'undici'

const { DATABASE_URL, AUTH_SERVICE_URL, PORT } = process.env
const pool = new pg.Pool({ connectionString: DATABASE_URL, max: 10 })
const authService = new Pool(AUTH_SERVICE_URL, { connections: 32 })

const COLUMNS =
  'id, user_id, title, description, status, priority, due_date, created_at, updated_at'
const statement = (name, text) => (values) => pool.query({ name, text, values })
const one = statement('one', `select ${COLUMNS} from tasks where id = $1 and user_id = $2`)
const list = statement(
  'list',
  `select ${COLUMNS} from tasks where user_id = $1 order by created_at desc limit 50`,
)
const create = statement(
  'create',
  `insert into tasks (user_id, title, description, status, priority, due_date)
   values ($1, $2, $3, $4, $5, $6) returning ${COLUMNS}`,
)
const change = statement(
  'change',
  `update tasks set title = coalesce($3, title), description = coalesce($4, description),
     status = coalesce($5, status), priority = coalesce($6, priority),
     due_date = coalesce($7, due_date), updated_at = now()
   where id = $1 and user_id = $2 returning ${COLUMNS}`,
)

const text = { type: 'string' }
const textOrNull = { type: ['string', 'null'] }
const status = { enum: ['pending', 'in_progress', 'completed'] }
const priority = { enum: ['low', 'medium', 'high'] }
const fields = { title: text, description: text, status, priority, due_date: text }
const task = {
  type: 'object',
  properties: {
    id: { type: 'integer' },
    user_id: { type: 'integer' },
    title: text,
    description: textOrNull,
    status: text,
    priority: text,
    due_date: { ...textOrNull, format: 'date-time' },
    created_at: { ...text, format: 'date-time' },
    updated_at: { ...text, format: 'date-time' },
  },
}
const answer = (properties) => ({ type: 'object', properties })
const params = { type: 'object', properties: { id: { type: 'integer' } } }

const app = Fastify()

app.get('/tasks/health', async () => ({ status: 'healthy' }))

app.register(async (tasks) => {
  tasks.decorateRequest('user', null)
  tasks.addHook('onRequest', async (request, reply) => {
    const { authorization } = request.headers
    const path = '/auth/validate'
    const { statusCode, body } = await authService.request({
      path,
      method: 'POST',
      headers: { authorization },
    })
    const answered = await body.json()
    if (statusCode !== 200) return reply.code(statusCode).send(answered)
    request.user = answered.user
  })

  const notFound = (reply) => reply.code(404).send({ error: 'Not Found' })

  tasks.get(
    '/tasks/:id',
    { schema: { params, response: { 200: answer({ task }) } } },
    async ({ params, user }, reply) => {
      const { rows } = await one([params.id, user.user_id])
      return rows.length === 0 ? notFound(reply) : { task: rows[0] }
    },
  )

  tasks.get(
    '/tasks',
    { schema: { response: { 200: answer({ tasks: { type: 'array', items: task } }) } } },
    async ({ user }) => ({ tasks: (await list([user.user_id])).rows }),
  )

  tasks.post(
    '/tasks',
    {
      schema: {
        body: { type: 'object', required: ['title'], properties: fields },
        response: { 201: answer({ task }) },
      },
    },
    async ({ body, user }, reply) => {
      const { title, description, status = 'pending', priority = 'medium', due_date } = body
      const values = [user.user_id, title, description, status, priority, due_date]
      const { rows } = await create(values)
      reply.code(201)
      return { task: rows[0] }
    },
  )

  tasks.put(
    '/tasks/:id',
    {
      schema: {
        params,
        body: { type: 'object', properties: fields },
        response: { 200: answer({ task }) },
      },
    },
    async ({ params, body, user }, reply) => {
      const { title, description, status, priority, due_date } = body
      const values = [params.id, user.user_id, title, description, status, priority, due_date]
      const { rows } = await change(values)
      return rows.length === 0 ? notFound(reply) : { task: rows[0] }
    },
  )
})

await app.listen({ port: Number(PORT), host: '127.0.0.1' })
