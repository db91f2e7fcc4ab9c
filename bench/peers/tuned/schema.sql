create table users (
  id integer generated always as identity primary key,
  username varchar(50) unique not null,
  email varchar(100) unique not null,
  password_hash varchar(255) not null
);

create table sessions (
  id uuid primary key,
  user_id integer not null references users (id) on delete cascade,
  expires_at timestamptz not null,
  revoked_at timestamptz
);

create table tasks (
  id integer generated always as identity primary key,
  user_id integer not null references users (id) on delete cascade,
  title varchar(200) not null,
  description text,
  status varchar(20) not null default 'pending',
  priority varchar(20) not null default 'medium',
  due_date timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

-- What the list asks for, and no other index.
create index on tasks (user_id, created_at desc);
