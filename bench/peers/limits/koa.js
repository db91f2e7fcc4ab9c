import Koa from 'koa'

// What an answer costs at least with the framework that Tasktrail uses: nothing is asked or looked up.
const task = {
  id: 1,
  user_id: 1,
  title: 'Task 1 of user 1',
  description: null,
  status: 'pending',
  priority: 'medium',
  due_date: null,
  created_at: '2026-11-27T09:00:00.000Z',
  updated_at: '2026-11-27T09:00:00.000Z',
}

const app = new Koa()
app.use((context) => {
  context.body = { task }
})
app.listen(Number(process.env.PORT), '127.0.0.1')
