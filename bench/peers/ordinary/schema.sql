-- As that guide has it.
create table users (
  id serial primary key,
  username varchar(50) unique not null,
  email varchar(100) unique not null,
  password_hash varchar(255) not null,
  created_at timestamp default current_timestamp,
  updated_at timestamp default current_timestamp
);

create index idx_users_username on users (username);
create index idx_users_email on users (email);

create table tasks (
  id serial primary key,
  user_id integer not null references users (id) on delete cascade,
  title varchar(200) not null,
  description text,
  status varchar(20) default 'pending',
  priority varchar(20) default 'medium',
  due_date timestamp,
  created_at timestamp default current_timestamp,
  updated_at timestamp default current_timestamp
);

create index idx_tasks_user_id on tasks (user_id);
create index idx_tasks_status on tasks (status);
create index idx_tasks_due_date on tasks (due_date);
