-- The read table; Emmett makes its own tables.
create table tasks (
  id uuid primary key,
  user_id integer not null,
  title varchar(200) not null,
  description text,
  status varchar(20) not null,
  priority varchar(20) not null,
  due_date timestamptz,
  created_at timestamptz not null,
  updated_at timestamptz not null
);

create index on tasks (user_id, created_at desc);
