// Word for word as a guide to the console teaches it.
const express = require('express');
const { Pool } = require('pg');
const axios = require('axios');

const app = express();
app.use(express.json());

// Database connection
const pool = new Pool({
  host: process.env.DB_HOST,
  port: process.env.DB_PORT,
  database: process.env.DB_NAME,
  user: process.env.DB_USER,
  password: process.env.DB_PASSWORD,
  max: 20,
  idleTimeoutMillis: 30000,
  connectionTimeoutMillis: 2000,
});

// Middleware to validate JWT
async function authenticateToken(req, res, next) {
  const token = req.headers.authorization;
  
  if (!token) {
    return res.status(401).json({ error: 'Unauthorized', message: 'No authentication token provided' });
  }

  try {
    const response = await axios.post(
      `${process.env.AUTH_SERVICE_URL}/auth/validate`,
      {},
      { headers: { Authorization: token } }
    );
    
    req.user = response.data.user;
    next();
  } catch (error) {
    if (error.response?.status === 401) {
      return res.status(401).json({ error: 'Unauthorized', message: error.response.data.message });
    }
    console.error('Token validation error:', error);
    res.status(500).json({ error: 'Internal Server Error', message: 'Authentication failed' });
  }
}

// Health check
app.get('/tasks/health', (req, res) => {
  res.json({ status: 'healthy', service: 'task' });
});

// Create task
app.post('/tasks', authenticateToken, async (req, res) => {
  try {
    const { title, description, status, priority, due_date } = req.body;
    
    if (!title) {
      return res.status(400).json({ error: 'Bad Request', message: 'Title is required' });
    }

    const result = await pool.query(
      'INSERT INTO tasks (user_id, title, description, status, priority, due_date) VALUES ($1, $2, $3, $4, $5, $6) RETURNING *',
      [req.user.user_id, title, description || null, status || 'pending', priority || 'medium', due_date || null]
    );
    
    res.status(201).json({ task: result.rows[0] });
  } catch (error) {
    console.error('Create task error:', error);
    res.status(500).json({ error: 'Internal Server Error', message: 'Failed to create task' });
  }
});

// Get all tasks for user
app.get('/tasks', authenticateToken, async (req, res) => {
  try {
    const result = await pool.query(
      'SELECT * FROM tasks WHERE user_id = $1 ORDER BY created_at DESC',
      [req.user.user_id]
    );
    
    res.json({ tasks: result.rows });
  } catch (error) {
    console.error('Get tasks error:', error);
    res.status(500).json({ error: 'Internal Server Error', message: 'Failed to retrieve tasks' });
  }
});

// Get specific task
app.get('/tasks/:id', authenticateToken, async (req, res) => {
  try {
    const result = await pool.query(
      'SELECT * FROM tasks WHERE id = $1 AND user_id = $2',
      [req.params.id, req.user.user_id]
    );
    
    if (result.rows.length === 0) {
      return res.status(404).json({ error: 'Not Found', message: `Task with id ${req.params.id} not found` });
    }
    
    res.json({ task: result.rows[0] });
  } catch (error) {
    console.error('Get task error:', error);
    res.status(500).json({ error: 'Internal Server Error', message: 'Failed to retrieve task' });
  }
});

// Update task
app.put('/tasks/:id', authenticateToken, async (req, res) => {
  try {
    const { title, description, status, priority, due_date } = req.body;
    
    // Check ownership
    const checkResult = await pool.query(
      'SELECT * FROM tasks WHERE id = $1',
      [req.params.id]
    );
    
    if (checkResult.rows.length === 0) {
      return res.status(404).json({ error: 'Not Found', message: `Task with id ${req.params.id} not found` });
    }
    
    if (checkResult.rows[0].user_id !== req.user.user_id) {
      return res.status(403).json({ error: 'Forbidden', message: 'You do not have permission to access this resource' });
    }

    const result = await pool.query(
      'UPDATE tasks SET title = COALESCE($1, title), description = COALESCE($2, description), status = COALESCE($3, status), priority = COALESCE($4, priority), due_date = COALESCE($5, due_date), updated_at = CURRENT_TIMESTAMP WHERE id = $6 RETURNING *',
      [title, description, status, priority, due_date, req.params.id]
    );
    
    res.json({ task: result.rows[0] });
  } catch (error) {
    console.error('Update task error:', error);
    res.status(500).json({ error: 'Internal Server Error', message: 'Failed to update task' });
  }
});

// Delete task
app.delete('/tasks/:id', authenticateToken, async (req, res) => {
  try {
    // Check ownership
    const checkResult = await pool.query(
      'SELECT * FROM tasks WHERE id = $1',
      [req.params.id]
    );
    
    if (checkResult.rows.length === 0) {
      return res.status(404).json({ error: 'Not Found', message: `Task with id ${req.params.id} not found` });
    }
    
    if (checkResult.rows[0].user_id !== req.user.user_id) {
      return res.status(403).json({ error: 'Forbidden', message: 'You do not have permission to access this resource' });
    }

    await pool.query('DELETE FROM tasks WHERE id = $1', [req.params.id]);
    
    res.status(204).send();
  } catch (error) {
    console.error('Delete task error:', error);
    res.status(500).json({ error: 'Internal Server Error', message: 'Failed to delete task' });
  }
});

const PORT = process.env.PORT || 3000;
app.listen(PORT, () => {
  console.log(`Task service listening on port ${PORT}`);
});
