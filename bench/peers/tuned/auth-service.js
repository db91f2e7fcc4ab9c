import { createVerifier } from 'fast-jwt'
import Fastify from 'fastify'
import pg from 'pg'

const { DATABASE_URL, JWT_SECRET, PORT } = process.env
const pool = new pg.Pool({ connectionString: DATABASE_URL, max: 10 })
const verify = createVerifier({ key: JWT_SECRET, algorithms: ['HS256'] })

const SESSION = {
  name: 'session',
  text: `
    select u.id as user_id, u.username, u.email
    from sessions s join users u on u.id = s.user_id
    where s.id = $1 and s.revoked_at is null and s.expires_at > now()`,
}

const user = {
  type: 'object',
  properties: {
    user_id: { type: 'integer' },
    username: { type: 'string' },
    email: { type: 'string' },
  },
}
const schema = { response: { 200: { type: 'object', properties: { user } } } }

const app = Fastify()

app.get('/auth/health', async () => ({ status: 'healthy' }))

app.post('/auth/validate', { schema }, async (request, reply) => {
  const refused = () => reply.code(401).send({ error: 'Unauthorized', message: 'Invalid token' })
  let claims
  try {
    claims = verify(request.headers.authorization?.replace('Bearer ', '') ?? '')
  } catch {
    return refused()
  }
  const { rows } = await pool.query({ ...SESSION, values: [claims.sid] })
  return rows.length === 0 ? refused() : { user: rows[0] }
})

await app.listen({ port: Number(PORT), host: '127.0.0.1' })
